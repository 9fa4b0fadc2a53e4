//! The fixed part of a record batch, version 2, as the log needs it.

use bytes::Buf;

/// The bytes before a batch's first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// The bytes that the engine writes anew: base offset, batch length (unchanged), leader epoch.
pub(crate) const PREFIX_BYTES: usize = 16;
/// Where the checksummed part begins.
pub(crate) const CHECKED_FROM: usize = 21;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// A batch's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// The whole batch, header included. At least [`HEADER_BYTES`].
    pub(crate) bytes: usize,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

impl Header {
    /// `None` if there are too few bytes or the batch claims to be shorter than its header. Any magic is returned:
    /// the fields after it mean something only if it is 2.
    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let base_offset = bytes.get_i64();
        let size = usize::try_from(bytes.get_i32()).ok()?.checked_add(12)?;
        if size < HEADER_BYTES {
            return None;
        }
        bytes.advance(4);
        Some(Self {
            base_offset,
            bytes: size,
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records: bytes.get_i32(),
        })
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// When the batch's tombstones may go, in milliseconds (KIP-534: the base timestamp, if the bit is set).
    pub(crate) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Whether the batch is one that a log can hold at `next_offset`, or later where compaction may have left gaps. The
    /// base offset is outside of the checksum.
    pub(crate) fn is_plausible(&self, next_offset: i64, gaps: bool) -> bool {
        self.magic == 2
            && (self.base_offset == next_offset || (gaps && self.base_offset > next_offset))
            && self.last_offset_delta >= 0
            && self.records >= 0
            && self
                .base_offset
                .checked_add(i64::from(self.last_offset_delta))
                .is_some_and(|last| last < i64::MAX)
    }

    /// Whether the checksum holds. `batch` is the whole batch.
    pub(crate) fn crc_holds(&self, batch: &[u8]) -> bool {
        batch.get(CHECKED_FROM..).is_some_and(|checked| crc32c::crc32c(checked) == self.crc)
    }
}

/// The first bytes of a batch as the log has them: at this offset, of this leader epoch.
pub(crate) fn prefix(base_offset: i64, batch_bytes: usize, leader_epoch: i32) -> Option<[u8; PREFIX_BYTES]> {
    let length = i32::try_from(batch_bytes.checked_sub(12)?).ok()?;
    let mut prefix = [0_u8; PREFIX_BYTES];
    let (offset, rest) = prefix.split_first_chunk_mut::<8>()?;
    *offset = base_offset.to_be_bytes();
    let (bytes, epoch) = rest.split_first_chunk_mut::<4>()?;
    *bytes = length.to_be_bytes();
    epoch.copy_from_slice(&leader_epoch.to_be_bytes());
    Some(prefix)
}

/// The batch with LogAppendTime: attribute bit 3, and `now` as its maximum timestamp.
pub(crate) fn with_append_time(batch: &[u8], attributes: i16, now_ms: i64) -> Option<Vec<u8>> {
    with_latest_time(batch, attributes | LOG_APPEND_TIME, now_ms)
}

/// The batch with these attributes and this maximum timestamp, and a checksum of its own.
pub(crate) fn with_latest_time(batch: &[u8], attributes: i16, latest_ms: i64) -> Option<Vec<u8>> {
    let mut batch = batch.to_vec();
    batch.get_mut(21..23)?.copy_from_slice(&attributes.to_be_bytes());
    batch.get_mut(35..43)?.copy_from_slice(&latest_ms.to_be_bytes());
    let crc = crc32c::crc32c(batch.get(CHECKED_FROM..)?);
    batch.get_mut(17..21)?.copy_from_slice(&crc.to_be_bytes());
    Some(batch)
}
