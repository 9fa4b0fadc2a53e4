//! Projected batches that the readers of one view share.
//!
//! Who reads the same batch under the same view gets the same bytes. Whoever comes first projects it and leaves a mark; the second
//! projects it and keeps it for all who follow, so that a reader alone keeps nothing. What is kept takes of the memory that all
//! answers have, within a bound of its own, and gives way where answers wait for memory.
//!
//! Here is no permission: who asks holds a permit, and its delivery has an entry of its own. What is kept is found by the
//! compiled view, so it reaches nobody under another view, pseudonym scope or key.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuniu_model::TopicId;
use shuniu_wire::batch::{BatchHeader, Compression, RewrittenBatch};

use crate::budget::{Share, WholeBudget};

/// Batches that are known at most, kept or marked.
const KNOWN_MAX: usize = 16_384;
/// What a kept batch takes besides its bytes.
const BESIDES_BYTES: usize = 512;
/// What a run of its offsets takes.
const RUN_BYTES: usize = 16;

/// A projected batch, with the schema ids that its records carry.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectedBatch {
    pub(crate) batch: RewrittenBatch,
    pub(crate) schemas: Vec<u32>,
}

/// A stored batch as one compiled view shows it. A batch's checksum covers all of it but for its base offset and leader epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The number of the compiled view, which no other has.
    pub(crate) reader: u64,
    pub(crate) codec: Compression,
    topic: TopicId,
    partition: i32,
    base_offset: i64,
    leader_epoch: i32,
    length: usize,
    crc: u32,
}

/// Of which partition a batch is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
}

/// What is shared.
pub(crate) struct Projections {
    memory: WholeBudget,
    bytes_max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// With the bytes that each takes. Its own lock is never taken under that of all.
    slots: HashMap<Key, (Arc<Slot>, usize)>,
    /// In the order in which they became known.
    order: VecDeque<Key>,
    bytes: usize,
}

/// A known batch: empty as long as it is only marked. Whoever makes it holds the lock, and the others wait for that.
type Slot = Mutex<Option<Kept>>;

struct Kept {
    projected: ProjectedBatch,
    _share: Share,
}

impl Place {
    pub(crate) fn key(&self, reader: u64, codec: Compression, header: &BatchHeader, length: usize) -> Key {
        Key {
            reader,
            codec,
            topic: self.topic,
            partition: self.partition,
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            length,
            crc: header.crc,
        }
    }
}

impl Projections {
    /// Takes so much at most of the memory of all answers.
    pub(crate) fn new(memory: WholeBudget, bytes_max: usize) -> Self {
        Self { memory, bytes_max, known: Mutex::default() }
    }

    /// What is kept, or what `make` makes.
    pub(crate) fn get_or_make<E>(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<ProjectedBatch, E>,
    ) -> Result<ProjectedBatch, E> {
        if self.bytes_max == 0 {
            return make();
        }
        let Some(slot) = self.known().look_up(key) else { return make() };
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept {
            return Ok(kept.projected.clone());
        }
        let projected = make()?;
        *kept = self.keep(&key, &slot, &projected);
        Ok(projected)
    }

    /// Gives all memory back.
    pub(crate) fn give_way(&self) {
        *self.known() = Known::default();
    }

