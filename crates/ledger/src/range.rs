//! Which records of a partition an entry is about.

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::encoding::base64_bytes;

/// A serialised bitmap above this is cut into two ranges, so that one always fits an entry with room to spare.
const BITMAP_BYTES_MAX: usize = 16 * 1024;

/// Records of one partition: all offsets from first to last, or, where not dense, those of a bitmap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RangeText", into = "RangeText")]
pub struct OffsetRange {
    partition: i32,
    first: i64,
    last: i64,
    records: u64,
    /// Offsets relative to `first`; `None` when every one from first to last is meant.
    sparse: Option<RoaringBitmap>,
}

impl OffsetRange {
    /// Every offset from `first` to `last`, both inclusive. `None` when `last` is before `first`.
    #[must_use]
    pub fn dense(partition: i32, first: i64, last: i64) -> Option<Self> {
        let records = u64::try_from(last.checked_sub(first)?).ok()?.checked_add(1)?;
        Some(Self { partition, first, last, records, sparse: None })
    }

    /// The given offsets of a partition, in rising order (an offset that does not rise is ignored), as few ranges as
    /// fit an entry each.
    #[must_use]
    pub fn of(partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<Self> {
        let mut ranges = Vec::new();
        let mut first = 0;
        let mut bitmap = RoaringBitmap::new();
        for offset in offsets {
            if bitmap.is_empty() {
                first = offset;
            }
            match offset.checked_sub(first).map(u32::try_from) {
                Some(Ok(relative)) => {
                    // Ignored on purpose: it only says that the offset does not rise.
                    bitmap.try_push(relative).ok();
                }
                // Behind the first: does not rise. Beyond 32 bits: another range.
                Some(Err(_)) if offset < first => {}
                _ => {
                    Self::cut(partition, first, std::mem::take(&mut bitmap), &mut ranges);
                    first = offset;
                    bitmap.insert(0);
                }
            }
        }
        Self::cut(partition, first, bitmap, &mut ranges);
        ranges
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The first offset that it covers.
    #[must_use]
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The last offset that it covers.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last
    }

    /// How many records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether it covers that offset of that partition.
    #[must_use]
    pub fn contains(&self, partition: i32, offset: i64) -> bool {
        partition == self.partition
            && (self.first..=self.last).contains(&offset)
            && self.sparse.as_ref().is_none_or(|bitmap| {
                offset
                    .checked_sub(self.first)
                    .and_then(|o| u32::try_from(o).ok())
                    .is_some_and(|o| bitmap.contains(o))
            })
    }

    /// Every offset that it covers, rising.
    pub fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let dense = self.sparse.is_none().then_some(self.first..=self.last);
        let sparse =
            self.sparse.iter().flatten().map(|relative| self.first.saturating_add(i64::from(relative)));
        dense.into_iter().flatten().chain(sparse)
    }

    /// Appends the ranges of a bitmap relative to `base`, halved until each fits.
    fn cut(partition: i32, base: i64, bitmap: RoaringBitmap, ranges: &mut Vec<Self>) {
        let (Some(low), Some(high)) = (bitmap.min(), bitmap.max()) else { return };
        let first = base.saturating_add(i64::from(low));
        let last = base.saturating_add(i64::from(high));
        let records = bitmap.len();
        if u64::from(high - low) + 1 == records {
            ranges.push(Self { partition, first, last, records, sparse: None });
            return;
        }
        let mut relative: RoaringBitmap =
            if low == 0 { bitmap } else { bitmap.iter().map(|offset| offset - low).collect() };
        relative.optimize();
        if relative.serialized_size() <= BITMAP_BYTES_MAX {
            ranges.push(Self { partition, first, last, records, sparse: Some(relative) });
            return;
        }
        // Cut in the middle of the records, not of the offsets: each half has fewer, so this ends.
        let half = usize::try_from(records / 2).unwrap_or(usize::MAX);
        let left: RoaringBitmap = relative.iter().take(half).collect();
        let right: RoaringBitmap = relative.iter().skip(half).collect();
        Self::cut(partition, first, left, ranges);
        Self::cut(partition, first, right, ranges);
    }
}

/// The form before its parts are known to agree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeText {
    partition: i32,
    first: i64,
    last: i64,
    records: u64,
    /// A roaring bitmap in its portable serialisation, base64.
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Vec::is_empty")]
    bitmap: Vec<u8>,
}

impl From<OffsetRange> for RangeText {
    fn from(range: OffsetRange) -> Self {
        let mut bitmap = Vec::new();
        if let Some(sparse) = &range.sparse {
            // Writing to a Vec cannot fail.
            sparse.serialize_into(&mut bitmap).ok();
        }
        Self {
            partition: range.partition,
            first: range.first,
            last: range.last,
            records: range.records,
            bitmap,
        }
    }
}

impl TryFrom<RangeText> for OffsetRange {
    type Error = &'static str;
    fn try_from(text: RangeText) -> Result<Self, Self::Error> {
        let RangeText { partition, first, last, records, bitmap } = text;
        let dense = Self::dense(partition, first, last).ok_or("a range ends before it starts")?;
        if bitmap.is_empty() {
            return if dense.records == records { Ok(dense) } else { Err("a dense range's count is wrong") };
        }
        let sparse =
            RoaringBitmap::deserialize_from(bitmap.as_slice()).map_err(|_| "a range's bitmap is broken")?;
        let span = u32::try_from(dense.records - 1).map_err(|_| "a range's bitmap is too wide")?;
        if sparse.len() != records || sparse.min() != Some(0) || sparse.max() != Some(span) {
            return Err("a range's bitmap does not fit its ends and count");
        }
        Ok(Self { partition, first, last, records, sparse: Some(sparse) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_covers_its_offsets_and_no_other(
            first in 0_i64..1_000_000_000_000,
            gaps in proptest::collection::vec(prop_oneof![Just(1_i64), 1_i64..5, 1_i64..100_000], 1..2_000),
        ) {
            let mut offset = first;
            let offsets: Vec<i64> = gaps.iter().map(|gap| { offset += gap; offset }).collect();
            let ranges = OffsetRange::of(3, offsets.iter().copied());
            let text = serde_json::to_string(&ranges).unwrap();
            let read: Vec<OffsetRange> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, &ranges);
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
            let covered: Vec<i64> = read.iter().flat_map(|range| range.offsets().collect::<Vec<_>>()).collect();
            prop_assert_eq!(&covered, &offsets);
            for offset in first..first + 50 {
                let covers = read.iter().any(|range| range.contains(3, offset));
                prop_assert_eq!(covers, offsets.contains(&offset));
            }
            prop_assert_eq!(read.iter().map(OffsetRange::records).sum::<u64>(), offsets.len() as u64);
        }
    }

    #[test]
    fn a_wide_scatter_is_cut_so_that_each_range_is_small() {
        let ranges = OffsetRange::of(0, (0..40_000_i64).map(|n| n * 70_000));
        assert!(ranges.len() > 1);
        for range in &ranges {
            assert!(serde_json::to_string(range).unwrap().len() < 24 * 1024);
        }
        assert_eq!(OffsetRange::of(0, 0..1_000_000).len(), 1);
        let far = OffsetRange::of(0, [0, 1 << 40]);
        assert_eq!(far.len(), 2);
        assert!(OffsetRange::of(0, []).is_empty());
    }
}
