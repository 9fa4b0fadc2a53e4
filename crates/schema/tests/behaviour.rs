//! What this crate promises, with apache-avro as the oracle.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics to fail")]

#[path = "behaviour/avro.rs"]
mod avro;
#[path = "behaviour/compatibility.rs"]
mod compatibility;
#[path = "behaviour/filters.rs"]
mod filters;
#[path = "behaviour/schemas.rs"]
mod schemas;
#[path = "behaviour/treatments.rs"]
mod treatments;
#[path = "behaviour/views.rs"]
mod views;
