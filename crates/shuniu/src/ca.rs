//! The certificate authority: one for a hub, its systems and itself.
//!
//! ECDSA P-256 throughout. A system's certificate has the system's id as common name and in the URI
//! `urn:shuniu:system:<id>`, and may only be used by a client; the hub's has its names and addresses, and may only be
//! used by a server.

mod certificate;
mod known;
mod revoke;

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use shuniu_model::{SystemId, Timestamp};

pub use certificate::{Certificate, serial_of};
pub use known::{KnownError, Revocation, issued, revocations};
pub use revoke::{RevokeError, Revoked, revoke};

use crate::secret_file::{self, SecretFileError};

/// A certificate's file, with room for a long chain or many authorities.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Days for which the authority's own certificate is good.
const AUTHORITY_DAYS: u32 = 3_650;
/// Longest life of an issued certificate.
const ISSUED_DAYS_MAX: u32 = 825;
/// Clocks of departments differ: a certificate is good from a little before it was made.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// What the authority could not do.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A key file cannot be made or read.
    #[error("cannot use the authority's key file")]
    KeyFile(#[source] SecretFileError),
    /// A certificate file cannot be written or read.
    #[error("cannot {attempt} certificate `{path}`")]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authority exists: another would cut off everybody who trusts it.
    #[error("there is an authority in `{folder}` already")]
    Exists {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// The file is not a certificate.
    #[error("`{path}` is not a certificate in PEM")]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The request cannot be granted.
    #[error("cannot issue a certificate: {rule}")]
    Refused {
        /// The rule that must hold.
        rule: &'static str,
    },
    /// The certificate library refused.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

/// A certificate authority in a folder: `ca.pem`, `ca.key` and, under `systems`, what it issued.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was issued, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, mode 600.
    pub key: PathBuf,
    /// The serial number, lower-case hex without leading zeros.
    pub serial: String,
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    /// [`CaError::Exists`] if the folder has one; see [`CaError`].
    pub fn create(folder: &Path, name: &str, now: Timestamp) -> Result<Self, CaError> {
        let (certificate, key_file) = (folder.join("ca.pem"), folder.join("ca.key"));
        let exists = || CaError::Exists { folder: folder.to_owned() };
        if certificate.exists() {
            return Err(exists());
        }
        let mut key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CaError::Make)?;
        // The key first: an authority whose certificate exists has its key.
        let made = secret_file::create_once(&key_file, key.serialize_pem().as_bytes());
        if !made.map_err(CaError::KeyFile)? {
            // A try that was cut off came as far. Nobody has a certificate of this key.
            let pem = secret_file::read(&key_file).map_err(CaError::KeyFile)?;
            key = KeyPair::from_pem(&pem).map_err(CaError::Make)?;
        }
        let mut params = certificate::params(name, now, AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).map_err(CaError::Make)?.pem();
        // Of two tries at once one wins, and both have one key.
        if !secret_file::create_once(&certificate, pem.as_bytes()).map_err(CaError::KeyFile)? {
            return Err(exists());
        }
        let public = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file_error("give to everybody", &certificate, std::fs::set_permissions(&certificate, public))?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Opens the authority in a folder.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let path = folder.join("ca.pem");
        let pem = shuniu_archive::read_text_bounded(&path, FILE_BYTES_MAX)
            .map_err(|source| CaError::File { attempt: "read", path: path.clone(), source })?;
        let key = secret_file::read(&folder.join("ca.key")).map_err(CaError::KeyFile)?;
        let key = KeyPair::from_pem(&key).map_err(CaError::Make)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(CaError::Make)?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// The authority's own certificate: what clients and the hub trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Issues a system's certificate into `systems/<id>.pem` and `.key`. An earlier one of the same system stays good
    /// until it ends or is revoked, and is kept as `<id>.<serial>.pem`.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue_system(&self, id: &SystemId, now: Timestamp, days: u32) -> Result<Issued, CaError> {
        let mut params = certificate::params(id.as_str(), now, issued_days(days)?)?;
        let uri = format!("urn:shuniu:system:{id}").try_into().map_err(CaError::Make)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, &self.folder.join("systems"), id.as_str())
    }

    /// Issues the hub's certificate into `hub.pem` and `hub.key`.
    ///
    /// # Errors
    /// [`CaError::Refused`] without a name or address; see [`CaError`].
    pub fn issue_hub(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        now: Timestamp,
        days: u32,
    ) -> Result<Issued, CaError> {
        if names.is_empty() && addresses.is_empty() {
            return Err(CaError::Refused { rule: "a hub has at least one name or address" });
        }
        let mut params = certificate::params("shuniu hub", now, issued_days(days)?)?;
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(CaError::Make)?));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params, &self.folder, "hub")
    }

    fn issue(&self, params: &rcgen::CertificateParams, folder: &Path, name: &str) -> Result<Issued, CaError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CaError::Make)?;
        let made = params.signed_by(&key, &self.issuer).map_err(CaError::Make)?;
        let (certificate, key_path) =
            (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        // Both are on the disk before anything that is in use moves: where there is no room, all stays as it is.
        let drafts = (folder.join(format!("{name}.new.pem")), folder.join(format!("{name}.new.key")));
        let written = secret_file::replace(&drafts.1, key.serialize_pem().as_bytes())
            .map_err(CaError::KeyFile)
            .and_then(|()| write(&drafts.0, &made.pem()));
        if let Err(error) = written {
            for draft in [&drafts.0, &drafts.1] {
                // What is left of it is in nobody's way.
                drop(std::fs::remove_file(draft));
            }
            return Err(error);
        }
        set_aside(&certificate, folder, name)?;
        for (draft, path) in [(&drafts.1, &key_path), (&drafts.0, &certificate)] {
            file_error("put in its place", path, std::fs::rename(draft, path))?;
        }
        sync(folder)?;
        let serial = serial_of(&certificate)?;
        Ok(Issued { certificate, key: key_path, serial })
    }
}

