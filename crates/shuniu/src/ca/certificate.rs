//! One certificate: its terms before it is made, and what a file says of it.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, SerialNumber};
use shuniu_model::Timestamp;

use super::{CLOCK_SKEW_SECONDS, CaError};

/// What is in a certificate's file, as far as people ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The common name: a system's id.
    pub name: String,
    /// The serial number, lower-case hex without leading zeros.
    pub serial: String,
    /// The first instant at which it is good.
    pub starts_at: Timestamp,
    /// The instant after which it is not.
    pub ends_at: Timestamp,
}

impl Certificate {
    /// Reads a certificate's file; of a chain, the first.
    ///
    /// # Errors
    /// [`CaError::File`] and [`CaError::NotACertificate`].
    pub fn read(path: &Path) -> Result<Self, CaError> {
        let pem = shuniu_archive::read_bounded(path, super::FILE_BYTES_MAX)
            .map_err(|source| CaError::File { attempt: "read", path: path.to_owned(), source })?;
        let invalid = || CaError::NotACertificate { path: path.to_owned() };
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| invalid())?;
        let parsed = pem.parse_x509().map_err(|_| invalid())?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let instant = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        Ok(Self {
            name: name.unwrap_or_default().to_owned(),
            serial: hex::encode(parsed.raw_serial()).trim_start_matches('0').to_owned(),
            starts_at: instant(parsed.validity().not_before.timestamp()),
            ends_at: instant(parsed.validity().not_after.timestamp()),
        })
    }
}

/// The serial number of a certificate's file, lower-case hex without leading zeros.
///
/// # Errors
/// As [`Certificate::read`].
pub fn serial_of(path: &Path) -> Result<String, CaError> {
    Certificate::read(path).map(|certificate| certificate.serial)
}

/// The terms that every certificate of the authority has.
pub(super) fn params(name: &str, now: Timestamp, days: u32) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(CaError::Make)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial());
    let seconds = now.as_micros().div_euclid(1_000_000);
    let start = u64::try_from(seconds - CLOCK_SKEW_SECONDS)
        .map_err(|_| CaError::Refused { rule: "the clock is set" })?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(start);
    params.not_after =
        epoch + Duration::from_secs(start + CLOCK_SKEW_SECONDS.unsigned_abs() + u64::from(days) * 86_400);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// 16 random bytes, positive and without a leading zero byte, so that each has one way to be written.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
