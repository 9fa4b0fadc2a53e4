//! The hub on an Apache Kafka cluster beside what one would use instead of it: a client straight at the broker, and Kroxylicious.
//! Everything that is compared is measured in one run, in turns. `tests/bench-kafka` runs it.

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
mod link;
#[path = "../hub/publish.rs"]
mod publish;
#[path = "../hub/read.rs"]
mod read;
mod revocation;
mod shared;

use shuniu_tests::machine::{figure, median};
use shuniu_tests::register::{FILTERED, PARTITIONS, PLAIN, Register, until_there};
use shuniu_tests::{Hub, Kafka, machine, register};

/// How much work there is: to measure, or with `small` to see that the bench works.
struct Scale {
    records: usize,
    /// Until the brokers' and the proxies' machine code is made.
    warm_up: usize,
    passes: usize,
    latencies: usize,
    consumers: usize,
    revocations: usize,
}

const MEASURED: Scale =
    Scale { records: 400_000, warm_up: 3, passes: 7, latencies: 1_000, consumers: 100, revocations: 1_000 };
const SMALL: Scale =
    Scale { records: 40_000, warm_up: 1, passes: 1, latencies: 20, consumers: 8, revocations: 16 };

/// One broker and a hub on it, with the register published.
struct World {
    kafka: Kafka,
    hub: Hub,
    register: Register,
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| asked.iter().any(|it| it == part);
    let scale = if wants("small") { SMALL } else { MEASURED };
    machine::note();
    if ["delivery", "link", "latency", "shared"].into_iter().any(wants) {
        let mut world = World::start(&scale);
        if wants("delivery") {
            delivery::run(&world, &scale);
        }
        if wants("latency") {
            latency::run(&world, &scale);
        }
        if wants("shared") {
            shared::run(&mut world, &scale);
        }
        if wants("link") {
            link::run(&mut world, &scale);
        }
        world.hub.stop();
    }
    if wants("revocation") {
        revocation::run(scale.revocations);
    }
}

impl World {
    fn start(scale: &Scale) -> Self {
        let kafka = Kafka::start_to_measure(1);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut hub = Hub::prepare_on(folder, Some(&kafka));
        // Who reads everything over and over is over the usual limit, and each time is to cost what the first does.
        hub.configure("[api]", "[exchange]\ndeliveries_per_second = 100000\nshared_bytes_max = 0\n[api]");
        register::apply(&hub);
        hub.restart();
        for topic in [PLAIN, FILTERED] {
            until_there(&hub, topic);
        }
        let register = Register::new(&hub, scale.records);
        for topic in [PLAIN, FILTERED] {
            let rate = publish::once(&hub, topic, &register.records(topic, 0..scale.records));
            println!("published {} records to {topic}, {rate:.0} records/s", scale.records);
        }
        Self { kafka, hub, register }
    }
}
