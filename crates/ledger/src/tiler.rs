//! Growing a log by leaves, tile by tile.

use crate::tile::{TILE_WIDTH, TileKind, TileName, leaves, put_leaf};
use crate::{Hash, LEAF_BYTES_MAX, Suite};

/// A tile with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Its name.
    pub name: TileName,
    /// Its content: leaves with lengths, or 32 bytes a hash.
    pub bytes: Vec<u8>,
}

/// The right edge of a tree: what is needed to append leaves and to give the root. What it holds depends on the leaves
/// alone, not on how they were handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiler {
    suite: Suite,
    size: u64,
    /// Of each level the hashes of its last tile, fewer than 256.
    levels: Vec<Vec<Hash>>,
    /// The last bundle, fewer than 256 leaves.
    bundle: Vec<u8>,
}

/// Why an edge could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError<E> {
    /// A tile could not be read.
    #[error("cannot read the tile `{tile}`")]
    Read {
        /// Its path.
        tile: TileName,
        /// Why.
        #[source]
        source: E,
    },
    /// A tile is not what its name says.
    #[error("the tile `{tile}` does not hold {} whole items", tile.width())]
    Broken {
        /// Its path.
        tile: TileName,
    },
}

/// A leaf that no bundle can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {bytes} bytes is longer than {LEAF_BYTES_MAX}")]
pub struct LeafTooLong {
    /// Its length.
    pub bytes: usize,
}

impl Tiler {
    /// The tree without a leaf.
    #[must_use]
    pub fn empty(suite: Suite) -> Self {
        Self { suite, size: 0, levels: Vec::new(), bundle: Vec::new() }
    }

    /// The edge of a tree of `size` leaves, read back from its tiles.
    ///
    /// # Errors
    /// When a tile cannot be read or is not as long as its name says. Whether the tiles are those of the checkpoint is
    /// for the caller to compare, by [`Tiler::root`].
    pub fn restore<E>(
        suite: Suite,
        size: u64,
        mut read: impl FnMut(TileName) -> Result<Vec<u8>, E>,
    ) -> Result<Self, RestoreError<E>> {
        let mut tiler = Self::empty(suite);
        tiler.size = size;
        let mut edge = |kind, nodes: u64| {
            let index = nodes / u64::from(TILE_WIDTH);
            let tile = TileName::in_tree(kind, index, size)?;
            Some(read(tile).map_err(|source| RestoreError::Read { tile, source }).map(|bytes| (tile, bytes)))
        };
        if let Some(read) = edge(TileKind::Entries, size) {
            let (tile, bytes) = read?;
            if leaves(&bytes).filter(Result::is_ok).count() != usize::from(tile.width()) {
                return Err(RestoreError::Broken { tile });
            }
            tiler.bundle = bytes;
        }
        let mut nodes = size;
        for level in 0.. {
            if nodes == 0 {
                break;
            }
            let mut hashes = Vec::new();
            if let Some(read) = edge(TileKind::Hashes(level), nodes) {
                let (tile, bytes) = read?;
                hashes = hashes_of(&bytes, tile.width()).ok_or(RestoreError::Broken { tile })?;
            }
            tiler.levels.push(hashes);
            nodes /= u64::from(TILE_WIDTH);
        }
        Ok(tiler)
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The log's suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Appends a leaf; the tiles that it fills are appended to `full`.
    ///
    /// # Errors
    /// When it is longer than a bundle can say; nothing is changed then.
    pub fn push(&mut self, leaf: &[u8], full: &mut Vec<Tile>) -> Result<(), LeafTooLong> {
        if !put_leaf(leaf, &mut self.bundle) {
            return Err(LeafTooLong { bytes: leaf.len() });
        }
        let hash = self.suite.leaf_hash(leaf);
        self.size += 1;
        if self.size.is_multiple_of(u64::from(TILE_WIDTH)) {
            let bytes = std::mem::take(&mut self.bundle);
            full.extend(self.tile(TileKind::Entries, self.size - 1, bytes));
        }
        self.push_hash(hash, full);
        Ok(())
    }

    /// The tiles at the right edge that are not full: with those already given out, the whole tree.
    #[must_use]
    pub fn partial(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        if !self.bundle.is_empty() {
            tiles.extend(self.tile(TileKind::Entries, self.size, self.bundle.clone()));
        }
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            if !hashes.is_empty() {
                tiles.extend(self.tile(TileKind::Hashes(level), self.nodes(level), bytes_of(hashes)));
            }
        }
        tiles
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for hashes in &self.levels {
            // What is left of the tree so far: its peaks from right to left.
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let width = 1_usize << rest.len().trailing_zeros();
                let (left, peak) = rest.split_at(rest.len() - width);
                if let Some(peak) = self.suite.fold(peak) {
                    root = Some(root.map_or(peak, |right| self.suite.node_hash(&peak, &right)));
                }
                rest = left;
            }
        }
        root.unwrap_or_else(|| self.suite.empty_root())
    }

    fn push_hash(&mut self, hash: Hash, full: &mut Vec<Tile>) {
        let mut carry = hash;
        for level in 0_u8.. {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { return };
            hashes.push(carry);
            if hashes.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let hashes = std::mem::take(hashes);
            let Some(above) = self.suite.fold(&hashes) else { return };
            full.extend(self.tile(TileKind::Hashes(level), self.nodes(level) - 1, bytes_of(&hashes)));
            carry = above;
        }
    }

    /// Nodes of a level in the whole tree.
    fn nodes(&self, level: u8) -> u64 {
        self.size >> (8 * u32::from(level))
    }

    /// The tile of that kind that holds, or would hold, the node of that number.
    fn tile(&self, kind: TileKind, node: u64, bytes: Vec<u8>) -> Option<Tile> {
        let name = TileName::in_tree(kind, node / u64::from(TILE_WIDTH), self.size)?;
        Some(Tile { name, bytes })
    }
}

/// The hashes of a tile's content; `None` when they are not that many.
#[must_use]
pub fn hashes_of(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(width))
        .then(|| hashes.iter().copied().map(Hash).collect())
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}