fn issued_days(days: u32) -> Result<u32, CaError> {
    if (1..=ISSUED_DAYS_MAX).contains(&days) {
        Ok(days)
    } else {
        Err(CaError::Refused { rule: "its life is 1 to 825 days" })
    }
}

/// Keeps the certificate that is about to be replaced under its serial number, so that it can be revoked. Its key goes
/// when the new one takes its place: nobody needs it twice.
fn set_aside(certificate: &Path, folder: &Path, name: &str) -> Result<(), CaError> {
    if !certificate.exists() {
        return Ok(());
    }
    let aside = folder.join(format!("{name}.{}.pem", serial_of(certificate)?));
    match std::fs::hard_link(certificate, aside) {
        // A try that was cut off came as far.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => file_error("set aside", certificate, linked),
    }
}

/// Durable, or not there.
fn write(path: &Path, pem: &str) -> Result<(), CaError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    });
    file_error("write", path, written)
}

fn sync(folder: &Path) -> Result<(), CaError> {
    file_error("sync the folder of", folder, File::open(folder).and_then(|folder| folder.sync_all()))
}

fn file_error(attempt: &'static str, path: &Path, result: std::io::Result<()>) -> Result<(), CaError> {
    result.map_err(|source| CaError::File { attempt, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_764_000_000_000_000)
    }

    #[test]
    fn a_system_certificate_names_its_system_and_is_for_clients_only() {
        let folder = tempfile::tempdir().unwrap();
        Authority::create(folder.path(), "test authority", now()).unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let issued = authority.issue_system(&SystemId::parse("hall-yuzhong").unwrap(), now(), 365).unwrap();
        let pem = std::fs::read(&issued.certificate).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let parsed = pem.parse_x509().unwrap();
        assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "hall-yuzhong");
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(
            names.value.general_names,
            [x509_parser::extensions::GeneralName::URI("urn:shuniu:system:hall-yuzhong")]
        );
        assert!(!parsed.is_ca());
        let authority_pem = std::fs::read(authority.certificate()).unwrap();
        let (_, authority_pem) = x509_parser::pem::parse_x509_pem(&authority_pem).unwrap();
        let authority = authority_pem.parse_x509().unwrap();
        assert!(authority.is_ca());
        assert_eq!(parsed.issuer(), authority.subject());
        assert_eq!(parsed.validity().not_after.timestamp(), 1_764_000_000 + 365 * 86_400);
        assert_eq!(issued.serial, serial_of(&issued.certificate).unwrap());
        assert!(!issued.serial.starts_with('0'));
    }

    #[test]
    fn an_authority_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        Authority::create(folder.path(), "first", now()).unwrap();
        assert!(matches!(Authority::create(folder.path(), "second", now()), Err(CaError::Exists { .. })));
    }

    #[test]
    fn an_authority_that_was_cut_off_before_its_certificate_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "first", now()).unwrap();
        std::fs::remove_file(authority.certificate()).unwrap();
        let key = std::fs::read(folder.path().join("ca.key")).unwrap();
        Authority::create(folder.path(), "second", now()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), key);
        let bank = SystemId::parse("bank").unwrap();
        Authority::open(folder.path()).unwrap().issue_system(&bank, now(), 1).unwrap();
    }

    #[test]
    fn a_replaced_certificate_is_kept_for_its_revocation() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "test", now()).unwrap();
        let id = SystemId::parse("bank").unwrap();
        let first = authority.issue_system(&id, now(), 1).unwrap();
        let second = authority.issue_system(&id, now(), 1).unwrap();
        assert_ne!(first.serial, second.serial);
        let aside = folder.path().join(format!("systems/bank.{}.pem", first.serial));
        assert_eq!(serial_of(&aside).unwrap(), first.serial);
    }

    #[test]
    fn a_certificate_without_names_or_with_too_long_a_life_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "test", now()).unwrap();
        assert!(authority.issue_hub(&[], &[], now(), 365).is_err());
        assert!(authority.issue_hub(&["localhost".into()], &[], now(), 0).is_err());
        assert!(authority.issue_hub(&["localhost".into()], &[], now(), 4_000).is_err());
        assert!(
            authority.issue_hub(&["localhost".into()], &["127.0.0.1".parse().unwrap()], now(), 365).is_ok()
        );
    }
}
