//! What is done with hostile bytes, one function per target. Each returns when all is well and panics otherwise.
//!
//! A target is one line in tests/fuzz/tests: a file of its own, so that the peak of its memory is its own. Its corpus is in
//! tests/fuzz/tests/__fuzz__/<target>/corpus, and bytes that once failed go to `crashes` beside it; both are run first, by
//! every `cargo test`. Bytes made at random reach little, so most targets take the first few as a plan for the rest.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a fuzz target fails by panicking")]

mod avro;
mod batches;
mod requests;

pub use avro::avro;
pub use batches::{batch_walk, rewrite};
pub use requests::request;

use peak_alloc::PeakAlloc;

/// Runs a target, which may take no more memory than that at any moment. C code (zstd) is not counted.
pub fn bounded(peak: &PeakAlloc, bytes_max: usize, target: impl FnOnce()) {
    peak.reset_peak_usage();
    let before = peak.current_usage();
    target();
    let bytes = peak.peak_usage().saturating_sub(before);
    assert!(bytes <= bytes_max, "{bytes} bytes of memory, {bytes_max} are allowed");
}
