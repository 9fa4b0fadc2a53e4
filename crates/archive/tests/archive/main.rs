//! The log's life over a record store in memory, which fails on demand.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its numbers are small, and it may spawn and sleep"
)]

mod kill;
mod log;
#[path = "../../../../tests/src/objects.rs"]
#[expect(unreachable_pub, reason = "shared with other packages")]
mod object_server;
mod objects;
#[path = "../../../../tests/src/postgres.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with other packages; each uses what it needs")]
mod postgres;
mod reader;
mod sequencer;
mod support;
mod trial;
