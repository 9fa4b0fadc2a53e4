//! What does not hold of a log.

use shuniu_ledger::proof::{ProofError, ProveError};
use shuniu_ledger::tile::TileName;
use shuniu_ledger::{CheckpointError, EntryId, Hash, LeafError};

use crate::tiles::TileError;

/// What does not hold of a log, or keeps it from being looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no checkpoint to hold anything against.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not this log's, or not signed with its key.
    #[error("the checkpoint is not to be believed")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint names another suite than the key is of.
    #[error("the checkpoint of `{origin}` names no suite, or another than its key is of")]
    Suite {
        /// Its origin line.
        origin: String,
    },
    /// A tile is missing or cannot be read.
    #[error("cannot read the log's tiles")]
    Tile(#[from] TileError),
    /// A bundle does not hold its leaves.
    #[error("`{tile}` is cut or has bytes too many: of {} entries, {found} are whole, up to byte {byte}", tile.width())]
    Bundle {
        /// The bundle.
        tile: TileName,
        /// Whole entries in it.
        found: u64,
        /// Where the first that is not whole, or too many, begins.
        byte: usize,
    },
    /// A hash tile has not its length.
    #[error("`{tile}` has {found} bytes in place of {expected}")]
    Length {
        /// The tile.
        tile: TileName,
        /// What its width says.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// An entry was changed: its hash in the tree is another, and that one leads to the checkpoint.
    #[error(
        "entry {index} was changed: `{tile}` from byte {byte} on has the hash {found}, the tree has {expected}"
    )]
    EntryChanged {
        /// The leaf's index.
        index: u64,
        /// The bundle.
        tile: TileName,
        /// Where the entry's length begins in it.
        byte: usize,
        /// The tree's.
        expected: Hash,
        /// The entry's.
        found: Hash,
    },
    /// A hash was changed: what lies below it gives another.
    #[error("`{tile}` was changed: from byte {byte} on it has {found}, what is below gives {expected}")]
    TileChanged {
        /// The tile.
        tile: TileName,
        /// Where the hash begins in it.
        byte: usize,
        /// What is below gives.
        expected: Hash,
        /// What it has.
        found: Hash,
    },
    /// Every tile fits the others, but not the checkpoint.
    #[error("the first {size} entries have the root {found}, the checkpoint says {expected}")]
    Root {
        /// Entries.
        size: u64,
        /// The checkpoint's.
        expected: Hash,
        /// The tiles'.
        found: Hash,
    },
    /// A leaf that is no entry.
    #[error("leaf {index} in `{tile}` from byte {byte} on is no entry")]
    Leaf {
        /// The leaf's index.
        index: u64,
        /// The bundle.
        tile: TileName,
        /// Where its length begins.
        byte: usize,
        /// What is wrong with it.
        #[source]
        source: LeafError,
    },
    /// Entries of a boot are missing.
    #[error("entries {boot}-{first} to {boot}-{last} are missing before entry {index}")]
    Missing {
        /// The boot, as hex.
        boot: String,
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
        /// The leaf that shows it.
        index: u64,
    },
    /// An entry stands where it cannot: its boot has gone further already.
    #[error("entry {id} at index {index} stands a second time or behind a later one")]
    Repeated {
        /// The entry.
        id: EntryId,
        /// The leaf's index.
        index: u64,
    },
    /// An entry was put in the place of another: the boot's chain does not lead over it.
    #[error("entry {id} at index {index} follows an entry with the hash {found}, it says {expected}")]
    Chain {
        /// The entry.
        id: EntryId,
        /// The leaf's index.
        index: u64,
        /// What the entry says of the one before.
        expected: Hash,
        /// What stands there.
        found: Hash,
    },
    /// There is no such entry.
    #[error("the log of {size} entries has no entry {wanted}")]
    NoSuchEntry {
        /// Its index or id.
        wanted: String,
        /// Entries under the checkpoint.
        size: u64,
    },
    /// The tiles make no proof.
    #[error("the tiles give no proof")]
    Prove(#[from] ProveError<TileError>),
    /// An entry is not under the checkpoint.
    #[error("entry {index} is not under the checkpoint")]
    Inclusion {
        /// The leaf's index.
        index: u64,
        /// Why.
        #[source]
        source: ProofError,
    },
    /// A later checkpoint has fewer entries than an earlier one.
    #[error("the log has shrunk from {from} to {to} entries")]
    Shrunk {
        /// The earlier one's.
        from: u64,
        /// The later one's.
        to: u64,
    },
    /// A later checkpoint does not begin with the entries of an earlier one.
    #[error("the log of {to} entries does not begin with the earlier {from}: its history was changed")]
    Growth {
        /// The earlier one's.
        from: u64,
        /// The later one's.
        to: u64,
        /// Why.
        #[source]
        source: ProofError,
    },
}
