//! The HTTP door: the schema registry over mutual TLS, and health.
//!
//! Architecture invariant: parses, calls the exchange, renders; decides nothing.

mod door;
mod health;
mod meter;
mod problem;
mod registry;

pub use door::{Door, Health, Options};
pub use health::Notes;
