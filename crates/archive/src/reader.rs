//! Reading a log from its tiles and its public key alone.

mod error;

use std::sync::Arc;

use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::tile::{TILE_WIDTH, TileKind, TileName, leaves};
use shuniu_ledger::{Checkpoint, Entry};

use crate::tiles::Tiles;

pub use error::VerifyError;

/// A log under one checkpoint, whose signature holds. What is read from its tiles is not verified by that.
pub struct LogReader {
    tiles: Arc<dyn Tiles>,
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
    /// The log in a folder or object store, under the checkpoint that it shows.
    ///
    /// # Errors
    /// When there is none, or its signature does not hold.
    pub fn open(tiles: impl Tiles, key: NoteVerifier) -> Result<Self, VerifyError> {
        let note = tiles.checkpoint()?.ok_or(VerifyError::NoCheckpoint)?;
        Self::under(tiles, key, &note)
    }

    /// The log, under a checkpoint that was kept elsewhere.
    ///
    /// # Errors
    /// When its signature does not hold.
    pub fn under(tiles: impl Tiles, key: NoteVerifier, note: &str) -> Result<Self, VerifyError> {
        let checkpoint = Checkpoint::verified(note, &key)?;
        if checkpoint.suite() != Some(key.suite()) {
            return Err(VerifyError::Suite { origin: checkpoint.origin });
        }
        Ok(Self { tiles: Arc::new(tiles), checkpoint, key })
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

    /// The tiles.
    pub(crate) fn tiles(&self) -> &dyn Tiles {
        self.tiles.as_ref()
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
        let bytes = self.tiles.read(tile)?;
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
