//! Which certificates there are, and which of them are revoked: the files of the authority, the directory's list, and the log, which knows when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shuniu_archive::Search;
use shuniu_ledger::Action;
use shuniu_model::Timestamp;
use shuniu_store::StoreError;

use super::{CaError, Certificate};
use crate::audit::{self, AuditError};
use crate::config::{Config, DirectoryStore};
use crate::directory::{self, DirectoryError};
use crate::operator::{Operator, OperatorError};

/// Whether certificates are revoked cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// There is no hub's data folder, or it is somebody else's.
    #[error(
        "cannot tell whether a certificate is revoked without the hub's directory (`--config`, `--data`)"
    )]
    Operator(#[source] OperatorError),
    /// There is no directory yet.
    #[error("there is no directory in `{}`, so nothing is revoked (`--config`, `--data`)", folder.display())]
    NoDirectory {
        /// The data folder.
        folder: PathBuf,
    },
    /// The directory cannot be opened.
    #[error("cannot look revoked certificates up")]
    Directory(#[source] DirectoryError),
    /// The directory refused.
    #[error("cannot look revoked certificates up")]
    Store(#[source] StoreError),
    /// The log cannot be read.
    #[error("cannot find out when certificates were revoked")]
    Audit(#[source] AuditError),
    /// A certificate's file cannot be read.
    #[error("cannot list the authority's certificates")]
    File(#[source] CaError),
}

/// When a certificate was revoked, and why; `None` while its entry is not under a checkpoint yet.
pub type Revocation = Option<(Timestamp, String)>;

/// The revoked certificates, by serial number: all, or the one that is asked for, if it is. Looking into the log becomes an entry of it,
/// as every reading does; where there is nothing to look for, it is not looked into. Blocks.
///
/// # Errors
/// See [`KnownError`].
pub async fn revocations(
    config: &Config,
    serial: Option<&str>,
) -> Result<BTreeMap<String, Revocation>, KnownError> {
    let folder = &config.hub.data_folder;
    Operator::of(folder).map_err(KnownError::Operator)?;
    // Opening would make one.
    if config.directory.store == DirectoryStore::Sqlite && !folder.join("directory.db").exists() {
        return Err(KnownError::NoDirectory { folder: folder.clone() });
    }
    let store = directory::open(config).await.map_err(KnownError::Directory)?;
    let facts = store.facts().await;
    store.close().await;
    let serials = facts.map_err(KnownError::Store)?.revoked_certificates;
    let asked = |it: &String| serial.is_none_or(|serial| serial == it);
    let mut revoked: BTreeMap<String, Revocation> =
        serials.into_iter().filter(asked).map(|serial| (serial, None)).collect();
    if revoked.is_empty() {
        return Ok(revoked);
    }
    let recorded = audit::record_reading(config, "search", "revoked certificates, for `ca show`", None);
    let log = match recorded.await.map_err(KnownError::Audit)?.open(config) {
        // The hub has not run yet.
        Err(AuditError::NoKey { .. }) => return Ok(revoked),
        log => log.map_err(KnownError::Audit)?,
    };
    let search = Search { action: Some(Action::Revoked), ..Search::default() };
    for found in log.search(&search) {
        let unreadable =
            |source| AuditError::Log { place: crate::tiles::place(config), source: Box::new(source) };
        let entry = found.map_err(|error| KnownError::Audit(unreadable(error)))?.entry;
        let serial = entry.draft.target.as_deref().and_then(|target| target.strip_prefix("certificate "));
        let known = serial.and_then(|serial| revoked.get_mut(serial));
        if let (Some(known @ None), Some(reason)) = (known, &entry.draft.reason) {
            *known = Some((entry.time, reason.detail.clone()));
        }
    }
    Ok(revoked)
}

/// The certificates whose files the authority keeps, those that were replaced among them, by file.
///
/// # Errors
/// [`KnownError::File`].
pub fn issued(folder: &Path) -> Result<Vec<(PathBuf, Certificate)>, KnownError> {
    let mut found = Vec::new();
    for folder in [folder.to_owned(), folder.join("systems")] {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|source| unlisted(&folder, source))?,
        };
        for entry in entries {
            let path = entry.map_err(|source| unlisted(&folder, source))?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                found.push((path.clone(), Certificate::read(&path).map_err(KnownError::File)?));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

fn unlisted(folder: &Path, source: std::io::Error) -> KnownError {
    KnownError::File(CaError::File { attempt: "list the folder of", path: folder.to_owned(), source })
}
