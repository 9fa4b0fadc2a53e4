//! The Kafka door.
//!
//! Architecture invariant: parses frames, calls the exchange, writes answers; decides nothing. Record bytes come from a
//! `Recorded` alone. Nothing that a client sends can panic, allocate beyond its frame or hold up another client.

mod api;
mod brokers;
mod connection;
mod door;
mod frames;
mod meter;

pub use door::{Broker, Door, Options};
