//! Reading the audit log at the machine: the tiles, the key, and the entry that says who read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shuniu_archive::{
    CHECKPOINT_BYTES_MAX, KEY_BYTES_MAX, LogReader, TileError, Tiles, VerifyError, read_text_bounded,
};
use shuniu_ledger::Draft;
use shuniu_ledger::note::{KeyError, NoteVerifier};
use shuniu_schema::Schema;
use shuniu_store::{Store, StoreError};

use crate::config::Config;
use crate::directory::{self, DirectoryError};
use crate::operator::{Operator, OperatorError};
use crate::tiles::{self, TilesError};

/// The log cannot be read here.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The public key cannot be read.
    #[error("cannot read the log's public key `{path}`")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no key beside the tiles.
    #[error("there is no public key beside the tiles in `{place}`: give yours with `--key`")]
    NoKey {
        /// Where the tiles are.
        place: String,
    },
    /// The key beside the tiles cannot be read.
    #[error("cannot read the public key beside the tiles in `{place}`")]
    KeyBeside {
        /// Where the tiles are.
        place: String,
        /// Why.
        #[source]
        source: TileError,
    },
    /// What was read is no key.
    #[error("`{path}` is not the public key of a log")]
    Key {
        /// The file, or `audit.pub`.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The earlier checkpoint cannot be read.
    #[error("cannot read the earlier checkpoint `{path}`")]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log does not hold.
    #[error("cannot read the log in `{place}`")]
    Log {
        /// Where the tiles are.
        place: String,
        /// What does not hold.
        #[source]
        source: Box<VerifyError>,
    },
    /// The tiles cannot be reached.
    #[error("cannot read the log")]
    Tiles(#[source] TilesError),
    /// Not the data folder's owner.
    #[error("cannot read the log here")]
    Operator(#[source] OperatorError),
    /// No resource has such a subject. What was given is personal data, and is not repeated.
    #[error("what was given is the number of no subject: it is {}", one_of(items))]
    NoSubject {
        /// What subjects are, as `item of resource`.
        items: Vec<String>,
    },
    /// The entry about the reading cannot be written, so nothing is read.
    #[error("cannot write down that the log is read")]
    Entry(#[source] serde_json::Error),
    /// The directory, which takes the entry about the reading, cannot be opened, so nothing is read.
    #[error("cannot write down that the log is read")]
    Directory(#[source] DirectoryError),
    /// The entry about the reading cannot be written, so nothing is read.
    #[error("cannot write down that the log is read")]
    Store(#[source] StoreError),
}

/// Opens a log by its tiles and public key alone. Without a key of their own, an auditor takes the one that lies
/// beside the tiles at its word.
///
/// # Errors
/// See [`AuditError`].
pub fn open(tiles: Arc<dyn Tiles>, place: &str, key: Option<&Path>) -> Result<LogReader, AuditError> {
    let key = public_key(tiles.as_ref(), place, key)?;
    LogReader::open(tiles, key)
        .map_err(|source| AuditError::Log { place: place.to_owned(), source: Box::new(source) })
}

/// A log's public key: the one in that file, or the one beside the tiles.
pub(crate) fn public_key(
    tiles: &dyn Tiles,
    place: &str,
    key: Option<&Path>,
) -> Result<NoteVerifier, AuditError> {
    let place = || place.to_owned();
    let (path, text) = match key {
        Some(path) => {
            let text = read_text_bounded(path, KEY_BYTES_MAX);
            let text = text.map_err(|source| AuditError::KeyFile { path: path.to_owned(), source })?;
            (path.to_owned(), text)
        }
        None => match tiles.public_key() {
            Ok(Some(text)) => (PathBuf::from("audit.pub"), text),
            Ok(None) => return Err(AuditError::NoKey { place: place() }),
            Err(source) => return Err(AuditError::KeyBeside { place: place(), source }),
        },
    };
    NoteVerifier::parse(text.trim()).map_err(|source| AuditError::Key { path, source })
}

/// A checkpoint that an auditor has kept.
///
/// # Errors
/// When its file cannot be read.
pub fn earlier(path: &Path) -> Result<String, AuditError> {
    read_text_bounded(path, CHECKPOINT_BYTES_MAX)
        .map_err(|source| AuditError::Earlier { path: path.to_owned(), source })
}

/// Whether some resource of the directory may name such a subject: a slip of the pen would find nothing, and look like
/// the answer that nothing was delivered.
///
/// # Errors
/// [`AuditError::NoSubject`] when none may.
async fn check_subject(store: &Store, subject: &str) -> Result<(), AuditError> {
    let mut items = Vec::new();
    for resource in store.facts().await.map_err(AuditError::Store)?.resources {
        // A version that is not read any more may have been published with.
        let schemas: Vec<Schema> =
            resource.versions.iter().filter_map(|version| Schema::parse(&version.text).ok()).collect();
        for item in &resource.subjects {
            if schemas.iter().any(|schema| schema.takes(item.as_str(), subject)) {
                return Ok(());
            }
            items.push(format!("`{item}` of `{}`", resource.name));
        }
    }
    Err(AuditError::NoSubject { items })
}

fn one_of(items: &[String]) -> String {
    if items.is_empty() {
        return "not clear what subjects are, for no resource of the directory names any".to_owned();
    }
    format!("none that these items take: {}", items.join(", "))
}

/// Writes down, durably, that the data folder's owner is about to read the log, and for what: it becomes an entry when
/// the hub next looks, at once if it runs. What is returned can be read then. For a `subject` that cannot be one,
/// nothing is written down, and nothing can be read.
///
/// # Errors
/// See [`AuditError`].
pub async fn record_reading(
    config: &Config,
    command: &str,
    query: &str,
    subject: Option<&str>,
) -> Result<Recorded, AuditError> {
    let data_folder = &config.hub.data_folder;
    let operator = Operator::of(data_folder).map_err(AuditError::Operator)?;
    let draft = Draft::audit_read(operator.actor(), command, query);
    let draft = serde_json::to_string(&draft).map_err(AuditError::Entry)?;
    let store = directory::open(config).await.map_err(AuditError::Directory)?;
    let written = async {
        if let Some(subject) = subject {
            check_subject(&store, subject).await?;
        }
        store.outbox_add(&draft).await.map_err(AuditError::Store)
    };
    let written = written.await;
    store.close().await;
    written.map(|_| Recorded(()))
}

/// A reading that is written down.
#[must_use]
pub struct Recorded(());

impl Recorded {
    /// Opens the log where the configuration says that it is. Blocks.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(self, config: &Config) -> Result<LogReader, AuditError> {
        open(tiles::open(config).map_err(AuditError::Tiles)?, &tiles::place(config), None)
    }
}

#[cfg(test)]
mod tests {
    use shuniu_archive::TileFolder;

    use super::*;
    use crate::causes::causes;

    #[test]
    fn a_key_or_checkpoint_without_end_or_that_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("audit.pub");
        std::fs::File::create(&long).unwrap().set_len(1 << 40).unwrap();
        let beside = |key| open(Arc::new(TileFolder::open(folder.path())), "here", key).err().unwrap();
        let key = causes(&beside(None));
        assert!(causes(&beside(Some(&long))).contains("more than the 4096 bytes"));
        assert!(key.contains("audit.pub") && key.contains("more than the 4096 bytes"), "{key}");
        assert!(causes(&earlier(&long).unwrap_err()).contains("more than the 65536 bytes"));
        let no_file = causes(&earlier(folder.path()).unwrap_err());
        assert!(no_file.contains("cannot read the earlier checkpoint") && no_file.contains("not a file"));
    }

    #[tokio::test]
    async fn a_reading_is_written_down_before_anything_is_read() {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.data_folder = data.path().to_owned();
        // There is no log to read, and still it is on record that somebody tried.
        let recorded = record_reading(&config, "search", "resource population", None).await.unwrap();
        assert!(recorded.open(&config).is_err());
        let refused = record_reading(&config, "trace", "subject (one)", Some("张三")).await.err();
        assert!(matches!(refused, Some(AuditError::NoSubject { .. })));
        let store = directory::open(&config).await.unwrap();
        let entries = store.outbox_next(10).await.unwrap();
        assert_eq!(entries.len(), 1);
        assert!(entries[0].draft.contains("resource population"));
    }
}
