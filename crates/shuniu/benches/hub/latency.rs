//! How long a record takes from its department to another, its projection and two audit entries included.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::{Offset, TopicPartitionList};
use shuniu_tests::machine::{TwoSyncs, figure};
use shuniu_tests::register::{FILTERED, PUBLISHER, Register, headers};
use shuniu_tests::{Hub, Taken, drain};

/// At this many the connections are warm.
const WARM_UP: usize = 20;

pub(crate) fn run(hub: &Hub, register: &Register, count: usize) {
    let producer: BaseProducer<Taken> = hub
        .client(PUBLISHER)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true")
        .create_with_context(Taken)
        .unwrap();
    let consumer: BaseConsumer = hub
        .client("hall-yuzhong")
        .set("group.id", "latency")
        .set("enable.auto.commit", "false")
        .set("socket.nagle.disable", "true")
        .create()
        .unwrap();
    let (_, end) = consumer.fetch_watermarks(FILTERED, 0, Duration::from_secs(10)).unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(FILTERED, 0, Offset::Offset(end)).unwrap();
    consumer.assign(&place).unwrap();

    let mut disk = TwoSyncs::new(hub.folder());
    let (mut times, mut syncs) = (Vec::new(), Vec::new());
    for (n, (key, value)) in register.records(FILTERED, 0..count + WARM_UP).iter().enumerate() {
        let begun = Instant::now();
        let record =
            BaseRecord::to(FILTERED).partition(0).key(*key).payload(value).headers(headers(FILTERED));
        producer.send(record).map_err(|(error, _)| error).unwrap();
        let received = consumer.poll(Duration::from_secs(10)).unwrap().unwrap();
        let time = begun.elapsed();
        assert_eq!(received.key().unwrap(), key.as_bytes());
        drain(&producer);
        let sync = disk.time(value);
        if n >= WARM_UP {
            times.push(time);
            syncs.push(sync);
        }
    }
    times.sort_unstable();
    syncs.sort_unstable();
    for (name, at, goal) in [("p50", count / 2, 5.0), ("p99", count * 99 / 100, 20.0)] {
        let (time, sync) = (times[at].as_secs_f64() * 1e3, syncs[at].as_secs_f64() * 1e3);
        println!("produce to consume, {name}: {time:.2} ms; beside it: two syncs {sync:.2} ms");
        let beyond = (time - sync).max(0.0);
        figure(
            &format!("hub-produce-to-consume-beyond-two-syncs-{name}"),
            beyond,
            "ms",
            goal,
            beyond <= goal,
        );
    }
}
