//! An engine on a folder of its own, short ways to call it, and batches made by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{BufMut, Bytes};
use shuniu_broker::{Connection, Upstream};
use shuniu_engine::{Engine, EngineConfig, EngineError, NODE};
use shuniu_model::{Clock, Timestamp};
use shuniu_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::fetch_response::PartitionData;
use shuniu_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::produce_response::PartitionProduceResponse;
use shuniu_wire::messages::*;
use shuniu_wire::{Request, Response};
use tokio_util::task::TaskTracker;

/// The time at which every test clock begins.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A clock that moves when told.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START_MS)))
    }
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_micros(now.load(Ordering::SeqCst) * 1_000))
    }
}

/// An open engine and one connection to it.
pub(crate) struct Hub {
    pub(crate) engine: Engine,
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) clock: TestClock,
}

impl Hub {
    pub(crate) async fn open(folder: &Path) -> Self {
        Self::open_with(EngineConfig::new(folder.to_owned()), TestClock::new()).await.unwrap()
    }

    pub(crate) async fn open_with(config: EngineConfig, clock: TestClock) -> Result<Self, EngineError> {
        let engine = Engine::open(config, clock.clock(), TaskTracker::new()).await?;
        let connection = engine.connect(NODE).await.unwrap();
        Ok(Self { engine, connection, clock })
    }

    pub(crate) async fn call<Q, A>(&self, request: Q) -> A
    where
        Request: From<Q>,
        A: TryFrom<Response, Error = Response>,
    {
        let response = self.connection.call(Request::from(request)).await.unwrap();
        A::try_from(response).unwrap()
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(-1)
            .with_configs(settings.iter().map(config).collect());
        let response: CreateTopicsResponse =
            self.call(CreateTopicsRequest::default().with_topics(vec![topic])).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    pub(crate) async fn produce(
        &self,
        name: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let mut response: ProduceResponse = self.call(produce(name, partition, records)).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    pub(crate) async fn fetch(&self, name: &str, partition: i32, offset: i64) -> PartitionData {
        let mut response: FetchResponse = self.call(fetch(name, partition, offset, 0, 1 << 20)).await;
        response.responses.remove(0).partitions.remove(0)
    }

    /// Every record from `offset` on, over as many fetches as it takes.
    pub(crate) async fn records(&self, name: &str, partition: i32, mut offset: i64) -> Vec<Record> {
        let mut all = Vec::new();
        loop {
            let data = self.fetch(name, partition, offset).await;
            assert_eq!(data.error_code, 0);
            let (records, next) = decode(&data.records.unwrap_or_default());
            let Some(next) = next else { return all };
            all.extend(records.into_iter().filter(|record| record.offset >= offset));
            offset = next;
        }
    }

    /// (error, offset, timestamp) of a ListOffsets.
    pub(crate) async fn list_offset(&self, name: &str, partition: i32, timestamp: i64) -> (i16, i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp)
            .with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![asked]);
        let response: ListOffsetsResponse =
            self.call(ListOffsetsRequest::default().with_topics(vec![asked])).await;
        let answer = &response.topics[0].partitions[0];
        (answer.error_code, answer.offset, answer.timestamp)
    }

    pub(crate) async fn producer_id(&self) -> i64 {
        let response: InitProducerIdResponse =
            self.call(InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!(response.error_code, 0);
        response.producer_id.0
    }
}

pub(crate) fn produce(name: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_transactional_id(None).with_topic_data(vec![data])
}

pub(crate) fn fetch(name: &str, partition: i32, offset: i64, max_wait_ms: i32, bytes: i32) -> FetchRequest {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(bytes);
    let asked = FetchTopic::default().with_topic(topic(name)).with_partitions(vec![asked]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(bytes)
        .with_session_epoch(-1)
        .with_topics(vec![asked])
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) producer: (i64, i16, i32),
}

/// Timestamp delta, key, value.
pub(crate) type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A batch to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) base_timestamp: i64,
    /// States no latest time, as Sarama does.
    pub(crate) states_no_time: bool,
    pub(crate) records: Vec<Row>,
}

impl Batch {
    pub(crate) fn of(values: &[&str]) -> Self {
        let records = values.iter().map(|value| (0, None, Some(value.as_bytes().to_vec()))).collect();
        Self { base_timestamp: START_MS, records, ..Self::default() }
    }

