//! The hub as it is run, with unchanged clients: librdkafka over mutual TLS, records of 300 bytes, lz4.
//!
//! What the machine does besides is in every figure, so each stands beside what the same run says of the machine.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has failed; it prints its figures and times itself"
)]

mod delivery;
mod latency;
mod machine;
mod produce;
mod register;

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use shuniu_tests::Hub;

use register::{FILTERED, PLAIN, Register};

/// How much work there is: to measure, or to see that the bench works.
struct Scale {
    records: usize,
    passes: usize,
    latencies: usize,
}

fn main() {
    // `cargo test` runs benches once, to see that they work.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let scale = if measured {
        Scale { records: 200_000, passes: 3, latencies: 500 }
    } else {
        Scale { records: 2_000, passes: 1, latencies: 5 }
    };
    // Not in the temporary folder, which may be memory: records and audit log are to meet the disk.
    let mut hub = Hub::prepare(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    register::apply(&hub);
    hub.restart();
    for topic in [PLAIN, FILTERED] {
        until_there(&hub, topic);
    }
    let register = Register::new(&hub, scale.records * scale.passes);
    machine::note();
    produce::run(&hub, &register, &scale);
    latency::run(&hub, &register, scale.latencies);
    delivery::run(&hub, &scale);
    hub.stop();
}

/// The hub makes topics after it has started.
fn until_there(hub: &Hub, topic: &str) {
    let client: BaseConsumer = hub.client("population-register").create().unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).unwrap();
        if metadata.topics().iter().any(|it| it.error().is_none() && it.partitions().len() == PARTITIONS) {
            return;
        }
        assert!(Instant::now() < deadline, "`{topic}` is not there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const PARTITIONS: usize = 4;

fn figure(name: &str, value: f64, unit: &str, goal: f64, met: bool) {
    println!("figure {name} {value:.2} {unit} goal {goal} {}", if met { "met" } else { "short" });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
