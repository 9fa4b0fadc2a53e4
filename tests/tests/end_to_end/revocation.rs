//! What a grant and a certificate are worth once they have ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use shuniu_tests::{Hub, citizen, person, repository};

use crate::{producer, publish};

fn directory() -> String {
    std::fs::read_to_string(repository().join("config/directory.toml")).unwrap()
}

fn reader(hub: &Hub, system: &str) -> BaseConsumer {
    hub.client(system)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

#[test]
fn p6_a_revoked_grant_stops_an_open_consumer_within_a_second() {
    let hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    let producer = producer(&hub);
    let consumer = reader(&hub, "hall-yuzhong");
    consumer.subscribe(&["population"]).unwrap();
    publish(&producer, &citizen(0), Some(&person(schema, &citizen(0), "张三", "500103")), b"");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !matches!(consumer.poll(Duration::from_millis(100)), Some(Ok(_))) {
        assert!(Instant::now() < deadline, "nothing is delivered before the revocation");
    }
    let revoked = directory()
        .replace("id = \"yuzhong-population\"", "id = \"yuzhong-population\"\nstate = \"revoked\"");
    let shown = hub.apply(&revoked);
    assert!(shown.contains("- grant yuzhong-population: revoked"), "{shown}");
    let revoked_at = Instant::now();
    let mut told = false;
    // When each record was sent: the client may hold what it got earlier, and hand it out later.
    let mut sent_at = BTreeMap::new();
    for n in 1..40 {
        sent_at.insert(citizen(n), Instant::now());
        publish(&producer, &citizen(n), Some(&person(schema, &citizen(n), "张三", "500103")), b"");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = std::str::from_utf8(message.key().unwrap()).unwrap();
                let after = sent_at[key].duration_since(revoked_at);
                assert!(
                    after < Duration::from_secs(1),
                    "offset {} was sent {after:?} after the revocation, and delivered",
                    message.offset(),
                );
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed))) => {
                told = true
            }
            _ => {}
        }
    }
    assert!(told, "the consumer is not told that it may no longer read");
    assert!(revoked_at.elapsed() > Duration::from_secs(1));
}

#[test]
fn p2_committed_offsets_belong_to_one_system_and_one_view() {
    let hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    let producer = producer(&hub);
    for n in 0..20 {
        publish(&producer, &citizen(n), Some(&person(schema, &citizen(n), "张三", "500103")), b"");
    }
    let committed = |system: &str| {
        let consumer = reader(&hub, system);
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range("population", 0, 3);
        let offsets = consumer.committed_offsets(wanted, Duration::from_secs(10)).unwrap();
        offsets.elements().iter().filter(|element| matches!(element.offset(), Offset::Offset(_))).count()
    };
    let consumer = reader(&hub, "hall-yuzhong");
    let mut offsets = TopicPartitionList::new();
    for partition in 0..4 {
        offsets.add_partition_offset("population", partition, Offset::Offset(1)).unwrap();
    }
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(committed("hall-yuzhong"), 4);
    assert_eq!(committed("hall-jiangbei"), 0, "the same group id in another system is another group");

    let other_view = directory()
        .replace("id = \"yuzhong-population\"", "id = \"yuzhong-population\"\nstate = \"revoked\"")
        + "\n[[grant]]\nid = \"yuzhong-population-2\"\nsystem = \"hall-yuzhong\"\nresource = \"population\"\n\
           modes = [\"subscribe\"]\npurpose = \"p\"\nbasis = \"b\"\nends_at = \"2030-12-31\"\n\
           [grant.items]\nid_no = \"keep\"\n";
    hub.apply(&other_view);
    let deadline = Instant::now() + Duration::from_secs(30);
    while committed("hall-yuzhong") != 0 {
        assert!(Instant::now() < deadline, "an offset of another view says nothing about this one");
        std::thread::sleep(Duration::from_millis(100));
    }
}