    /// A `None` value is a tombstone.
    pub(crate) fn keyed(records: &[(&str, Option<&str>)]) -> Self {
        let record = |(key, value): &(&str, Option<&str>)| {
            (0, Some(key.as_bytes().to_vec()), value.map(|value| value.as_bytes().to_vec()))
        };
        Self { base_timestamp: START_MS, records: records.iter().map(record).collect(), ..Self::default() }
    }

    pub(crate) fn by(mut self, producer: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((producer, epoch, sequence));
        self
    }

    pub(crate) fn at(mut self, base_timestamp: i64) -> Self {
        self.base_timestamp = base_timestamp;
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut body = Vec::new();
        for (delta, (timestamp, key, value)) in self.records.iter().enumerate() {
            let mut record = vec![0_u8];
            varint(&mut record, *timestamp);
            varint(&mut record, delta as i64);
            for part in [key, value] {
                match part {
                    Some(part) => {
                        varint(&mut record, part.len() as i64);
                        record.extend_from_slice(part);
                    }
                    None => varint(&mut record, -1),
                }
            }
            varint(&mut record, 0);
            varint(&mut body, record.len() as i64);
            body.extend_from_slice(&record);
        }
        let (producer, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let max = self.records.iter().map(|record| record.0).max().unwrap_or(0);
        let mut checked = Vec::new();
        checked.put_i16(0);
        checked.put_i32(self.records.len() as i32 - 1);
        checked.put_i64(self.base_timestamp);
        checked.put_i64(if self.states_no_time { -1 } else { self.base_timestamp + max });
        checked.put_i64(producer);
        checked.put_i16(epoch);
        checked.put_i32(sequence);
        checked.put_i32(self.records.len() as i32);
        checked.extend_from_slice(&body);
        let mut batch = Vec::new();
        batch.put_i64(0);
        batch.put_i32(9 + checked.len() as i32);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(crc32c::crc32c(&checked));
        batch.extend_from_slice(&checked);
        Bytes::from(batch)
    }
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn take_varint(bytes: &mut &[u8]) -> i64 {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
    }
}

/// The records of uncompressed batches, and the offset after the last batch (`None` if there is no batch). Checks
/// each checksum and that batches follow each other.
pub(crate) fn decode(batches: &Bytes) -> (Vec<Record>, Option<i64>) {
    let number = |at: usize, bytes: usize| -> i64 {
        let sign = if batches[at] & 0x80 != 0 { -1_i64 } else { 0 };
        batches[at..at + bytes].iter().fold(sign, |value, byte| (value << 8) | i64::from(*byte))
    };
    let (mut records, mut next, mut at) = (Vec::new(), None, 0);
    while at < batches.len() {
        let end = at + 12 + number(at + 8, 4) as usize;
        assert_eq!(crc32c::crc32c(&batches[at + 21..end]), number(at + 17, 4) as u32, "checksum");
        let (base, base_timestamp) = (number(at, 8), number(at + 27, 8));
        assert!(next.is_none_or(|next| base >= next), "batches follow each other");
        let producer = (number(at + 43, 8), number(at + 51, 2) as i16, number(at + 53, 4) as i32);
        let attributes = number(at + 21, 2);
        let append_time = (attributes & 8 != 0).then(|| number(at + 35, 8));
        if attributes & 7 == 0 {
            let mut body = &batches[at + 61..end];
            for _ in 0..number(at + 57, 4) {
                take_varint(&mut body);
                body = &body[1..];
                let timestamp = base_timestamp + take_varint(&mut body);
                let offset = base + take_varint(&mut body);
                let mut part = || {
                    let bytes = usize::try_from(take_varint(&mut body)).ok()?;
                    let part = body[..bytes].to_vec();
                    body = &body[bytes..];
                    Some(part)
                };
                let (key, value) = (part(), part());
                for _ in 0..take_varint(&mut body) * 2 {
                    let bytes = take_varint(&mut body).max(0) as usize;
                    body = &body[bytes..];
                }
                let timestamp = append_time.unwrap_or(timestamp);
                records.push(Record { offset, timestamp, key, value, producer });
            }
        }
        next = Some(base + number(at + 23, 4) + 1);
        at = end;
    }
    (records, next)
}

/// The files of one partition.
pub(crate) fn partition_folder(folder: &Path, name: &str, partition: i32) -> PathBuf {
    folder.join("topics").join(format!("{name}-{partition}"))
}
