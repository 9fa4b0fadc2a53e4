//! Building batches: the hub's own producer, and tests.

use bytes::Bytes;

use super::compression::{Compression, Compressor};
use super::header::{BatchHeader, NO_PRODUCER};
use super::{BatchError, varint};

/// A record to put into a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltRecord<'a> {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// `None` for a record without a key.
    pub key: Option<&'a [u8]>,
    /// `None` for a deletion.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Builds one batch of format v2, its offsets counted from 0 or with gaps.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Compression,
    header: BatchHeader,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch of base offset 0.
    #[must_use]
    pub fn new(codec: Compression) -> Self {
        let (producer_id, producer_epoch, base_sequence) = NO_PRODUCER;
        let header = BatchHeader {
            base_offset: 0,
            leader_epoch: -1,
            crc: 0,
            attributes: codec.attributes(),
            last_offset_delta: -1,
            base_timestamp: 0,
            max_timestamp: -1,
            producer_id,
            producer_epoch,
            base_sequence,
            records_count: 0,
        };
        Self { codec, header, body: Vec::new() }
    }

    /// Sets the idempotent producer's id, epoch and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Sets the offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// How many records are in it.
    #[must_use]
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// Bytes of its records before compression.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Adds a record at the next offset.
    pub fn push(&mut self, record: &BuiltRecord<'_>) {
        self.push_at(self.header.last_offset_delta.saturating_add(1), record);
    }

    /// Adds a record at an offset, relative to the base, after those that are there. Compaction makes such gaps.
    pub fn push_at(&mut self, offset_delta: i32, record: &BuiltRecord<'_>) {
        if self.header.records_count == 0 {
            self.header.base_timestamp = record.timestamp;
        }
        self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.wrapping_sub(self.header.base_timestamp);
        let headers_count = i64::try_from(record.headers.len()).unwrap_or(i64::MAX);
        let headers_length: usize = record
            .headers
            .iter()
            .map(|(name, value)| varint::bytes_length(Some(name)) + varint::bytes_length(*value))
            .sum();
        let length = 1
            + varint::length(timestamp_delta)
            + varint::length(i64::from(offset_delta))
            + varint::bytes_length(record.key)
            + varint::bytes_length(record.value)
            + varint::length(headers_count)
            + headers_length;
        let body = &mut self.body;
        varint::write(i64::try_from(length).unwrap_or(i64::MAX), body);
        body.push(0);
        varint::write(timestamp_delta, body);
        varint::write(i64::from(offset_delta), body);
        varint::write_bytes(record.key, body);
        varint::write_bytes(record.value, body);
        varint::write(headers_count, body);
        for (name, value) in record.headers {
            varint::write_bytes(Some(name), body);
            varint::write_bytes(*value, body);
        }
        self.header.records_count = self.header.records_count.saturating_add(1);
        self.header.last_offset_delta = offset_delta;
    }

    /// Lets the batch cover offsets after its last record, as compaction leaves it.
    #[must_use]
    pub fn last_offset_delta(mut self, last_offset_delta: i32) -> Self {
        self.header.last_offset_delta = last_offset_delta;
        self
    }

    /// The batch's bytes.
    ///
    /// # Errors
    /// When the records cannot be compressed or are over 2 GiB.
    pub fn build(self) -> Result<Bytes, BatchError> {
        let mut compressor = Compressor::default();
        let mut out = Vec::new();
        self.header.write(compressor.compress(&self.body, self.codec)?, &mut out)?;
        Ok(Bytes::from(out))
    }
}
