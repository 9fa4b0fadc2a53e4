//! Why the engine did not open.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the engine did not open. Once it is open, errors are Kafka's codes or `UpstreamError`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another process holds the folder.
    #[error(
        "`{folder}` is in use by process {holder}, as a rule a hub: stop that first, for no two processes can share one folder"
    )]
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
    /// Records that were durable, or may have been, are damaged or gone. Nothing is cut and nothing is served: restore
    /// the records, or accept the loss with [`Loss`](crate::Loss).
    #[error("{0}")]
    Damaged(Box<Damage>),
    /// A loss that cannot be accepted as it was stated.
    #[error("cannot accept the loss of offsets {first} to {last}: {why}")]
    Loss {
        /// The first offset that was given.
        first: i64,
        /// The last offset that was given.
        last: i64,
        /// Why not.
        why: String,
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
    /// `engine.db` is missing or knows no topic, and logs of records are there. Nothing was changed.
    #[error(
        "`{path}` is missing or empty, while `{log}` holds records: the records may well be whole, but what tells of their \
         topics is not there. Put `engine.db` back, with the rest of the data folder's last backup; no loss needs to be \
         accepted"
    )]
    TablesLost {
        /// The database file.
        path: PathBuf,
        /// A log with records.
        log: PathBuf,
    },
    /// The runtime is shutting down.
    #[error("the engine was stopped while it opened")]
    Stopped,
}

/// Where a partition's log is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} partition {partition}: `{path}` is damaged at byte {position}: {finding}; \
     offsets {first} to {last} are at stake"
)]
pub struct Damage {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The file, or the folder if there is no file.
    pub path: PathBuf,
    /// Where in the file the damage begins.
    pub position: u64,
    /// What was found there.
    pub finding: Finding,
    /// The first offset that cannot be read.
    pub first: i64,
    /// The last offset that is known to be at stake.
    pub last: i64,
}

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A batch that was durable does not hold its header or checksum.
    Broken,
    /// As [`Finding::Broken`], in the last segment beyond what is known to be durable; but whole batches stand behind it.
    Doubtful,
    /// The log ends before its last acknowledged record.
    Short,
    /// A segment is missing.
    Missing,
    /// Two segments hold the same offsets.
    Overlap,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "a batch that was durable does not hold its header or checksum",
            Self::Doubtful => {
                "a batch does not hold its header or checksum, and whole batches stand behind it, \
                 so that it may be more than an unfinished write"
            }
            Self::Short => "the log ends before its last acknowledged record",
            Self::Missing => "the segment that begins here is missing",
            Self::Overlap => "the next segment holds the same offsets",
        })
    }
}

impl EngineError {
    /// For `map_err` on I/O.
    pub(crate) fn disk(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { attempt, path: path.to_owned(), source }
    }
}