    /// Takes memory for a batch, if there is some and nobody dropped its slot meanwhile.
    fn keep(&self, key: &Key, slot: &Arc<Slot>, projected: &ProjectedBatch) -> Option<Kept> {
        let runs = projected.batch.delivered.runs().len();
        let bytes = projected.batch.bytes.len() + runs * RUN_BYTES + BESIDES_BYTES;
        if bytes > self.bytes_max {
            return None;
        }
        let share = self.memory.try_take(bytes)?;
        let mut known = self.known();
        let (_, taken) = known.slots.get_mut(key).filter(|(it, _)| Arc::ptr_eq(it, slot))?;
        *taken = bytes;
        known.bytes += bytes;
        while known.bytes > self.bytes_max && known.forget_first() {}
        Some(Kept { projected: projected.clone(), _share: share })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The slot of a batch that is known; marks one that is not.
    fn look_up(&mut self, key: Key) -> Option<Arc<Slot>> {
        if let Some((slot, _)) = self.slots.get(&key) {
            return Some(Arc::clone(slot));
        }
        while self.order.len() >= KNOWN_MAX && self.forget_first() {}
        self.order.push_back(key);
        self.slots.insert(key, (Arc::default(), 0));
        None
    }

    /// Whether there was one to forget.
    fn forget_first(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        if let Some((_, bytes)) = self.slots.remove(&key) {
            self.bytes -= bytes;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::budget::Budget;

    const BATCH_BYTES: usize = 10_000;

    fn key(reader: u64, base_offset: i64) -> Key {
        let topic = TopicId([1; 16]);
        Key {
            reader,
            codec: Compression::Lz4,
            topic,
            partition: 0,
            base_offset,
            leader_epoch: 0,
            length: 1_000,
            crc: 7,
        }
    }

    /// Asks for a batch; whether it had to be made.
    fn made(projections: &Projections, key: Key) -> bool {
        let mut made = false;
        let got = projections.get_or_make(key, || {
            made = true;
            let batch =
                RewrittenBatch { bytes: Bytes::from(vec![1; BATCH_BYTES]), ..RewrittenBatch::default() };
            Ok::<_, Infallible>(ProjectedBatch { batch, schemas: vec![3] })
        });
        let got = got.unwrap_or_else(|never| match never {});
        assert_eq!((got.batch.bytes.len(), got.schemas), (BATCH_BYTES, vec![3]));
        made
    }

    #[test]
    fn the_second_reader_of_a_view_keeps_a_batch_for_all_who_follow() {
        let memory = Budget::of_all(1 << 20);
        let projections = Projections::new(memory.clone(), 1 << 17);
        assert!(made(&projections, key(1, 0)));
        assert!(memory.try_take(1 << 20).is_some(), "a reader alone keeps nothing");
        assert!(made(&projections, key(1, 0)));
        assert!(memory.try_take(1 << 20).is_none());
        assert!(!made(&projections, key(1, 0)) && !made(&projections, key(1, 0)));
        for other in [
            key(2, 0),
            key(1, 1),
            Key { crc: 8, ..key(1, 0) },
            Key { leader_epoch: 1, ..key(1, 0) },
            Key { codec: Compression::Zstd, ..key(1, 0) },
            Key { partition: 1, ..key(1, 0) },
            Key { topic: TopicId([2; 16]), ..key(1, 0) },
        ] {
            assert!(made(&projections, other), "{other:?}");
        }
        projections.give_way();
        assert!(memory.try_take(1 << 20).is_some());
        assert!(made(&projections, key(1, 0)));
    }

    #[test]
    fn what_is_kept_is_bounded_and_takes_nothing_from_answers() {
        let memory = Budget::of_all(1 << 20);
        let projections = Projections::new(memory.clone(), 1 << 17);
        for offset in 0..100 {
            assert!(made(&projections, key(1, offset)) && made(&projections, key(1, offset)));
        }
        // The newest of it is kept.
        assert!(!made(&projections, key(1, 99)) && made(&projections, key(1, 0)));
        let most = memory.try_take(6 << 17).unwrap();
        // Where there is no more, nothing is kept.
        let rest: Vec<_> = std::iter::from_fn(|| memory.try_take(1 << 10)).collect();
        assert!(
            made(&projections, key(2, 0)) && made(&projections, key(2, 0)) && made(&projections, key(2, 0))
        );
        drop((most, rest));
        for offset in 0..i64::try_from(2 * KNOWN_MAX).unwrap_or_default() {
            assert!(made(&projections, key(3, offset)));
        }
        let known = projections.known();
        assert!(known.slots.len() <= KNOWN_MAX && known.order.len() == known.slots.len() && known.bytes == 0);
    }

    #[test]
    fn readers_that_come_together_wait_for_the_one_that_makes_it() {
        let projections = Projections::new(Budget::of_all(1 << 20), 1 << 17);
        assert!(made(&projections, key(1, 0)));
        let times = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| times.fetch_add(usize::from(made(&projections, key(1, 0))), Ordering::SeqCst));
            }
        });
        assert_eq!(times.into_inner(), 1);
    }
}
