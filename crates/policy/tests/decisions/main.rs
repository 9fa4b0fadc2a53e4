//! What is decided, as a table of cases and as properties over random directories.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod property;
mod table;
mod world;
