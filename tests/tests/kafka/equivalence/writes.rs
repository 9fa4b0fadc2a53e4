//! Producer ids and batches: the same to the hub's topic and to the bare side's twin of it.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use shuniu_tests::Kafka;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages as m;
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};

use super::reads::offset_at;
use super::{Found, Sides, Topic, batch, division};

const LZ4: Compression = Compression::Lz4;
const TIME: i64 = 1_760_000_000_000;

pub(crate) fn produce(topic: Topic, partition: i32, records: Bytes) -> m::ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let of_topic = TopicProduceData::default().with_name(topic.name()).with_partition_data(vec![data]);
    m::ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![of_topic])
}

fn fresh() -> m::InitProducerIdRequest {
    m::InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
}

/// One side: its topic, its producer, and the schema.
#[derive(Clone, Copy)]
struct Side {
    topic: Topic,
    producer: (i64, i16),
    schema: u32,
}

impl Side {
    /// A batch of two rows of this producer.
    fn batch(self, codec: Compression, sequence: i32) -> Bytes {
        let (id, epoch) = self.producer;
        batch(self.schema, codec, (id, epoch, sequence), &["500101", "500102"])
    }

    /// A batch of two rows of no producer.
    fn of_nobody(self) -> Bytes {
        batch(self.schema, LZ4, (-1, -1, -1), &["500101", "500102"])
    }

    fn produce(self, records: impl Into<Bytes>) -> m::ProduceRequest {
        produce(self.topic, 0, records.into())
    }
}

fn nowhere() -> Topic {
    Topic { name: "no-such-topic", id: uuid::Uuid::nil() }
}

fn one_record(codec: Compression, key: Option<&[u8]>, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    builder.push(&BuiltRecord { timestamp: TIME, key, value: Some(value), headers: &[] });
    builder.build().unwrap()
}

type Make = fn(Side) -> m::ProduceRequest;

const PRODUCED: &[(&str, Make)] = &[
    ("produce", |side| side.produce(side.batch(Compression::None, 0))),
    ("produce compressed", |side| side.produce(side.batch(LZ4, 2))),
    ("produce a second time", |side| side.produce(side.batch(LZ4, 2))),
    ("produce for the leader alone", |side| side.produce(side.of_nobody()).with_acks(1)),
    ("produce nothing", |_| m::ProduceRequest::default().with_acks(-1)),
    ("produce out of order", |side| side.produce(side.batch(LZ4, 50))),
    ("produce of an epoch before", |side| {
        let (id, epoch) = side.producer;
        Side { producer: (id, epoch - 1), ..side }
            .produce(Side { producer: (id, epoch - 1), ..side }.batch(LZ4, 4))
    }),
    ("produce by a producer that is none", |side| {
        side.produce(Side { producer: (987_654_321, 0), ..side }.batch(LZ4, 7))
    }),
    ("produce to a partition that is not there", |side| produce(side.topic, 99, side.batch(LZ4, 4))),
    ("produce with acknowledgements of five", |side| side.produce(side.batch(LZ4, 4)).with_acks(5)),
    ("produce with a changed byte", |side| {
        let mut bytes = side.batch(Compression::None, 4).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        side.produce(bytes)
    }),
    ("produce cut short", |side| {
        let bytes = side.batch(LZ4, 4);
        side.produce(bytes.slice(..bytes.len() - 3))
    }),
    ("produce two batches at once", |side| side.produce([side.batch(LZ4, 4), side.batch(LZ4, 6)].concat())),
    ("produce without a key", |side| {
        side.produce(one_record(LZ4, None, &division(side.schema, "500101", "x")))
    }),
    ("produce what is too large", |side| {
        side.produce(one_record(Compression::None, Some(b"k"), &vec![7; 2 << 20]))
    }),
    ("produce no records", |side| side.produce(Bytes::new())),
    ("produce to a topic that is not there", |side| produce(nowhere(), 0, side.batch(LZ4, 4))),
    // What follows the refused ones is appended where the last good one ended.
    ("produce after all", |side| side.produce(side.batch(LZ4, 4))),
];

/// Appended on the bare side alone, so it comes last.
const NO_ROW: (&str, Make) =
    ("produce what is no row", |side| side.produce(one_record(LZ4, Some(b"500101"), b"text")));

fn id_of(answer: &m::InitProducerIdResponse) -> (i64, i16) {
    assert_eq!(answer.error_code, 0, "{answer:?}");
    (answer.producer_id.0, answer.producer_epoch)
}

