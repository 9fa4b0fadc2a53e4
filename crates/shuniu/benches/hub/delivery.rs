//! What a delivery costs the hub, and how fast it is.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use shuniu_tests::Hub;
use shuniu_tests::machine::{self, figure};
use shuniu_tests::register::{FILTERED, PARTITIONS, PLAIN, RARITY, RECORD_BYTES, VALUE_BYTES};

use crate::{Scale, median};

const PASSES: usize = 5;
/// The audit log's tiles and checkpoint come after the last byte, and belong to what it costs.
const AFTERMATH: Duration = Duration::from_millis(800);

struct Case {
    name: &'static str,
    system: &'static str,
    resource: &'static str,
    /// One in so many records passes the view's filter.
    rarity: usize,
    cpu_goal: f64,
}

const CASES: [Case; 3] = [
    Case { name: "whole", system: "bank-supervisor", resource: PLAIN, rarity: 1, cpu_goal: 2.0 },
    Case { name: "projected", system: "hall-yuzhong", resource: FILTERED, rarity: 1, cpu_goal: 5.0 },
    Case { name: "filtered", system: "hall-jiangbei", resource: FILTERED, rarity: RARITY, cpu_goal: 5.0 },
];

/// What one pass took.
struct Pass {
    hub_ms_per_mb: f64,
    client_ms_per_mb: f64,
    rate: f64,
}

pub(crate) fn run(hub: &Hub, scale: &Scale) {
    let produced = scale.records * scale.passes;
    for case in CASES {
        let passes: Vec<Pass> = (0..PASSES).map(|_| once(hub, &case, produced)).collect();
        let each = |of: fn(&Pass) -> f64| passes.iter().map(of).collect::<Vec<f64>>();
        let cpu = each(|pass| pass.hub_ms_per_mb);
        println!(
            "delivery, {}: {:.0} records/s covered (median of {PASSES}); the client took {:.2} ms of CPU per MB; \
             the hub {cpu:.2?}",
            case.name,
            median(each(|pass| pass.rate)),
            median(each(|pass| pass.client_ms_per_mb)),
        );
        let cpu = median(cpu);
        figure(&format!("hub-delivery-{}-cpu", case.name), cpu, "ms/MB", case.cpu_goal, cpu <= case.cpu_goal);
    }
    println!("the hub's memory at its peak: {:.0} MB", machine::memory_peak_mb(hub.process_id()));
}

/// Reads the resource from its beginning to its end.
fn once(hub: &Hub, case: &Case, produced: usize) -> Pass {
    let consumer: BaseConsumer = hub
        .client(case.system)
        .set("group.id", "delivery")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut places = TopicPartitionList::new();
    let mut covered = 0;
    for partition in 0..i32::try_from(PARTITIONS).unwrap() {
        let ends = consumer.fetch_watermarks(case.resource, partition, Duration::from_secs(10)).unwrap();
        covered += usize::try_from(ends.1 - ends.0).unwrap();
        places.add_partition_offset(case.resource, partition, Offset::Beginning).unwrap();
    }
    assert!(covered >= produced);
    let (hub_before, client_before) = (machine::cpu(hub.process_id()), machine::cpu(std::process::id()));
    let begun = Instant::now();
    consumer.assign(&places).unwrap();
    // The client waits a while for more before it says that a partition has ended: the last record counts.
    let mut last = begun;
    let (mut received, mut received_bytes, mut ended) = (0, 0, 0);
    while ended < PARTITIONS {
        match consumer.poll(Duration::from_secs(30)).unwrap() {
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            answer => {
                received_bytes += answer.unwrap().payload().unwrap().len();
                received += 1;
                last = Instant::now();
            }
        }
    }
    let seconds = last.duration_since(begun).as_secs_f64();
    let client = machine::cpu(std::process::id()).saturating_sub(client_before);
    std::thread::sleep(AFTERMATH);
    let cpu = machine::cpu(hub.process_id()).saturating_sub(hub_before);
    let whole = case.resource == PLAIN;
    assert_eq!(received_bytes == received * VALUE_BYTES, whole, "{} is not the view", case.name);
    assert!(received_bytes <= received * VALUE_BYTES);
    if case.rarity == 1 {
        assert_eq!(received, covered);
    } else {
        assert!(received >= produced / case.rarity && received <= covered / case.rarity * 2);
    }
    let mb = (covered * RECORD_BYTES) as f64 / 1e6;
    Pass {
        hub_ms_per_mb: cpu.as_secs_f64() * 1e3 / mb,
        client_ms_per_mb: client.as_secs_f64() * 1e3 / mb,
        rate: covered as f64 / seconds,
    }
}
