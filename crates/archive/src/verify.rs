//! Whether a log holds: from the tiles and the public key alone, and without the sequencer's own state.

use std::collections::HashMap;

use shuniu_ledger::proof::{ProofError, Tree, verify_consistency, verify_inclusion};
use shuniu_ledger::tile::{TileKind, TileName};
use shuniu_ledger::{Action, BootId, Checkpoint, Entry, EntryId, Hash, Suite, Tile, Tiler};
use shuniu_model::Timestamp;

use crate::reader::{Bundle, Found, LogReader, VerifyError};

/// Failures of the boots' chains that are told one by one.
const CHAIN_FAILURES_MAX: usize = 1_000;

/// A log whose tiles all hold.
#[derive(Debug)]
pub struct VerifiedLog {
    /// The checkpoint that it leads to.
    pub checkpoint: Checkpoint,
    /// Entries by action.
    pub actions: Vec<(Action, u64)>,
    /// Runs of hubs that wrote it.
    pub boots: u64,
    /// The times of the first and last entry; `None` of an empty log.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What is missing or misplaced in the boots' chains: [`VerifyError::Missing`], [`VerifyError::Repeated`],
    /// [`VerifyError::Chain`]; the first 1,000.
    pub chain_failures: Vec<VerifyError>,
}

/// An entry that is under a checkpoint.
#[derive(Debug)]
pub struct Included {
    /// The entry.
    pub found: Found,
    /// Its leaf hash.
    pub hash: Hash,
    /// The hashes that lead from it to the checkpoint's root.
    pub proof: Vec<Hash>,
}

/// Which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// By its leaf's index.
    Index(u64),
    /// By its id; the log is read until it is found.
    Id(EntryId),
}

