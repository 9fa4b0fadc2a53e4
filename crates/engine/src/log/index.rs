//! The sparse index of one segment: where batches begin, and the highest timestamp before each of these places.

use std::io;

use crate::header::Header;

/// The log bytes between two entries, at least.
pub(crate) const INTERVAL_BYTES: u64 = 16 << 10;
/// The bytes of an entry in an index file.
pub(crate) const ENTRY_BYTES: usize = 16;
/// The maximum timestamp of a log without one.
pub(crate) const NO_TIMESTAMP: i64 = -1;
/// The delete horizon of a segment without tombstones that wait to go.
pub(crate) const NO_HORIZON: i64 = i64::MAX;

/// A place in a segment where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The batch's base offset less the segment's.
    pub(crate) offset_delta: u32,
    /// The file position of the batch.
    pub(crate) position: u32,
    /// The highest timestamp of the batches before it in the segment.
    pub(crate) max_timestamp_before: i64,
}

impl Entry {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = self
            .offset_delta
            .to_be_bytes()
            .into_iter()
            .chain(self.position.to_be_bytes())
            .chain(self.max_timestamp_before.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let all = u128::from_be_bytes(*bytes);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "each cast takes exactly its field's bits"
        )]
        Self {
            offset_delta: (all >> 96) as u32,
            position: (all >> 64) as u32,
            max_timestamp_before: all as u64 as i64,
        }
    }
}

/// What a segment holds, kept while it grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The segment's base offset.
    pub(crate) base: i64,
    /// The offset after its last batch; the base of an empty segment.
    pub(crate) end: i64,
    pub(crate) bytes: u64,
    /// [`NO_TIMESTAMP`] while empty.
    pub(crate) max_timestamp: i64,
    /// The position of the first batch that has the maximum timestamp.
    pub(crate) max_timestamp_position: u64,
    /// When the first of its tombstones may go, or [`NO_HORIZON`].
    pub(crate) delete_horizon: i64,
    pub(crate) entries: Vec<Entry>,
    last_entry_at: u64,
}

impl Tally {
    pub(crate) fn new(base: i64) -> Self {
        Self {
            base,
            end: base,
            bytes: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_position: 0,
            delete_horizon: NO_HORIZON,
            entries: Vec::new(),
            last_entry_at: 0,
        }
    }

    /// Counts a batch that follows what is there.
    pub(crate) fn push(&mut self, header: &Header) {
        let due = self.entries.is_empty() || self.bytes >= self.last_entry_at.saturating_add(INTERVAL_BYTES);
        // A segment is closed before either would not fit; a sparser index would be right all the same.
        let offset_delta = u32::try_from(header.base_offset.saturating_sub(self.base));
        if let (true, Ok(offset_delta), Ok(position)) = (due, offset_delta, u32::try_from(self.bytes)) {
            self.entries.push(Entry { offset_delta, position, max_timestamp_before: self.max_timestamp });
            self.last_entry_at = self.bytes;
        }
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_position = self.bytes;
        }
        if let Some(horizon) = header.delete_horizon() {
            self.delete_horizon = self.delete_horizon.min(horizon);
        }
        self.bytes = self.bytes.saturating_add(header.bytes as u64);
        self.end = header.last_offset().saturating_add(1);
    }
}

/// Where to begin reading to find the batch that holds this offset, or the first one after it.
pub(crate) fn position_of_offset(
    count: usize,
    entry: impl Fn(usize) -> io::Result<Entry>,
    offset_delta: u64,
) -> io::Result<u64> {
    last_where(count, entry, |entry| u64::from(entry.offset_delta) <= offset_delta)
}

/// Where to begin reading to find the first batch whose maximum timestamp is at least this.
pub(crate) fn position_of_time(
    count: usize,
    entry: impl Fn(usize) -> io::Result<Entry>,
    timestamp: i64,
) -> io::Result<u64> {
    last_where(count, entry, |entry| entry.max_timestamp_before < timestamp)
}

/// The position of the last entry for which `holds` is true; it is true for a run of entries from the first on.
fn last_where(
    count: usize,
    entry: impl Fn(usize) -> io::Result<Entry>,
    holds: impl Fn(&Entry) -> bool,
) -> io::Result<u64> {
    let (mut low, mut high) = (0, count);
    let mut position = 0;
    while low < high {
        let middle = low.midpoint(high);
        let found = entry(middle)?;
        if holds(&found) {
            position = u64::from(found.position);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(position)
}

/// An entry of an index in memory.
pub(crate) fn entry_of(entries: &[Entry]) -> impl Fn(usize) -> io::Result<Entry> {
    |at| entries.get(at).copied().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}
