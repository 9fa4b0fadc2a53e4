//! How fast a department publishes.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use shuniu_tests::Hub;

use crate::register::{FILTERED, PLAIN, PUBLISHER, RECORD_BYTES, Register, headers};
use crate::{PARTITIONS, Scale, figure, machine, median};

const RATE_GOAL: f64 = 100_000.0;

/// Ends the bench when a record is not taken.
pub(crate) struct Taken;

impl ClientContext for Taken {}

impl ProducerContext for Taken {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().unwrap();
    }
}

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

/// Waits until every record is acknowledged. The client's own `flush` looks only every tenth of a second.
pub(crate) fn drain(producer: &BaseProducer<Taken>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(10));
        assert!(Instant::now() < deadline, "not acknowledged within a minute");
    }
}
