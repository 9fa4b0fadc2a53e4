//! Proofs: that a leaf is in a tree, that a tree extends an earlier one (RFC 6962, RFC 9162).

use crate::tile::{TILE_WIDTH, TileKind, TileName};
use crate::tiler::hashes_of;
use crate::{Hash, Suite};

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// The tree does not reach so far.
    #[error("a tree of {size} leaves has no proof for {wanted}")]
    OutOfTree {
        /// The leaf's index or the earlier tree's size.
        wanted: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tile could not be read.
    #[error("cannot read the tile `{tile}`")]
    Read {
        /// Its path.
        tile: TileName,
        /// Why.
        #[source]
        source: E,
    },
    /// A tile does not hold as many hashes as its name says.
    #[error("the tile `{tile}` does not hold {} hashes", tile.width())]
    Broken {
        /// Its path.
        tile: TileName,
    },
}

/// A proof that does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not as many hashes as the tree's shape needs.
    #[error("the proof does not have as many hashes as it needs")]
    Length,
    /// The proof leads to another root.
    #[error("the proof leads to the root {found} in place of {expected}")]
    Root {
        /// The checkpoint's.
        expected: Hash,
        /// The proof's.
        found: Hash,
    },
}

/// A tree in its tiles.
pub struct Tree<R> {
    suite: Suite,
    size: u64,
    read: R,
}

impl<R> Tree<R> {
    /// The tree of `size` leaves whose tiles `read` gives.
    pub fn new(suite: Suite, size: u64, read: R) -> Self {
        Self { suite, size, read }
    }
}

impl<R, E> Tree<R>
where
    R: FnMut(TileName) -> Result<Vec<u8>, E>,
{
    /// The hash of a leaf as its tile has it.
    pub fn leaf_hash(&mut self, index: u64) -> Result<Hash, ProveError<E>> {
        if index >= self.size {
            return Err(ProveError::OutOfTree { wanted: index, size: self.size });
        }
        self.perfect(0, index)
    }

    /// The root.
    pub fn root(&mut self) -> Result<Hash, ProveError<E>> {
        if self.size == 0 { Ok(self.suite.empty_root()) } else { self.range(0, self.size) }
    }

    /// The hashes that lead from a leaf to the root.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, ProveError<E>> {
        if index >= self.size {
            return Err(ProveError::OutOfTree { wanted: index, size: self.size });
        }
        let mut proof = Vec::new();
        let (mut low, mut high) = (0, self.size);
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                proof.push(self.range(middle, high)?);
                high = middle;
            } else {
                proof.push(self.range(low, middle)?);
                low = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// The hashes that lead from an earlier tree's root to this one's.
    pub fn consistency(&mut self, earlier_size: u64) -> Result<Vec<Hash>, ProveError<E>> {
        if earlier_size > self.size {
            return Err(ProveError::OutOfTree { wanted: earlier_size, size: self.size });
        }
        let mut proof = Vec::new();
        if earlier_size == 0 || earlier_size == self.size {
            return Ok(proof);
        }
        let (mut low, mut high) = (0, self.size);
        while earlier_size < high {
            let middle = low + split(high - low);
            if earlier_size <= middle {
                proof.push(self.range(middle, high)?);
                high = middle;
            } else {
                proof.push(self.range(low, middle)?);
                low = middle;
            }
        }
        // The earlier tree's last subtree; its verifier knows it already when that is the whole earlier tree.
        if low > 0 {
            proof.push(self.range(low, high)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// The hash over the leaves `low..high`, which are a subtree of some tree: `low` is a multiple of the power of two
    /// that is at least their number.
    fn range(&mut self, low: u64, high: u64) -> Result<Hash, ProveError<E>> {
        let leaves = high - low;
        if leaves.is_power_of_two() {
            let height = leaves.trailing_zeros();
            return self.perfect(height, low >> height);
        }
        let middle = low + split(leaves);
        let left = self.range(low, middle)?;
        let right = self.range(middle, high)?;
        Ok(self.suite.node_hash(&left, &right))
    }

    /// The hash of the node of that height (0 is a leaf) and number: in a tile, or over a part of one.
    fn perfect(&mut self, height: u32, number: u64) -> Result<Hash, ProveError<E>> {
        let out = || ProveError::OutOfTree { wanted: number, size: self.size };
        let level = u8::try_from(height / 8).map_err(|_| out())?;
        let within = height % 8;
        let first = number << within;
        let index = first / u64::from(TILE_WIDTH);
        let tile = TileName::in_tree(TileKind::Hashes(level), index, self.size).ok_or_else(out)?;
        let bytes = (self.read)(tile).map_err(|source| ProveError::Read { tile, source })?;
        let hashes = hashes_of(&bytes, tile.width()).ok_or(ProveError::Broken { tile })?;
        let from = usize::try_from(first - tile.first()).map_err(|_| ProveError::Broken { tile })?;
        let part = hashes.get(from..from + (1 << within)).ok_or(ProveError::Broken { tile })?;
        self.suite.fold(part).ok_or(ProveError::Broken { tile })
    }
}

/// The largest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// Checks that the leaf with that hash is the leaf of that index in the tree with that root.
///
/// # Errors
/// When the proof does not prove it.
pub fn verify_inclusion(
    suite: Suite,
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Length);
    }
    let (mut number, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if number & 1 == 1 || number == last {
            hash = suite.node_hash(sibling, &hash);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            hash = suite.node_hash(&hash, sibling);
        }
        number >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    same(root, hash)
}

/// Checks that the tree of `size` leaves begins with the `earlier_size` leaves of the earlier one.
///
/// # Errors
/// When the proof does not prove it.
pub fn verify_consistency(
    suite: Suite,
    earlier_size: u64,
    earlier_root: Hash,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if earlier_size > size {
        return Err(ProofError::Length);
    }
    if earlier_size == size || earlier_size == 0 {
        let from = if earlier_size == 0 { suite.empty_root() } else { root };
        return if proof.is_empty() { same(earlier_root, from) } else { Err(ProofError::Length) };
    }
    // A whole earlier tree is its own first subtree and is left out of the proof.
    let own = [earlier_root];
    let mut hashes = if earlier_size.is_power_of_two() { own.as_slice() } else { &[] }.iter().chain(proof);
    let mut number = earlier_size - 1;
    let mut last = size - 1;
    while number & 1 == 1 {
        number >>= 1;
        last >>= 1;
    }
    let first = hashes.next().ok_or(ProofError::Length)?;
    let (mut earlier, mut later) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if number & 1 == 1 || number == last {
            earlier = suite.node_hash(sibling, &earlier);
            later = suite.node_hash(sibling, &later);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            later = suite.node_hash(&later, sibling);
        }
        number >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    same(earlier_root, earlier)?;
    same(root, later)
}

fn same(expected: Hash, found: Hash) -> Result<(), ProofError> {
    if expected == found { Ok(()) } else { Err(ProofError::Root { expected, found }) }
}
