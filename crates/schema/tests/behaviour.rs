//! What this crate promises, with apache-avro as the oracle.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics to fail"
)]

#[path = "behaviour/avro.rs"]
mod avro;
#[path = "behaviour/blocks.rs"]
mod blocks;
#[path = "behaviour/compatibility.rs"]
mod compatibility;
#[path = "behaviour/filters.rs"]
mod filters;
#[path = "behaviour/hostile.rs"]
mod hostile;
#[path = "behaviour/kinds.rs"]
mod kinds;
#[path = "behaviour/oracle.rs"]
mod oracle;
#[path = "behaviour/projection.rs"]
mod projection;
#[path = "behaviour/random_filters.rs"]
mod random_filters;
#[path = "behaviour/schemas.rs"]
mod schemas;
#[path = "behaviour/treatments.rs"]
mod treatments;
#[path = "behaviour/views.rs"]
mod views;
