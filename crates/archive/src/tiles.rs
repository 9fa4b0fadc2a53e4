//! Where tiles are kept.

use std::path::PathBuf;

use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::tile::{TILE_WIDTH, TileKind, TileName, leaves};
use shuniu_ledger::{LEAF_BYTES_MAX, Tile};

/// Why a tile could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// The store has none of that name.
    #[error("there is no tile `{tile}`")]
    Missing {
        /// Its path.
        tile: TileName,
    },
    /// Another content stands there: the log's history was changed, or two logs share a folder.
    #[error("the tile `{tile}` holds other bytes than the topic gives, from byte {at} on")]
    Different {
        /// Its path.
        tile: TileName,
        /// The first byte that differs.
        at: usize,
    },
    /// The disk refused.
    #[error("cannot {attempted} `{path}`")]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: std::io::Error,
    },
    /// The object store refused, or gave no answer.
    #[error("cannot {attempted} `{name}` in the object store")]
    Objects {
        /// What was attempted.
        attempted: &'static str,
        /// On which object.
        name: String,
        /// What came of it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object is larger than any of its kind.
    #[error("`{name}` is larger than {bytes_max} bytes: it is not what this log has there")]
    TooLarge {
        /// The object.
        name: String,
        /// What it may have.
        bytes_max: u64,
    },
    /// Other replicas replaced it each time.
    #[error("cannot show `{name}`: others show theirs each time")]
    Contended {
        /// The object.
        name: &'static str,
    },
}

impl TileError {
    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Objects { .. } | Self::Contended { .. } => true,
            Self::Missing { .. } | Self::Different { .. } | Self::TooLarge { .. } => false,
        }
    }
}

/// Where tiles and the published checkpoint are kept: a folder or an object store. Its calls block.
///
/// Durability contract: when `put` returns, every tile is there with exactly its bytes and survives a loss of power;
/// before, any of them may be there whole, and none in part. A tile that is there is never changed.
pub trait Tiles: Send + Sync + 'static {
    /// The content of a tile. A partial one is read from a wider one when it is there no more.
    ///
    /// # Errors
    /// [`TileError::Missing`] when there is none.
    fn read(&self, tile: TileName) -> Result<Vec<u8>, TileError>;

    /// Puts tiles where there are none; one that is there already must have the same bytes.
    ///
    /// # Errors
    /// [`TileError::Different`] when it has others.
    fn put(&self, tiles: &[Tile]) -> Result<(), TileError>;

    /// The checkpoint that readers see, a signed note; `None` before the first.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn checkpoint(&self) -> Result<Option<String>, TileError>;

    /// The public key that lies beside the tiles; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn public_key(&self) -> Result<Option<String>, TileError>;

    /// Lays the public key beside the tiles, as `audit.pub`. An auditor's own copy is the one to trust.
    ///
    /// # Errors
    /// When it cannot be written.
    fn publish_key(&self, key: &NoteVerifier) -> Result<(), TileError>;

    /// Shows the checkpoint to readers, in place of an earlier one; nothing is done when a later one is shown.
    ///
    /// # Errors
    /// When it cannot be written.
    fn publish(&self, note: &str) -> Result<(), TileError>;

    /// Removes the partial tiles that a full one has made superfluous. May do nothing.
    fn prune(&self, full: &[TileName]);
}

impl<T: Tiles + ?Sized> Tiles for std::sync::Arc<T> {
    fn read(&self, tile: TileName) -> Result<Vec<u8>, TileError> {
        self.as_ref().read(tile)
    }

    fn put(&self, tiles: &[Tile]) -> Result<(), TileError> {
        self.as_ref().put(tiles)
    }

    fn checkpoint(&self) -> Result<Option<String>, TileError> {
        self.as_ref().checkpoint()
    }

    fn public_key(&self) -> Result<Option<String>, TileError> {
        self.as_ref().public_key()
    }

    fn publish_key(&self, key: &NoteVerifier) -> Result<(), TileError> {
        self.as_ref().publish_key(key)
    }

    fn publish(&self, note: &str) -> Result<(), TileError> {
        self.as_ref().publish(note)
    }

    fn prune(&self, full: &[TileName]) {
        self.as_ref().prune(full);
    }
}

/// How long a tile of that name may be.
pub(crate) fn bytes_max(tile: TileName) -> u64 {
    let each = match tile.kind() {
        TileKind::Hashes(_) => 32,
        // Each leaf stands behind its length.
        TileKind::Entries => LEAF_BYTES_MAX as u64 + 2,
    };
    u64::from(TILE_WIDTH) * each
}

/// The tree size that a checkpoint states, unverified.
pub(crate) fn size_of(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}

/// A partial tile out of the full one's bytes: it is their beginning.
pub(crate) fn cut(tile: TileName, full: &[u8]) -> Result<Vec<u8>, TileError> {
    let width = usize::from(tile.width());
    let length = match tile.kind() {
        TileKind::Hashes(_) => width * 32,
        TileKind::Entries => leaves(full).take(width).map(|leaf| leaf.map_or(0, |leaf| leaf.len() + 2)).sum(),
    };
    full.get(..length).map(<[u8]>::to_vec).ok_or(TileError::Missing { tile })
}

/// Holds what stands in a tile's place against the tile.
pub(crate) fn compare(tile: &Tile, held: &[u8]) -> Result<(), TileError> {
    if held == tile.bytes {
        return Ok(());
    }
    let at = held.iter().zip(&tile.bytes).take_while(|(held, given)| held == given).count();
    Err(TileError::Different { tile: tile.name, at })
}
