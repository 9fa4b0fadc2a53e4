//! Revoking: the directory learns the serial number, in one transaction with the audit entry.

use std::path::Path;

use shuniu_ledger::Draft;
use shuniu_store::{Change, StoreError};

use super::{CaError, serial_of};
use crate::config::Config;
use crate::directory::{self, DirectoryError};
use crate::operator::{Operator, OperatorError};

/// A certificate that was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Not the data folder's owner.
    #[error("cannot revoke a certificate here")]
    Operator(#[source] OperatorError),
    /// The file is no certificate.
    #[error("cannot tell which certificate to revoke")]
    Certificate(#[source] CaError),
    /// Neither a file nor a serial number.
    #[error("`{given}` is neither a certificate's file nor a serial number in hex")]
    Unknown {
        /// What was given.
        given: String,
    },
    /// The audit entry cannot be written.
    #[error("cannot write the audit entry")]
    Entry(#[source] serde_json::Error),
    /// The directory cannot be opened.
    #[error("cannot open the directory")]
    Directory(#[source] DirectoryError),
    /// The directory refused.
    #[error("cannot revoke certificate {serial}")]
    Store {
        /// The serial number.
        serial: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// A certificate that is revoked, now or since earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// It was revoked before: nothing was changed, and there is no second entry.
    pub earlier: bool,
}

/// Revokes a certificate, given as its file or its serial number. The hub need not run.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke(config: &Config, certificate: &str, reason: &str) -> Result<Revoked, RevokeError> {
    let operator = Operator::of(&config.hub.data_folder).map_err(RevokeError::Operator)?;
    let serial = serial(certificate)?;
    let draft = Draft::revoked_certificate(operator.actor(), &serial, reason);
    let draft = serde_json::to_string(&draft).map_err(RevokeError::Entry)?;
    let failed = |source| RevokeError::Store { serial: serial.clone(), source };
    let store = directory::open(config).await.map_err(RevokeError::Directory)?;
    let change = Change::RevokeCertificate { serial: serial.clone(), reason: reason.to_owned() };
    let written = async {
        if store.facts().await?.revoked_certificates.contains(&serial) {
            return Ok(None);
        }
        store.write(&[change], &[draft]).await.map(Some)
    };
    let written = written.await;
    store.close().await;
    let version = written.map_err(failed)?;
    if let Some(version) = version {
        directory::written(config, version).map_err(RevokeError::Directory)?;
    }
    Ok(Revoked { serial, earlier: version.is_none() })
}

/// A file that is there is a certificate's; anything else a serial number.
fn serial(given: &str) -> Result<String, RevokeError> {
    let path = Path::new(given);
    if path.exists() {
        return serial_of(path).map_err(RevokeError::Certificate);
    }
    let serial = given.replace(':', "").to_ascii_lowercase();
    let serial = serial.trim_start_matches('0');
    let hex = !serial.is_empty() && serial.len() <= 40 && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex {
        Ok(serial.to_owned())
    } else {
        Err(RevokeError::Unknown { given: given.chars().take(100).collect() })
    }
}

#[cfg(test)]
mod tests {
    use shuniu_model::{SystemId, Timestamp};

    use super::super::Authority;
    use super::*;

    #[tokio::test]
    async fn a_certificate_is_revoked_by_its_file_or_number_and_the_log_hears_of_it() {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.data_folder = data.path().to_owned();
        let now = Timestamp::from_micros(1_764_000_000_000_000);
        let authority = Authority::create(&data.path().join("ca"), "test", now).unwrap();
        let issued = authority.issue_system(&SystemId::parse("bank").unwrap(), now, 10).unwrap();
        let by_file = revoke(&config, issued.certificate.to_str().unwrap(), "key lost").await.unwrap();
        assert_eq!(by_file, Revoked { serial: issued.serial.clone(), earlier: false });
        assert_eq!(revoke(&config, "00:AB:cd", "key lost").await.unwrap().serial, "abcd");
        // Again, by another name: it is said, and not written a second time.
        let again = revoke(&config, &issued.serial, "key lost").await.unwrap();
        assert_eq!(again, Revoked { serial: issued.serial, earlier: true });
        assert!(matches!(revoke(&config, "bank.pem", "x").await, Err(RevokeError::Unknown { .. })));
        let store = directory::open(&config).await.unwrap();
        assert_eq!(store.facts().await.unwrap().revoked_certificates.len(), 2);
        let entries = store.outbox_next(10).await.unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].draft.contains("key lost"));
    }
}
