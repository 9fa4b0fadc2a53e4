//! Why the sequencer stops.

use shuniu_ledger::note::NoteError;
use shuniu_ledger::{CheckpointError, Hash, LeafTooLong, RestoreError};
use shuniu_wire::batch::BatchError;

use crate::checkpoints::CheckpointFailure;
use crate::partition::PartitionError;
use crate::tiles::TileError;

/// Why the sequencer stopped, or a round failed.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The topic gave no good answer. Tried again.
    #[error("cannot read entries")]
    Partition(#[from] PartitionError),
    /// The row could not be read or moved. Tried again.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointFailure),
    /// A tile could not be read or kept. Tried again, unless other bytes stand there: then it stops.
    #[error("cannot keep tiles")]
    Tiles(#[source] TileError),
    /// The tiles of the row's tree cannot be read back. Stops.
    #[error("cannot read the log's right edge back from its tiles")]
    Restore(#[source] RestoreError<TileError>),
    /// The tiles give another root than the row. Stops.
    #[error("the tiles of the first {size} leaves give the root {found}, the checkpoint says {expected}")]
    Root {
        /// Leaves.
        size: u64,
        /// The row's.
        expected: Hash,
        /// The tiles'.
        found: Hash,
    },
    /// The row's note is not this log's. Stops.
    #[error("the checkpoint row's note does not hold")]
    Note(#[from] CheckpointError),
    /// The row's note is of another tree than the row. Stops.
    #[error("the checkpoint row of {size} leaves has the note of another tree")]
    NoteOfAnother {
        /// The row's.
        size: u64,
    },
    /// The last leaf is not the record that stands before the next offset. Stops.
    #[error("leaf {index} is not the record at offset {offset} of the topic")]
    LastLeaf {
        /// Of the leaf.
        index: u64,
        /// Of the record.
        offset: i64,
    },
    /// The topic has the last leaf's record, and the broker that was asked does not give it yet: a follower may be a moment
    /// behind. Tried again.
    #[error("the record at offset {offset} of the topic, which is the last leaf, is not given yet")]
    NotGivenYet {
        /// Of the record.
        offset: i64,
    },
    /// The topic has lost entries that are not in the tiles. Stops.
    #[error("the topic begins at offset {found}, but entries from {expected} on are not in the tiles yet")]
    Gap {
        /// The first that is needed.
        expected: i64,
        /// The first that is there.
        found: i64,
    },
    /// The topic ends before what is in the tiles. Stops.
    #[error("the topic ends before offset {expected}, which the tiles have reached")]
    Behind {
        /// The next that is needed.
        expected: i64,
    },
    /// A batch cannot be read. Stops.
    #[error("a batch of the topic cannot be read")]
    Batch(#[from] BatchError),
    /// An entry is too long for a bundle. Stops.
    #[error(transparent)]
    Leaf(#[from] LeafTooLong),
    /// The checkpoint cannot be signed. Stops.
    #[error("cannot sign the checkpoint")]
    Sign(#[from] NoteError),
    /// The hub's task was ended.
    #[error("the task that writes tiles was ended")]
    Ended,
}

impl SequencerError {
    /// Whether trying again may help. Otherwise the log's history is in doubt, and a person must look.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Partition(_) | Self::Checkpoints(_) | Self::NotGivenYet { .. } => true,
            Self::Tiles(error) | Self::Restore(RestoreError::Read { source: error, .. }) => {
                error.is_passing()
            }
            Self::Restore(RestoreError::Broken { .. })
            | Self::Root { .. }
            | Self::Note(_)
            | Self::NoteOfAnother { .. }
            | Self::LastLeaf { .. }
            | Self::Gap { .. }
            | Self::Behind { .. }
            | Self::Batch(_)
            | Self::Leaf(_)
            | Self::Sign(_)
            | Self::Ended => false,
        }
    }
}
