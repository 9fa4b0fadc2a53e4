//! Records on their way to a hub.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord};
use shuniu_tests::register::{FILTERED, PARTITIONS, PUBLISHER, headers};
use shuniu_tests::{Hub, Taken, drain};

/// Records a second, from handing the first to the client until the last is acknowledged.
pub(crate) fn once(hub: &Hub, resource: &str, records: &[(&str, Vec<u8>)]) -> f64 {
    let producer: BaseProducer<Taken> = hub
        .client(PUBLISHER)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(Taken)
        .unwrap();
    let send = |n: usize| {
        let (key, value) = &records[n];
        let partition = i32::try_from(n % PARTITIONS).unwrap();
        let record = BaseRecord::to(resource).partition(partition).key(*key).payload(value);
        let record = if resource == FILTERED { record.headers(headers(resource)) } else { record };
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    // The first record is not measured: before it the client asks for its producer id, up to half a second apart.
    send(0);
    drain(&producer);
    let begun = Instant::now();
    for n in 0..records.len() {
        send(n);
        if n.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    drain(&producer);
    records.len() as f64 / begun.elapsed().as_secs_f64()
}
