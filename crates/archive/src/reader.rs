//! Reading a log from its tiles and its public key alone.

use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::proof::{ProofError, ProveError};
use shuniu_ledger::tile::{TILE_WIDTH, TileKind, TileName, leaves};
use shuniu_ledger::{Checkpoint, CheckpointError, Entry, EntryId, Hash, LeafError};

use crate::folder::TileFolder;
use crate::tiles::{TileError, Tiles as _};

/// What does not hold of a log, or keeps it from being looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no checkpoint to hold anything against.
    #[error("the folder has no checkpoint")]
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

/// A log under one checkpoint, whose signature holds. What is read from its tiles is not verified by that.
#[derive(Debug)]
pub struct LogReader {
    folder: TileFolder,
    checkpoint: Checkpoint,
    key: NoteVerifier,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The leaf's index.
    pub index: u64,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// What they say.
    pub entry: Entry,
}

impl LogReader {
    /// The log in a folder, under the checkpoint that the folder shows.
    ///
    /// # Errors
    /// When there is none, or its signature does not hold.
    pub fn open(folder: TileFolder, key: NoteVerifier) -> Result<Self, VerifyError> {
        let note = folder.checkpoint()?.ok_or(VerifyError::NoCheckpoint)?;
        Self::under(folder, key, &note)
    }

    /// The log in a folder, under a checkpoint that was kept elsewhere.
    ///
    /// # Errors
    /// When its signature does not hold.
    pub fn under(folder: TileFolder, key: NoteVerifier, note: &str) -> Result<Self, VerifyError> {
        let checkpoint = Checkpoint::verified(note, &key)?;
        if checkpoint.suite() != Some(key.suite()) {
            return Err(VerifyError::Suite { origin: checkpoint.origin });
        }
        Ok(Self { folder, checkpoint, key })
    }

    /// The checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The public key that it is signed with.
    #[must_use]
    pub fn key(&self) -> &NoteVerifier {
        &self.key
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &TileFolder {
        &self.folder
    }

    /// Entries `from` on, read bundle by bundle. The walk ends after the first error.
    pub fn entries(&self, from: u64) -> impl Iterator<Item = Result<Found, VerifyError>> + '_ {
        let first = from / u64::from(TILE_WIDTH);
        let mut ended = false;
        (first..)
            .map_while(move |number| TileName::in_tree(TileKind::Entries, number, self.checkpoint.size))
            .flat_map(move |tile| match self.bundle(tile) {
                Ok(bundle) => bundle.leaves.into_iter().map(|leaf| leaf.entry(tile)).collect(),
                Err(error) => vec![Err(error)],
            })
            .filter(move |found| found.as_ref().map_or(true, |found| found.index >= from))
            .take_while(move |found| {
                let go_on = !ended;
                ended = found.is_err();
                go_on
            })
    }

    /// A bundle's leaves.
    pub(crate) fn bundle(&self, tile: TileName) -> Result<Bundle, VerifyError> {
        let bytes = self.folder.read(tile)?;
        let mut found = Vec::new();
        let mut byte = 0;
        for leaf in leaves(&bytes) {
            match leaf {
                Ok(leaf) if found.len() < usize::from(tile.width()) => {
                    let index = tile.first() + found.len() as u64;
                    found.push(Leaf { index, byte, bytes: leaf.to_vec() });
                    byte += leaf.len() + 2;
                }
                _ => break,
            }
        }
        if byte == bytes.len() && found.len() == usize::from(tile.width()) {
            return Ok(Bundle { leaves: found });
        }
        Err(VerifyError::Bundle { tile, found: found.len() as u64, byte })
    }
}

/// The leaves of a bundle.
pub(crate) struct Bundle {
    pub(crate) leaves: Vec<Leaf>,
}

/// One leaf and where it stands.
pub(crate) struct Leaf {
    pub(crate) index: u64,
    /// Where its length begins in the bundle.
    pub(crate) byte: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Leaf {
    pub(crate) fn entry(self, tile: TileName) -> Result<Found, VerifyError> {
        match Entry::from_leaf(&self.bytes) {
            Ok(entry) => Ok(Found { index: self.index, leaf: self.bytes, entry }),
            Err(source) => Err(VerifyError::Leaf { index: self.index, tile, byte: self.byte, source }),
        }
    }
}
