//! What this crate promises, with apache-avro as the oracle.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics to fail")]

#[path = "behaviour/avro.rs"]
mod avro;
#[path = "behaviour/filters.rs"]
mod filters;
#[path = "behaviour/treatments.rs"]
mod treatments;
