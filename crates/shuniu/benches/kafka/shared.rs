//! Many consumers of one partition with one view: what of the work is done once for all.

use std::time::Duration;

use shuniu_tests::Raw;
use shuniu_wire::batch::batches;
use shuniu_wire::messages as m;
use shuniu_wire::messages::{FetchResponse, StrBytes, TopicName};

use crate::register::{FILTERED, PLAIN, RECORD_BYTES};
use crate::{PARTITIONS, Scale, World, figure, machine, median};

/// The last version that says topics by name.
pub(crate) const FETCH: i16 = 12;
const BYTES_MAX: i32 = 1 << 20;
/// The audit log's tiles and checkpoint come after the last byte, and belong to what it costs.
const AFTERMATH: Duration = Duration::from_millis(800);
const PASSES: usize = 3;

pub(crate) fn run(world: &mut World, scale: &Scale) {
    let one = measure(world, scale, "one after the other", 1, scale.consumers / 5);
    let apart = measure(world, scale, "together, nothing shared", scale.consumers, 1);
    world.hub.configure("shared_bytes_max = 0", "shared_bytes_max = 67108864");
    world.hub.stop();
    world.hub.restart();
    let together = measure(world, scale, "together", scale.consumers, 1);
    world.hub.configure("shared_bytes_max = 67108864", "shared_bytes_max = 0");
    for (at, (name, ..)) in CASES.into_iter().enumerate() {
        println!(
            "{name}, {} together: {:.2} of one where nothing is shared",
            scale.consumers,
            apart[at] / one[at]
        );
        let ratio = together[at] / one[at];
        figure(&format!("kafka-shared-{name}-cpu-of-one"), ratio, "times", 0.5, ratio <= 0.5);
    }
}

const CASES: [(&str, &str, &str); 2] =
    [("projected", "hall-yuzhong", FILTERED), ("whole", "bank-supervisor", PLAIN)];

/// The hub's CPU in ms for each MB that is delivered, of each case.
fn measure(world: &World, scale: &Scale, what: &str, consumers: usize, times: usize) -> [f64; CASES.len()] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let records = scale.records / PARTITIONS;
    let processes = [world.hub.process_id(), world.kafka.process_id(1)];
    CASES.map(|(name, system, resource)| {
        // Opened one after the other, and before: handshakes are not what is measured.
        let mut connections: Vec<Raw> =
            (0..consumers).map(|_| runtime.block_on(Raw::of_system(&world.hub, system))).collect();
        let pass = |_| {
            let before = processes.map(machine::cpu);
            for _ in 0..times {
                let all = connections.iter_mut().map(|connection| read(connection, resource, records));
                runtime.block_on(futures_util::future::join_all(all));
            }
            std::thread::sleep(AFTERMATH);
            let after = processes.map(machine::cpu);
            let mb = (consumers * times * records * RECORD_BYTES) as f64 / 1e6;
            [0, 1].map(|at| after[at].saturating_sub(before[at]).as_secs_f64() * 1e3 / mb)
        };
        let passes: Vec<[f64; 2]> = (0..PASSES).map(pass).collect();
        let [hub, broker] = [0, 1].map(|at| median(passes.iter().map(|pass| pass[at]).collect()));
        println!("{name}, {what}: CPU in ms/MB delivered: hub {hub:.2}, broker {broker:.2}");
        hub
    })
}

/// Reads a partition from its beginning until so many records are behind it.
async fn read(raw: &mut Raw, resource: &'static str, records: usize) {
    let mut next = 0;
    while next < i64::try_from(records).unwrap() {
        let answer: FetchResponse = raw.get(FETCH, fetch(resource, next, BYTES_MAX)).await;
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            assert_eq!(data.error_code, 0);
            for batch in data.records.as_ref().map(batches).into_iter().flatten() {
                next = next.max(batch.unwrap().header().last_offset() + 1);
            }
        }
        // There was no memory for an answer.
        tokio::time::sleep(Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap())).await;
    }
}

pub(crate) fn fetch(resource: &'static str, offset: i64, bytes_max: i32) -> m::FetchRequest {
    use m::fetch_request::{FetchPartition, FetchTopic};
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(bytes_max);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(resource)))
        .with_partitions(vec![partition]);
    m::FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}
