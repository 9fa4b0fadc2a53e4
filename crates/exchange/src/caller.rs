//! Who asks.

use std::net::SocketAddr;
use std::sync::Arc;

use shuniu_model::{SystemId, Timestamp};
use shuniu_policy::Principal;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the URI in a system's certificate begins with.
const SYSTEM_URI: &str = "urn:shuniu:system:";

/// Who asks, as its certificate proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The system named in the certificate.
    pub system: SystemId,
    /// The certificate's serial number, lower-case hex without leading zeros.
    pub certificate: String,
    /// When the certificate ends, exclusive.
    pub ends_at: Timestamp,
    /// The certificate and what its client sent along, in DER: looked at again when other authorities are trusted.
    pub chain: Arc<[Vec<u8>]>,
    /// Where the connection comes from.
    pub source: SocketAddr,
}

/// A certificate that names no system. Its signature has been checked already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not that of a system: {0}")]
pub struct UnknownCaller(&'static str);

impl Caller {
    /// The system that a verified certificate (the first, in DER, with its chain behind it) names: its common name and its
    /// URI `urn:shuniu:system:<id>` agree.
    ///
    /// # Errors
    /// When it names none, or two, or is not for clients.
    pub fn of_chain(chain: &[impl AsRef<[u8]>], source: SocketAddr) -> Result<Self, UnknownCaller> {
        let der = chain.first().ok_or(UnknownCaller("there is none"))?.as_ref();
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| UnknownCaller("it cannot be read"))?;
        if !rest.is_empty() {
            return Err(UnknownCaller("bytes follow it"));
        }
        let mut names = certificate.subject().iter_common_name();
        let name =
            names.next().and_then(|name| name.as_str().ok()).ok_or(UnknownCaller("it has no common name"))?;
        if names.next().is_some() {
            return Err(UnknownCaller("it has two common names"));
        }
        let system =
            SystemId::parse(name).map_err(|_| UnknownCaller("its common name is not a system id"))?;
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| UnknownCaller("its alternative names cannot be read"))?
            .ok_or(UnknownCaller("it has no alternative name"))?;
        let mut uris = alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(SYSTEM_URI),
            _ => None,
        });
        if uris.next() != Some(system.as_str()) || uris.next().is_some() {
            return Err(UnknownCaller("its common name and its URI do not agree"));
        }
        // A certificate without a purpose may have been issued for another one. rustls turns away only those that state another.
        let usage = certificate
            .extended_key_usage()
            .map_err(|_| UnknownCaller("its extended key usage cannot be read"))?;
        if !usage.is_some_and(|usage| usage.value.client_auth) {
            return Err(UnknownCaller("it is not for clients: its extended key usage must name clientAuth"));
        }
        // `notAfter` is the last second in which it is good.
        let last_second = certificate.validity().not_after.timestamp();
        let ends_at = Timestamp::from_micros(last_second.saturating_add(1).saturating_mul(1_000_000));
        let chain = chain.iter().map(|it| it.as_ref().to_vec()).collect();
        Ok(Self { system, certificate: serial(certificate.raw_serial()), ends_at, chain, source })
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal { system: self.system.clone(), certificate: self.certificate.clone() }
    }
}

/// A serial number's bytes as lower-case hex without leading zeros.
fn serial(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
    }
    let trimmed = hex.trim_start_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}
