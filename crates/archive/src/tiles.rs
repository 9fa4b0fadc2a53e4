//! Where tiles are kept.

use std::path::PathBuf;

use shuniu_ledger::Tile;
use shuniu_ledger::tile::TileName;

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
}

/// Where tiles and the published checkpoint are kept: a folder now, an object store later. Its calls block.
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

    /// Shows the checkpoint to readers, in place of an earlier one; nothing is done when a later one is shown.
    ///
    /// # Errors
    /// When it cannot be written.
    fn publish(&self, note: &str) -> Result<(), TileError>;

    /// Removes the partial tiles that a full one has made superfluous. May do nothing.
    fn prune(&self, full: &[TileName]);
}
