//! No batch panics, or takes memory out of proportion.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use shuniu_fuzz::{batch_walk, bounded};

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

#[test]
fn p10_batch_walk() {
    bolero::check!()
        .with_iterations(1_000_000)
        .with_test_time(Duration::from_secs(2))
        .for_each(|input: &[u8]| bounded(&PEAK, 16 << 20, || batch_walk(input)));
}
