//! Why there is no backup, or no restore.

use std::io;
use std::path::{Path, PathBuf};

use shuniu_archive::{CheckpointFailure, ResumeError, TileError, VerifyError};
use shuniu_engine::EngineError;
use shuniu_store::StoreError;

use crate::audit::AuditError;
use crate::config::ConfigError;
use crate::directory::DirectoryError;
use crate::operator::OperatorError;
use crate::serve::ServeError;
use crate::tiles::TilesError;

/// Why a backup could not be made, checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A backup is a new folder.
    #[error("`{folder}` is there already: a backup makes a new folder")]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// What an earlier attempt left, or one that is under way.
    #[error(
        "`{folder}` is there: another attempt is under way, or was broken off; remove it if none is under way"
    )]
    Partial {
        /// The folder.
        folder: PathBuf,
    },
    /// A restore takes an empty folder.
    #[error("`{folder}` is not empty: a restore needs a folder that is empty or not there")]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder cannot be renamed to where a file system is mounted.
    #[error("a file system is mounted at `{folder}`: name a folder within it")]
    Mounted {
        /// The folder.
        folder: PathBuf,
    },
    /// A path without a name, or one that is not UTF-8.
    #[error("`{path}` cannot be the name of a file or folder of a backup")]
    Name {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder.
    #[error("cannot {attempt} `{path}`")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no manifest, which is written last.
    #[error("`{folder}` is no whole backup: it has no manifest.json")]
    NoManifest {
        /// The folder.
        folder: PathBuf,
    },
    /// The manifest is not what was written.
    #[error("`{path}` is not as it was written: {rule}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        rule: &'static str,
    },
    /// Of another program.
    #[error(
        "the backup has format {found}, and this program knows {known}: use the program that made it, {program}"
    )]
    Format {
        /// The backup's.
        found: u32,
        /// This program's.
        known: u32,
        /// The version of the program that made it.
        program: String,
    },
    /// A file of the backup is not there.
    #[error("`{path}` is missing: the backup is not whole")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file of the backup is not what was written.
    #[error("`{path}` is not as it was written: its size or SHA-256 is another than the manifest's")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file that nobody wrote.
    #[error("`{path}` is not in the manifest")]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// The backup's log is not the one that the manifest names.
    #[error("the backup's audit log has {size} entries, and the manifest names another of {stated}")]
    OtherLog {
        /// Entries.
        size: u64,
        /// As the manifest says.
        stated: u64,
    },
    /// Too many files, or folders too deep: not a folder of keys.
    #[error("`{folder}` holds more than keys and certificates: {rule}")]
    Overfull {
        /// The folder.
        folder: PathBuf,
        /// What it may hold.
        rule: &'static str,
    },
    /// The hub has never run.
    #[error("the audit log has no checkpoint yet: start the hub once")]
    NoCheckpoint,
    /// The tiles have no public key beside them.
    #[error("there is no public key beside the tiles in `{place}`")]
    NoPublicKey {
        /// Where the tiles are.
        place: String,
    },
    /// The public key cannot be read, or is none.
    #[error("cannot read the audit log's public key")]
    PublicKey(#[source] Box<AuditError>),
    /// Not the data folder's owner.
    #[error("cannot work on this data folder")]
    Operator(#[source] OperatorError),
    /// The configuration.
    #[error("cannot use the configuration")]
    Config(#[source] ConfigError),
    /// The directory cannot be opened.
    #[error("cannot open the directory")]
    Directory(#[source] DirectoryError),
    /// The directory cannot be read or written.
    #[error("cannot copy the directory")]
    Store(#[source] StoreError),
    /// The directory that is kept has no checkpoint, or another hub moves it.
    #[error("the directory's checkpoint changes: a hub runs on it; stop it first")]
    InUse,
    /// The checkpoint cannot be read or set.
    #[error("cannot read or set the audit log's checkpoint")]
    Checkpoint(#[source] CheckpointFailure),
    /// The records cannot be copied.
    #[error("cannot copy the records")]
    Engine(#[source] EngineError),
    /// The record store cannot be opened.
    #[error("cannot open the restored records")]
    Records(#[source] Box<ServeError>),
    /// The tiles cannot be reached.
    #[error("cannot reach the audit log's tiles")]
    Tiles(#[source] TilesError),
    /// A tile.
    #[error("cannot copy the audit log's tiles")]
    Tile(#[source] TileError),
    /// The log does not hold.
    #[error("the audit log in `{folder}` does not hold")]
    Log {
        /// The folder of tiles.
        folder: PathBuf,
        /// What does not hold.
        #[source]
        source: Box<VerifyError>,
    },
    /// The log cannot go on.
    #[error("the audit log cannot go on from this backup")]
    Resume(#[source] ResumeError),
    /// The entry about it cannot be written.
    #[error("cannot write down what is done")]
    Entry(#[source] serde_json::Error),
    /// A thread was ended.
    #[error("a thread was ended")]
    Ended,
}

impl BackupError {
    /// For `map_err` on I/O.
    pub(super) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { attempt, path, source }
    }
}
