//! The Kafka door as a client meets it: over TLS, on a whole exchange with the engine under it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod client;
mod hostile;
mod kcat;
mod records;
mod serves;
mod table;
mod withdrawn;
mod world;
