//! Topics, partitions and their batches.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use shuniu_wire::messages::ResponseError;

/// How many batches a producer's retries are recognised over, as in Kafka.
const BATCHES_REMEMBERED: usize = 5;
const BATCH_HEADER_BYTES: usize = 61;

/// Everything the store holds.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) by_name: BTreeMap<String, TopicLog>,
    pub(super) next_producer_id: i64,
}

#[derive(Debug)]
pub(super) struct TopicLog {
    pub(super) id: uuid::Uuid,
    pub(super) partitions: Vec<PartitionLog>,
}

#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    batches: VecDeque<Stored>,
    start: i64,
    end: i64,
    /// Fetches see what is before it; all, where there is none.
    shown: Option<i64>,
    producers: BTreeMap<i64, VecDeque<Remembered>>,
}

#[derive(Debug, Clone)]
struct Stored {
    first: i64,
    last: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// One batch of an idempotent producer.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    epoch: i16,
    first: i32,
    last: i32,
    /// `None` once it is forgotten.
    offset: Option<i64>,
}

/// The header fields of a batch that the store needs.
struct Header {
    last_offset_delta: i32,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl Topics {
    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut PartitionLog> {
        let topic = self.by_name.get_mut(topic)?;
        topic.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    pub(super) fn forget_producers(&mut self) {
        for partition in self.by_name.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.producers.clear();
        }
    }

    pub(super) fn forget_places(&mut self) {
        let partitions = self.by_name.values_mut().flat_map(|topic| &mut topic.partitions);
        let known = partitions.flat_map(|partition| partition.producers.values_mut()).flatten();
        known.for_each(|batch| batch.offset = None);
    }

    pub(super) fn show_until(&mut self, topic: &str, partition: i32, offset: Option<i64>) {
        if let Some(log) = self.partition_mut(topic, partition) {
            log.shown = offset;
        }
    }

    pub(super) fn stored(&self, topic: &str, partition: i32) -> Vec<Bytes> {
        let partition = usize::try_from(partition).ok();
        let log = self.by_name.get(topic).and_then(|topic| topic.partitions.get(partition?));
        log.map(|log| log.batches.iter().map(|batch| batch.bytes.clone()).collect()).unwrap_or_default()
    }

    pub(super) fn forget_before(&mut self, topic: &str, partition: i32, offset: i64) {
        let Some(log) = self.partition_mut(topic, partition) else { return };
        while log.batches.front().is_some_and(|batch| batch.last < offset) {
            log.batches.pop_front();
        }
        log.start = log.start.max(offset.min(log.end));
    }
}

impl PartitionLog {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The offset after the last record that fetches see.
    pub(super) fn shown_end(&self) -> i64 {
        self.shown.map_or(self.end, |shown| shown.min(self.end))
    }

    /// Appends one batch or answers a retry of one; the offset of its first record.
    pub(super) fn append(&mut self, records: &Bytes) -> Result<i64, ResponseError> {
        let header = header(records).ok_or(ResponseError::CorruptMessage)?;
        if header.producer_id >= 0 {
            let known = self.producers.entry(header.producer_id).or_default();
            let last = header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX;
            let batch = Remembered {
                epoch: header.producer_epoch,
                first: header.base_sequence,
                last,
                offset: Some(self.end),
            };
            if let Some(same) =
                known.iter().find(|old| (old.epoch, old.first, old.last) == (batch.epoch, batch.first, last))
            {
                return same.offset.ok_or(ResponseError::DuplicateSequenceNumber);
            }
            let expected = match known.back() {
                Some(newest) if newest.epoch == batch.epoch => newest.last.wrapping_add(1) & i32::MAX,
                Some(newest) if newest.epoch > batch.epoch => {
                    return Err(ResponseError::InvalidProducerEpoch);
                }
                // Stricter than Kafka, which lets an unknown producer begin anywhere: a writer that lost its place is seen.
                _ => 0,
            };
            if batch.first != expected {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
            known.push_back(batch);
            if known.len() > BATCHES_REMEMBERED {
                known.pop_front();
            }
        }
        let first = self.end;
        // The base offset is the one field outside of the checksum.
        let mut bytes = BytesMut::with_capacity(records.len());
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(records.get(8..).unwrap_or_default());
        let last = first + i64::from(header.last_offset_delta);
        self.batches.push_back(Stored {
            first,
            last,
            max_timestamp: header.max_timestamp,
            bytes: bytes.freeze(),
        });
        self.end = last + 1;
        Ok(first)
    }

    /// Whole batches from the one that holds `offset`, as far as they fit; the first always.
    pub(super) fn read(
        &self,
        offset: i64,
        bytes_max: usize,
        first_always: bool,
    ) -> Result<Bytes, ResponseError> {
        if offset < self.start || offset > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut out = BytesMut::new();
        let from = self.batches.partition_point(|batch| batch.last < offset);
        for batch in self.batches.range(from..).take_while(|batch| batch.last < self.shown_end()) {
            let fits = out.len() + batch.bytes.len() <= bytes_max;
            if !(fits || (out.is_empty() && first_always)) {
                break;
            }
            out.extend_from_slice(&batch.bytes);
        }
        Ok(out.freeze())
    }

    /// Offset and time of the first batch with a record at or after `timestamp` (milliseconds), to the batch.
    pub(super) fn at(&self, timestamp: i64) -> Option<(i64, i64)> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp >= timestamp)?;
        Some((batch.first, batch.max_timestamp))
    }
}

fn header(batch: &Bytes) -> Option<Header> {
    fn field<const N: usize>(batch: &Bytes, at: usize) -> Option<[u8; N]> {
        batch.get(at..at + N)?.try_into().ok()
    }
    let length = usize::try_from(i32::from_be_bytes(field(batch, 8)?)).ok()?;
    // One batch and nothing else, magic 2.
    if batch.len() < BATCH_HEADER_BYTES || length != batch.len() - 12 || field(batch, 16) != Some([2]) {
        return None;
    }
    Some(Header {
        last_offset_delta: i32::from_be_bytes(field(batch, 23)?),
        max_timestamp: i64::from_be_bytes(field(batch, 35)?),
        producer_id: i64::from_be_bytes(field(batch, 43)?),
        producer_epoch: i16::from_be_bytes(field(batch, 51)?),
        base_sequence: i32::from_be_bytes(field(batch, 53)?),
    })
}
