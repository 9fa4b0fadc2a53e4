//! The fixed header of a batch, and the walk from one batch to the next.

use bytes::Bytes;

use super::BatchError;
use super::compression::Compression;

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;

/// Producer id, epoch and sequence of a batch without an idempotent producer.
pub const NO_PRODUCER: (i64, i16, i32) = (-1, -1, -1);

/// Bytes before those that the length field counts.
const LENGTH_END: usize = 12;
const MAGIC: usize = 16;
/// Where the bytes that the CRC covers begin.
const CRC_START: usize = 21;

const CODEC: i16 = 0b0000_0111;
pub(super) const DELETE_HORIZON: i16 = 0b0100_0000;
const TIMESTAMP_TYPE: i16 = 0b0000_1000;
const TRANSACTIONAL: i16 = 0b0001_0000;
const CONTROL: i16 = 0b0010_0000;
/// The attribute bits that a rewrite keeps: timestamp type, transactional, control, delete horizon.
pub(super) const KEPT_ATTRIBUTES: i16 = 0b0111_1000;
pub(super) const CONTROL_ATTRIBUTE: i16 = CONTROL;

/// The header of a batch, each field as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch; a record's offset is this plus its delta.
    pub base_offset: i64,
    /// The leader epoch in which the batch was appended.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec (bits 0-2), timestamp type (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// The last offset that the batch covers, less `base_offset`.
    pub last_offset_delta: i32,
    /// Milliseconds; a record's timestamp is this plus its delta.
    pub base_timestamp: i64,
    /// Milliseconds.
    pub max_timestamp: i64,
    /// -1 without an idempotent producer.
    pub producer_id: i64,
    /// -1 without an idempotent producer.
    pub producer_epoch: i16,
    /// -1 without an idempotent producer.
    pub base_sequence: i32,
    /// How many records follow.
    pub records_count: i32,
}

impl BatchHeader {
    /// The last offset that the batch covers.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Whether it is a control batch (transaction markers).
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether its records all carry `max_timestamp`, the time of the append.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    /// The codec.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::of_attributes(self.attributes)
    }

    /// Appends the header in front of `records`, with the length and the CRC computed.
    pub(super) fn write(&self, records: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
        let start = out.len();
        let length = HEADER_BYTES - LENGTH_END + records.len();
        let length = i32::try_from(length).map_err(|_| BatchError::Build { what: "over 2 GiB" })?;
        out.reserve(HEADER_BYTES + records.len());
        out.extend_from_slice(&self.base_offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.attributes.to_be_bytes());
        out.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.to_be_bytes());
        out.extend_from_slice(&self.producer_id.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.records_count.to_be_bytes());
        out.extend_from_slice(records);
        let crc = crc32c::crc32c(out.get(start + CRC_START..).unwrap_or_default());
        if let Some(place) = out.get_mut(start + CRC_START - 4..start + CRC_START) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        Ok(())
    }

    /// Reads the header of a whole batch.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = Fields(bytes);
        let base_offset = i64::from_be_bytes(at.take()?);
        let _length: [u8; 4] = at.take()?;
        let leader_epoch = i32::from_be_bytes(at.take()?);
        let _magic: [u8; 1] = at.take()?;
        Some(Self {
            base_offset,
            leader_epoch,
            crc: u32::from_be_bytes(at.take()?),
            attributes: i16::from_be_bytes(at.take()?),
            last_offset_delta: i32::from_be_bytes(at.take()?),
            base_timestamp: i64::from_be_bytes(at.take()?),
            max_timestamp: i64::from_be_bytes(at.take()?),
            producer_id: i64::from_be_bytes(at.take()?),
            producer_epoch: i16::from_be_bytes(at.take()?),
            base_sequence: i32::from_be_bytes(at.take()?),
            records_count: i32::from_be_bytes(at.take()?),
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

/// One whole batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it came, header included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records as they came, perhaps compressed.
    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Compares the CRC with the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let found = crc32c::crc32c(self.bytes.get(CRC_START..).unwrap_or_default());
        if found == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Crc { stated: self.header.crc, found })
    }

    /// The one batch that a producer sends for a partition: whole, of format v2, with a right CRC, its records counted
    /// from 0 without gaps by its header, with no attribute but the codec: control and transactional batches, append time
    /// and delete horizon are the broker's.
    pub fn of_producer(records: &Bytes) -> Result<Self, BatchError> {
        let mut found = batches(records);
        let batch = found.next().ok_or(BatchError::NotOne { found: 0 })??;
        if found.next().is_some() || found.cut_bytes() > 0 {
            return Err(BatchError::NotOne { found: 2 });
        }
        batch.verify_crc()?;
        let header = batch.header;
        if header.is_control() {
            return Err(BatchError::NotAllowed { kind: "control" });
        }
        if header.is_transactional() {
            return Err(BatchError::NotAllowed { kind: "transactional" });
        }
        if header.is_log_append_time() {
            return Err(BatchError::NotAllowed { kind: "log-append-time" });
        }
        if header.attributes & !CODEC != 0 {
            return Err(BatchError::NotAllowed { kind: "specially marked" });
        }
        if header.records_count < 1 || header.last_offset_delta != header.records_count - 1 {
            return Err(BatchError::Count {
                stated: header.records_count,
                found: header.last_offset_delta.saturating_add(1),
            });
        }
        header.compression()?;
        Ok(batch)
    }
}

/// Walks the batches of a partition's records. What is cut short at the end (Kafka sends partial last batches) ends the
/// walk without an error; [`Batches::cut_bytes`] says how much it was.
pub fn batches(records: &Bytes) -> Batches {
    Batches { rest: records.clone() }
}

/// The walk of [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Bytes at the end that are no whole batch, once the walk has ended.
    #[must_use]
    pub fn cut_bytes(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let length: [u8; 4] = self.rest.get(8..LENGTH_END)?.try_into().ok()?;
        // It stands at the same place in every format, and older ones have shorter headers.
        if let Some(magic) = self.rest.get(MAGIC).copied().map(u8::cast_signed)
            && magic != 2
        {
            self.rest.clear();
            return Some(Err(BatchError::Magic { magic }));
        }
        let length = i32::from_be_bytes(length);
        let whole = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_END));
        let Some(whole) = whole.filter(|whole| *whole >= HEADER_BYTES) else {
            self.rest.clear();
            return Some(Err(BatchError::Length { length }));
        };
        if whole > self.rest.len() {
            return None;
        }
        let bytes = self.rest.split_to(whole);
        let header = BatchHeader::read(&bytes)?;
        if header.last_offset_delta < 0 || header.records_count < 0 || header.base_offset < 0 {
            self.rest.clear();
            return Some(Err(BatchError::Count {
                stated: header.records_count,
                found: header.last_offset_delta,
            }));
        }
        Some(Ok(Batch { header, bytes }))
    }
}
