//! One event over several entries, when it does not fit one.

use crate::draft::{Draft, Part, records};
use crate::{LEAF_BYTES_MAX, OffsetRange, SubjectRun, Subjects};

/// What an entry adds to its draft: id, time, previous hash, and a part's number. The longest is 243.
pub const HEAD_BYTES_MAX: usize = 320;

/// A draft that does not fit an entry and has nothing that could be split off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a draft of {bytes} bytes without its ranges and subjects does not fit an entry")]
pub struct DraftTooLarge {
    /// Its length without ranges and subjects.
    pub bytes: usize,
}

impl Draft {
    /// The drafts that fit an entry each: itself, or its ranges and subjects spread over several, each of which repeats
    /// the rest. `count` is of the part's own ranges; bytes and their digest stay with the first, so that sums are right.
    ///
    /// # Errors
    /// [`DraftTooLarge`] when the rest alone does not fit.
    pub fn into_parts(mut self) -> Result<Vec<Self>, DraftTooLarge> {
        let room = LEAF_BYTES_MAX - HEAD_BYTES_MAX;
        if json_bytes(&self) <= room {
            return Ok(vec![self]);
        }
        let ranges = std::mem::take(&mut self.ranges);
        let subjects = self.subjects.take();
        let base_bytes = json_bytes(&self);
        // A range and a chunk of subjects each take less than half of what is left, as long as this holds.
        let room = room.checked_sub(base_bytes).filter(|room| *room >= LEAF_BYTES_MAX / 2);
        let room = room.ok_or(DraftTooLarge { bytes: base_bytes })?;
        let mut parts = spread_ranges(&self, ranges, room);
        spread_subjects(&self, subjects, room, &mut parts);
        let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (number, part) in (1_u32..).zip(&mut parts) {
            part.part = (of > 1).then_some(Part { number, of });
            part.count = self.count.map(|_| records(&part.ranges));
            if number > 1 {
                part.bytes = None;
                part.sha256 = None;
                part.compacted.clear();
            }
        }
        Ok(parts)
    }
}

fn spread_ranges(base: &Draft, ranges: Vec<OffsetRange>, room: usize) -> Vec<Draft> {
    let mut parts = Vec::new();
    let mut part = base.clone();
    let mut left = room.saturating_sub(LIST_BYTES);
    for range in ranges {
        let bytes = json_bytes(&range) + 1;
        if bytes > left && !part.ranges.is_empty() {
            parts.push(std::mem::replace(&mut part, base.clone()));
            left = room.saturating_sub(LIST_BYTES);
        }
        left = left.saturating_sub(bytes);
        part.ranges.push(range);
    }
    parts.push(part);
    parts
}

/// `,"subjects":{"year":65535,"runs":[]}` and `,"ranges":[]`, with room to spare.
const LIST_BYTES: usize = 64;

fn spread_subjects(base: &Draft, subjects: Option<Subjects>, room: usize, parts: &mut Vec<Draft>) {
    let Some(subjects) = subjects.filter(|subjects| !subjects.is_empty()) else { return };
    // One subject more, in a run of its own, must still fit after the check.
    let room = room.saturating_sub(LIST_BYTES + SubjectRun::ONE_BYTES_MAX);
    let mut flush = |chunk: Subjects| parts.push(Draft { subjects: Some(chunk), ..base.clone() });
    let mut chunk = Subjects::new(subjects.year);
    let mut closed_bytes = 0;
    let mut open_bytes = 0;
    for (partition, offset, mac) in subjects.iter() {
        if closed_bytes + open_bytes > room {
            flush(std::mem::replace(&mut chunk, Subjects::new(subjects.year)));
            (closed_bytes, open_bytes) = (0, 0);
        }
        let runs = chunk.runs.len();
        chunk.push(partition, offset, mac);
        if chunk.runs.len() > runs {
            closed_bytes += open_bytes;
        }
        open_bytes = chunk.runs.last().map_or(0, SubjectRun::json_bytes_max);
    }
    flush(chunk);
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    // Drafts have string keys and finite numbers only: they always serialise.
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use shuniu_model::{ResourceName, Timestamp, TopicId};

    use super::*;
    use crate::{Actor, BootId, Entry, EntryId, Hash, Publication, SubjectMac};

    fn publication(records: i64, step: i64, partitions: i32) -> Publication {
        let mut subjects = Subjects::new(2026);
        let mut ranges = Vec::new();
        for partition in 0..partitions {
            for n in 0..records {
                let mac =
                    SubjectMac(u128::try_from(n).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
                subjects.push(partition, n * step, mac);
            }
            ranges.extend(OffsetRange::of(partition, (0..records).map(|n| n * step)));
        }
        Publication {
            resource: ResourceName::parse("population").unwrap(),
            topic: TopicId([1; 16]),
            schemas: vec![1],
            ranges,
            subjects,
            bytes: 9,
            sha256: [2; 32],
        }
    }

    #[test]
    fn a_large_event_is_split_without_losing_an_offset_or_a_subject() {
        for (records, step, partitions) in
            [(10, 1, 1), (20_000, 1, 4), (9_000, 70_000, 3), (1, 1, 3_000), (3_000, 1 << 40, 1)]
        {
            let whole = Draft::published(Actor::hub(), publication(records, step, partitions));
            let subjects: Vec<_> = whole.subjects.iter().flat_map(Subjects::iter).collect();
            let offsets = |draft: &Draft| -> Vec<(i32, i64)> {
                draft
                    .ranges
                    .iter()
                    .flat_map(|r| r.offsets().map(|o| (r.partition(), o)).collect::<Vec<_>>())
                    .collect()
            };
            let all = offsets(&whole);
            let count = whole.count;
            let parts = whole.into_parts().unwrap();
            assert_eq!(parts.iter().flat_map(offsets).collect::<Vec<_>>(), all);
            let split: Vec<_> =
                parts.iter().flat_map(|p| p.subjects.iter().flat_map(Subjects::iter)).collect();
            assert_eq!(split, subjects);
            assert_eq!(parts.iter().map(|p| p.count.unwrap()).sum::<u64>(), count.unwrap());
            assert_eq!(parts.iter().filter_map(|p| p.bytes).collect::<Vec<_>>(), [9]);
            for draft in parts {
                let id = EntryId { boot: BootId([255; 16]), sequence: u64::MAX };
                let entry =
                    Entry { id, time: Timestamp::from_micros(i64::MIN), previous: Hash([255; 32]), draft };
                let leaf = entry.leaf().unwrap();
                assert_eq!(Entry::from_leaf(&leaf).unwrap(), entry);
            }
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let mut draft = Draft::published(Actor::hub(), publication(1, 1, 1));
        draft.purpose = Some("x".repeat(LEAF_BYTES_MAX));
        assert!(draft.into_parts().is_err());
    }
}
