//! How fast a department publishes.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord};
use shuniu_tests::machine::{self, figure};
use shuniu_tests::register::{FILTERED, PARTITIONS, PLAIN, PUBLISHER, RECORD_BYTES, Register, headers};
use shuniu_tests::{Hub, Taken, drain};

use crate::{Scale, median};

const RATE_GOAL: f64 = 100_000.0;

pub(crate) fn run(hub: &Hub, register: &Register, scale: &Scale) {
    for (resource, name) in [(PLAIN, "hub-produce"), (FILTERED, "hub-produce-with-before-and-subjects")] {
        let mut rates = Vec::new();
        let (cpu, disk) =
            (machine::cpu(hub.process_id()), machine::folder_bytes(&hub.folder().join("records")));
        for pass in 0..scale.passes {
            let records = register.records(resource, pass * scale.records..(pass + 1) * scale.records);
            rates.push(once(hub, resource, &records));
        }
        let cpu = machine::cpu(hub.process_id()).saturating_sub(cpu);
        println!("{name}: {} passes of {} records, records/s: {rates:.0?}", scale.passes, scale.records);
        let mb = (scale.passes * scale.records * RECORD_BYTES) as f64 / 1e6;
        let disk = machine::folder_bytes(&hub.folder().join("records")) - disk;
        println!(
            "beside it: the hub took {:.2} ms of CPU per MB; one record takes {} bytes on disk, the audit log included",
            cpu.as_secs_f64() * 1e3 / mb,
            disk / u64::try_from(scale.passes * scale.records).unwrap()
        );
        let rate = median(rates);
        figure(name, rate, "records/s", RATE_GOAL, rate >= RATE_GOAL);
    }
}

/// Records a second, from handing the first to the client until the last is acknowledged.
fn once(hub: &Hub, resource: &str, records: &[(&str, Vec<u8>)]) -> f64 {
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
