//! The log's life over a record store in memory, which fails on demand.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its numbers are small, and it may spawn and sleep"
)]

mod kill;
mod log;
mod reader;
mod sequencer;
mod support;
mod trial;
