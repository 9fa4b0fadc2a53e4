//! No body panics the checker or the plan, and what the one accepts the other projects.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use shuniu_fuzz::{avro, bounded};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

#[test]
fn p10_avro() {
    let avro = avro();
    bolero::check!()
        .with_iterations(1_000_000)
        .with_test_time(Duration::from_secs(2))
        .for_each(|input: &[u8]| bounded(&PEAK, (64 << 10) + 64 * input.len(), || avro(input)));
}
