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
mod produce;
mod publish;
mod read;

use shuniu_tests::register::Register;
use shuniu_tests::{Hub, machine, register};

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
    register::start(&mut hub);
    let register = Register::new(&hub, scale.records * scale.passes);
    machine::note();
    produce::run(&hub, &register, &scale);
    latency::run(&hub, &register, scale.latencies);
    delivery::run(&hub, &scale);
    hub.stop();
}
