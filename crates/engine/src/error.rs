//! Why the engine did not open.

use std::io;
use std::path::{Path, PathBuf};

/// Why the engine did not open. Once it is open, errors are Kafka's codes or `UpstreamError`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another process holds the folder.
    #[error("`{folder}` is in use by another process (pid {holder}); two hubs cannot share one folder")]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The holder's process id, as its lock file says, or `unknown`.
        holder: String,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {attempt} `{path}`")]
    Disk {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// A file that was durable is damaged. Nothing is cut: restore it, or move it away by hand.
    #[error("`{path}` is damaged at byte {position}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first damaged batch begins.
        position: u64,
    },
    /// `engine.db` could not be read or written.
    #[error("cannot {attempt} in `{path}`")]
    Database {
        /// What was attempted.
        attempt: &'static str,
        /// The database file.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: sqlx::Error,
    },
    /// `engine.db` holds something that this engine does not understand.
    #[error("`{path}` holds {what}")]
    Unintelligible {
        /// The database file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
    /// The runtime is shutting down.
    #[error("the engine was stopped while it opened")]
    Stopped,
}

impl EngineError {
    /// For `map_err` on I/O.
    pub(crate) fn disk(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { attempt, path: path.to_owned(), source }
    }
}