pub(super) async fn compare(sides: &mut Sides, found: &mut Found) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while sides.bare.get::<m::InitProducerIdResponse>(4, fresh()).await.error_code != 0 {
        assert!(std::time::Instant::now() < deadline, "a cluster that gives no producer ids");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for version in 0..=4 {
        let request = if version < 3 { m::InitProducerIdRequest::default() } else { fresh() };
        let request = request.with_transactional_id(None);
        let bare: m::InitProducerIdResponse = sides.bare.get(version, request.clone()).await;
        let whole: m::InitProducerIdResponse = sides.whole.get(version, request).await;
        let words = (bare.producer_id.0.to_string(), whole.producer_id.0.to_string());
        let words = [(words.0.as_str(), "*"), (words.1.as_str(), "*")];
        found.compare("whole", "a producer id", version, &bare.into(), &whole.into(), &words);
    }
    for version in [3, 7, 8, 9, 10, 12] {
        let producers = [id_of(&sides.bare.get(4, fresh()).await), id_of(&sides.whole.get(4, fresh()).await)];
        let twin = Side { topic: sides.twin, producer: producers[0], schema: sides.schema };
        let hubs = Side { topic: sides.topic, producer: producers[1], schema: sides.schema };
        for (name, make) in PRODUCED {
            let bare = sides.bare.ask(version, make(twin)).await;
            let whole = sides.whole.ask(version, make(hubs)).await;
            let words = [(twin.topic.name, hubs.topic.name)];
            found.compare("whole", name, version, &bare, &whole, &words);
        }
        // Who does not publish is told what it would be told of a topic that there is not.
        for (who, client) in [("projected", &mut sides.projected), ("none", &mut sides.none)] {
            let refused = client.ask(version, hubs.produce(hubs.of_nobody())).await;
            let absent = client.ask(version, produce(nowhere(), 0, hubs.of_nobody())).await;
            let words = [(hubs.topic.name, "*"), (nowhere().name, "*")];
            found.compare(who, "produce", version, &absent, &refused, &words);
        }
    }
}

/// A batch that states no latest time, as Sarama's do, is found by that of its record.
pub(super) async fn compare_timeless(sides: &mut Sides) {
    for (codec, time) in [(Compression::None, TIME + 7_000), (LZ4, TIME + 8_000)] {
        let value = division(sides.schema, "500101", "渝中区");
        let mut builder = BatchBuilder::new(codec);
        builder.push(&BuiltRecord {
            timestamp: time,
            key: Some(b"500101"),
            value: Some(&value),
            headers: &[],
        });
        let mut bytes = builder.build().unwrap().to_vec();
        bytes[35..43].copy_from_slice(&(-1_i64).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        for (client, topic) in [(&mut sides.bare, sides.twin), (&mut sides.whole, sides.topic)] {
            let answer: m::ProduceResponse = client.get(9, produce(topic, 0, bytes.clone().into())).await;
            let appended = &answer.responses[0].partition_responses[0];
            assert_eq!(appended.error_code, 0, "{answer:?}");
            let answer: m::ListOffsetsResponse = client.get(7, offset_at(topic, time)).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.offset, found.timestamp), (appended.base_offset, time), "{}", topic.name);
        }
    }
}

/// What a broker takes and the hub does not.
pub(super) async fn compare_no_row(sides: &mut Sides, found: &mut Found) {
    let side = |topic| Side { topic, producer: (-1, -1), schema: sides.schema };
    let (twin, hubs) = (side(sides.twin), side(sides.topic));
    let (name, make) = NO_ROW;
    for version in [3, 7, 8, 9, 10, 12] {
        let bare = sides.bare.ask(version, make(twin)).await;
        let whole = sides.whole.ask(version, make(hubs)).await;
        found.compare("whole", name, version, &bare, &whole, &[(twin.topic.name, hubs.topic.name)]);
    }
}

/// Transactions on the topic, past the hub, which serves none: one is committed, one aborted.
pub(super) fn transactions(kafka: &Kafka, schema: u32) {
    let wait = Duration::from_secs(30);
    let producer: BaseProducer = kafka.client().set("transactional.id", "past-the-hub").create().unwrap();
    producer.init_transactions(wait).unwrap();
    for (codes, commits) in [(["500110", "500111"], true), (["500112", "500113"], false)] {
        producer.begin_transaction().unwrap();
        for code in codes {
            let value = division(schema, code, "x");
            producer.send(BaseRecord::to(super::TOPIC).partition(0).key(code).payload(&value)).unwrap();
        }
        producer.flush(wait).unwrap();
        if commits {
            producer.commit_transaction(wait).unwrap()
        } else {
            producer.abort_transaction(wait).unwrap()
        }
    }
}
