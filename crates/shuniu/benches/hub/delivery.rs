//! What a delivery costs the hub, and how fast it is.

use shuniu_tests::Hub;
use shuniu_tests::machine::{self, figure, median};
use shuniu_tests::register::{FILTERED, PLAIN, RARITY, VALUE_BYTES};

use crate::{Scale, read};

const PASSES: usize = 5;

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
    let mut client = hub.client(case.system);
    let read = read::whole(&mut client, case.resource, &[hub.process_id(), std::process::id()]);
    let read::Whole { covered, received, received_bytes, .. } = read;
    assert!(covered >= produced);
    let whole = case.resource == PLAIN;
    assert_eq!(received_bytes == received * VALUE_BYTES, whole, "{} is not the view", case.name);
    assert!(received_bytes <= received * VALUE_BYTES);
    if case.rarity == 1 {
        assert_eq!(received, covered);
    } else {
        assert!(received >= produced / case.rarity && received <= covered / case.rarity * 2);
    }
    Pass {
        hub_ms_per_mb: read.ms_per_mb(0),
        client_ms_per_mb: read.ms_per_mb(1),
        rate: covered as f64 / read.took.as_secs_f64(),
    }
}
