//! Kafka frames, record batches and the closed API table.
//!
//! Architecture invariant: no I/O, no async, no clock. No other crate names `kafka_protocol`: what they need of its
//! message types is re-exported from [`messages`].

pub mod batch;
mod call;
pub mod messages;

pub use call::{ApiKey, Request, Response};
