//! What can stop a run.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::publish::PublishError;
use crate::reject::RejectError;
use crate::report::Report;
use crate::rows::FileError;
use crate::state::StateError;

/// A run that stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A file as a whole cannot be used. Nothing of it was sent.
    #[error("nothing of the file was sent")]
    File {
        /// Why.
        #[from]
        source: FileError,
    },
    /// A file would delete more than its share. Nothing of it was sent.
    #[error(
        "`{}` would delete {deletes} of {live} live records, more than the share of {delete_share_max} that needs no \
         confirmation; nothing of it was sent. If that is right, run again with --confirm",
        file.display()
    )]
    Guarded {
        /// The file.
        file: PathBuf,
        /// Records that it does not hold any more.
        deletes: u64,
        /// Records that are live now.
        live: u64,
        /// The declared share.
        delete_share_max: f64,
        /// What the run did before, and what the file would change.
        report: Box<Report>,
    },
    /// The hub refused records; the others of the file are on the topic. The file is looked at again by the next run.
    #[error("the hub refused {records} records of `{}`:{}", file.display(), lines(named))]
    Refused {
        /// The file.
        file: PathBuf,
        /// How many.
        records: u64,
        /// The first ones.
        named: Vec<RefusedRow>,
    },
    /// The hub cannot be published to.
    #[error("cannot publish")]
    Publish {
        /// Why not.
        #[from]
        source: PublishError,
    },
    /// A record on the topic that this connector cannot read.
    #[error("cannot read back a record of schema {id}")]
    Foreign {
        /// The schema's id.
        id: u32,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connector's own state.
    #[error("cannot use what was sent last")]
    State {
        /// Why not.
        #[from]
        source: StateError,
    },
    /// Rejected rows cannot be named.
    #[error("cannot name rejected rows")]
    Reject {
        /// Why not.
        #[from]
        source: RejectError,
    },
    /// The thread that reads a file ended early.
    #[error("the thread that reads a file ended early")]
    Thread {
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The connector's file has no `[hub]`.
    #[error("the connector's file says nothing of the hub: it needs [hub]")]
    NoHub,
    /// A sink's table or topic.
    #[error("cannot keep the table")]
    Sink {
        /// Why not.
        #[from]
        source: crate::sink::SinkError,
    },
    /// The run was told to stop. The next one goes on where it stopped.
    #[error("stopped before the end, as told")]
    Cancelled,
}

/// A refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Its row; `None` for a deletion.
    pub row: Option<u64>,
    /// The hub's words.
    pub reason: String,
}

impl ConnectorError {
    pub(crate) fn foreign(id: u32, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Foreign { id, source: Box::new(source) }
    }
}

fn lines(named: &[RefusedRow]) -> String {
    named.iter().fold(String::new(), |mut text, RefusedRow { row, reason }| {
        // Writing to a String cannot fail.
        let _written = match row {
            Some(row) => write!(text, " row {row}: {reason};"),
            None => write!(text, " a deletion: {reason};"),
        };
        text
    })
}
