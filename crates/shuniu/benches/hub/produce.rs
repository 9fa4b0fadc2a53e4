//! How fast a department publishes.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
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
        let cpu = machine::cpu(hub.process_id());
        for pass in 0..scale.passes {
            let records = register.records(resource, pass * scale.records..(pass + 1) * scale.records);
            rates.push(once(hub, resource, &records));
        }
        let cpu = machine::cpu(hub.process_id()).saturating_sub(cpu);
        println!("{name}: {} passes of {} records, records/s: {rates:.0?}", scale.passes, scale.records);
        let mb = (scale.passes * scale.records * RECORD_BYTES) as f64 / 1e6;
        println!("beside it: the hub took {:.2} ms of CPU per MB", cpu.as_secs_f64() * 1e3 / mb);
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
    // The handshake and the first look at the topic are not what is measured.
    producer.client().fetch_metadata(Some(resource), Duration::from_secs(10)).unwrap();
    let begun = Instant::now();
    for (n, (key, value)) in records.iter().enumerate() {
        let partition = i32::try_from(n % PARTITIONS).unwrap();
        let record = BaseRecord::to(resource).partition(partition).key(*key).payload(value);
        let record = if resource == FILTERED { record.headers(headers(resource)) } else { record };
        producer.send(record).map_err(|(error, _)| error).unwrap();
        if n.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    records.len() as f64 / begun.elapsed().as_secs_f64()
}