impl LogReader {
    /// Recomputes every tile from the entries, up to the root, reads every entry and follows every boot's chain.
    /// `progress` is told the entries done.
    ///
    /// # Errors
    /// The first thing that does not hold of the tiles. Failures of the chains are in the answer: the tiles hold all
    /// the same.
    pub fn verify_log(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifiedLog, VerifyError> {
        let suite = self.key().suite();
        let checkpoint = self.checkpoint();
        let mut tiler = Tiler::empty(suite);
        let mut chains = Chains::new(suite);
        let mut actions = HashMap::<Action, u64>::new();
        let mut times = None;
        let bundles = (0..).map_while(|number| TileName::in_tree(TileKind::Entries, number, checkpoint.size));
        for tile in bundles {
            let bundle = self.bundle(tile)?;
            self.compare_leaves(tile, &bundle)?;
            let mut full = Vec::new();
            for leaf in bundle.leaves {
                // A bundle gives no leaf that is too long for one.
                tiler.push(&leaf.bytes, &mut full).ok();
                let found = leaf.entry(tile)?;
                chains.follow(&found);
                *actions.entry(found.entry.draft.action).or_default() += 1;
                let time = found.entry.time;
                times = Some(times.map_or((time, time), |(first, _)| (first, time)));
            }
            full.iter().try_for_each(|tile| self.compare_hashes(tile))?;
            progress(tiler.size());
        }
        tiler.partial().iter().try_for_each(|tile| self.compare_hashes(tile))?;
        if tiler.root() != checkpoint.root {
            let (size, expected, found) = (checkpoint.size, checkpoint.root, tiler.root());
            return Err(VerifyError::Root { size, expected, found });
        }
        let mut actions: Vec<_> = actions.into_iter().collect();
        actions.sort_unstable();
        Ok(VerifiedLog {
            checkpoint: checkpoint.clone(),
            actions,
            boots: chains.boots.len() as u64,
            times,
            chain_failures: chains.failures,
        })
    }

    /// Checks that one entry is under the checkpoint.
    ///
    /// # Errors
    /// When there is no such entry or it is not.
    pub fn verify_entry(&self, which: Which) -> Result<Included, VerifyError> {
        let size = self.checkpoint().size;
        let found = match which {
            Which::Index(index) => self.entries(index).next().transpose()?,
            Which::Id(id) => self
                .entries(0)
                .find(|found| found.as_ref().map_or(true, |found| found.entry.id == id))
                .transpose()?,
        };
        let wanted = || match which {
            Which::Index(index) => index.to_string(),
            Which::Id(id) => id.to_string(),
        };
        let found = found.ok_or_else(|| VerifyError::NoSuchEntry { wanted: wanted(), size })?;
        let hash = self.key().suite().leaf_hash(&found.leaf);
        let proof = self.prove(found.index, hash)?;
        Ok(Included { found, hash, proof })
    }

    /// Checks that this checkpoint's log begins with that of an earlier one, a note of the same log.
    ///
    /// # Errors
    /// When the earlier note does not hold, or the log was changed since.
    pub fn verify_growth(&self, earlier: &str) -> Result<Checkpoint, VerifyError> {
        let earlier = Checkpoint::verified(earlier, self.key())?;
        let later = self.checkpoint();
        let (from, to) = (earlier.size, later.size);
        if from > to {
            return Err(VerifyError::Shrunk { from, to });
        }
        let suite = self.key().suite();
        let proof = Tree::new(suite, to, |tile| self.tiles().read(tile)).consistency(from)?;
        verify_consistency(suite, from, earlier.root, to, later.root, &proof)
            .map_err(|source| VerifyError::Growth { from, to, source })?;
        Ok(earlier)
    }

    /// The proof that leads from a leaf with that hash to the checkpoint's root.
    fn prove(&self, index: u64, hash: Hash) -> Result<Vec<Hash>, VerifyError> {
        let (suite, checkpoint) = (self.key().suite(), self.checkpoint());
        let proof = Tree::new(suite, checkpoint.size, |tile| self.tiles().read(tile)).inclusion(index)?;
        verify_inclusion(suite, hash, index, checkpoint.size, checkpoint.root, &proof)
            .map_err(|source: ProofError| VerifyError::Inclusion { index, source })?;
        Ok(proof)
    }

    /// Holds a bundle's leaves against the tile of their hashes.
    fn compare_leaves(&self, bundle_name: TileName, bundle: &Bundle) -> Result<(), VerifyError> {
        let size = self.checkpoint().size;
        let name = TileName::in_tree(TileKind::Hashes(0), bundle_name.index(), size);
        let Some(tile) = name else { return Ok(()) };
        let bytes = self.tiles().read(tile)?;
        let hashes = self.hashes(tile, &bytes)?;
        for (leaf, held) in bundle.leaves.iter().zip(hashes) {
            let found = self.key().suite().leaf_hash(&leaf.bytes);
            if found == held {
                continue;
            }
            let (index, byte) = (leaf.index, leaf.byte);
            // Which of the two was changed is for the rest of the tree to say.
            return Err(if self.prove(index, held).is_ok() {
                VerifyError::EntryChanged { index, tile: bundle_name, byte, expected: held, found }
            } else {
                let byte = usize::try_from(index - tile.first()).unwrap_or(0) * 32;
                VerifyError::TileChanged { tile, byte, expected: found, found: held }
            });
        }
        Ok(())
    }

    /// Holds a tile's hashes against those computed from below.
    fn compare_hashes(&self, computed: &Tile) -> Result<(), VerifyError> {
        if computed.name.kind() == TileKind::Entries {
            return Ok(());
        }
        let bytes = self.tiles().read(computed.name)?;
        let held = self.hashes(computed.name, &bytes)?;
        let expected = computed.bytes.as_chunks::<32>().0.iter().copied().map(Hash);
        for (place, (found, expected)) in held.zip(expected).enumerate() {
            if found != expected {
                return Err(VerifyError::TileChanged {
                    tile: computed.name,
                    byte: place * 32,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    fn hashes<'a>(
        &self,
        tile: TileName,
        bytes: &'a [u8],
    ) -> Result<impl Iterator<Item = Hash> + use<'a>, VerifyError> {
        let expected = usize::from(tile.width()) * 32;
        if bytes.len() != expected {
            return Err(VerifyError::Length { tile, expected, found: bytes.len() });
        }
        Ok(bytes.as_chunks::<32>().0.iter().copied().map(Hash))
    }
}

/// Follows each boot's chain.
struct Chains {
    suite: Suite,
    /// Of each boot the next sequence and the hash of the last entry.
    boots: HashMap<BootId, (u64, Hash)>,
    failures: Vec<VerifyError>,
}

impl Chains {
    fn new(suite: Suite) -> Self {
        Self { suite, boots: HashMap::new(), failures: Vec::new() }
    }

    fn follow(&mut self, found: &Found) {
        let Entry { id, previous, .. } = found.entry;
        let (next, last) = self.boots.get(&id.boot).copied().unwrap_or((0, Hash::ZERO));
        let index = found.index;
        if id.sequence < next {
            self.fail(VerifyError::Repeated { id, index });
            return;
        }
        if id.sequence > next {
            let (boot, first, last) = (id.boot.to_string(), next, id.sequence - 1);
            self.fail(VerifyError::Missing { boot, first, last, index });
        } else if previous != last {
            self.fail(VerifyError::Chain { id, index, expected: previous, found: last });
        }
        let hash = self.suite.leaf_hash(&found.leaf);
        self.boots.insert(id.boot, (id.sequence.saturating_add(1), hash));
    }

    fn fail(&mut self, failure: VerifyError) {
        if self.failures.len() < CHAIN_FAILURES_MAX {
            self.failures.push(failure);
        }
    }
}
