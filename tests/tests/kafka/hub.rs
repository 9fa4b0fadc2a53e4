//! The hub on a cluster, with unchanged clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use shuniu_tests::{Hub, Kafka, Publisher};

fn consumer(hub: &Hub, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = hub
        .client("hall-yuzhong")
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        .create()
        .unwrap();
    consumer.subscribe(&["population"]).unwrap();
    consumer
}

/// Reads until each of the keys was there.
fn read_all(consumer: &BaseConsumer, keys: &BTreeMap<String, usize>, got: &mut BTreeMap<String, usize>) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while keys.keys().any(|key| !got.contains_key(key)) {
        assert!(Instant::now() < deadline, "{} of {} records came", got.len(), keys.len());
        read(consumer, Duration::from_millis(500), got);
    }
}

fn read(consumer: &BaseConsumer, wait: Duration, got: &mut BTreeMap<String, usize>) {
    // A broker that is gone is an error that passes.
    if let Some(Ok(message)) = consumer.poll(wait) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        *got.entry(key).or_default() += 1;
    }
}

#[test]
fn a_record_goes_through_a_hub_on_kafka_as_granted_and_stands_on_the_log() {
    let kafka = Kafka::start(1);
    let mut hub = Hub::on_kafka(&kafka);
    let output = hub.python("avro.py", &[]);
    assert!(output.contains("欧**") && !output.contains("欧阳修"), "{output}");
    for topic in ["legal-person", "no-such-topic", "shuniu.audit"] {
        let refused = hub.kcat("hall-jiangbei", &["-C", "-t", topic, "-e", "-o", "beginning"]);
        assert!(refused.to_lowercase().contains("authorization failed"), "{topic}: {refused}");
    }
    hub.recorded(
        &["--resource", "population", "--action", "delivered"],
        &["yuzhong-population", "jiangbei-population", "bank-population"],
    );
    // Killed and started again, it goes on where it was: the log's chain, the records, the group's offsets.
    hub.kill();
    hub.restart();
    let publisher = Publisher::new(&hub);
    for n in 100..110 {
        publisher.publish(n);
    }
    let keys = publisher.finish(Duration::from_secs(60));
    assert_eq!(keys.len(), 10);
    read_all(&consumer(&hub, "again"), &keys, &mut BTreeMap::new());
    hub.stop();
    hub.verify();
}

#[test]
fn p4_nothing_acknowledged_is_lost_or_doubled_when_a_broker_of_three_is_killed() {
    let kafka = Kafka::start(3);
    let mut hub = Hub::on_kafka(&kafka);
    let publisher = Publisher::new(&hub);
    let live = consumer(&hub, "live");
    let mut got = BTreeMap::new();
    let total = 3_000_u32;
    let victim = kafka.leader("shuniu.audit", 0).unwrap();
    for n in 0..total {
        publisher.publish(n);
        read(&live, Duration::ZERO, &mut got);
        if n % 100 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        if n == total / 3 {
            // The leader of the audit log's one partition, and of a third of the rest.
            kafka.kill(victim);
        }
        if n == 2 * total / 3 {
            kafka.restart(victim);
        }
    }
    let keys = publisher.finish(Duration::from_secs(120));
    assert_eq!(keys.len(), usize::try_from(total).unwrap());
    read_all(&live, &keys, &mut got);
    // From the beginning, by another group: each record once.
    let mut all = BTreeMap::new();
    let check = consumer(&hub, "check");
    read_all(&check, &keys, &mut all);
    let doubled: Vec<_> = all.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{} records are there twice", doubled.len());
    hub.stop();
    hub.verify();
}
