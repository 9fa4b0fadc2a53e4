//! The hub as its users run it: the program, certificates, unchanged clients.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod backup;
mod connectors;
mod doors;
mod durability;
mod limits;
mod main_job;
#[path = "../../src/objects.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with other packages; each uses what it needs")]
mod objects;
mod operating;
mod production;
mod reload;
mod revocation;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use shuniu_tests::Hub;

/// A producer of the population's publishing system that waits for each record.
pub(crate) fn publish(producer: &BaseProducer, key: &str, value: Option<&[u8]>, before: &[u8]) {
    let headers = OwnedHeaders::new().insert(Header { key: "before", value: Some(before) });
    let mut record = BaseRecord::to("population").key(key).headers(headers);
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
}

pub(crate) fn producer(hub: &Hub) -> BaseProducer {
    hub.client("population-register")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create()
        .unwrap()
}

/// Everything that a system gets of a topic, from the beginning to the end: the records of each key, `None` for a
/// deletion.
pub(crate) fn consume(
    hub: &Hub,
    system: &str,
    topic: &str,
    group: &str,
) -> BTreeMap<String, Vec<Option<Vec<u8>>>> {
    let consumer: BaseConsumer = hub
        .client(system)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut got: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
    let mut ended = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let partitions = partitions(hub, system, topic);
    while ended.len() < partitions {
        assert!(
            Instant::now() < deadline,
            "the end of {topic} was not reached: partitions {ended:?} were, with {} keys",
            got.len()
        );
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => panic!("{system} on {topic}: {error}"),
            Some(Ok(message)) => {
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                got.entry(key).or_default().push(message.payload().map(<[u8]>::to_vec));
            }
        }
    }
    got
}

fn partitions(hub: &Hub, system: &str, topic: &str) -> usize {
    let consumer: BaseConsumer = hub.client(system).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    metadata.topics()[0].partitions().len()
}
