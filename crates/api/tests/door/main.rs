//! The HTTP door as a client meets it: over TLS, on a whole exchange.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod client;
mod doors;
mod registry;
#[path = "../../../gateway/tests/door/world.rs"]
#[expect(dead_code, reason = "the other door's tests use more of it")]
mod world;
