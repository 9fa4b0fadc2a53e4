//! The HTTP door: the schema registry over mutual TLS, and health.
//!
//! Architecture invariant: parses, calls the exchange, renders; decides nothing.

mod door;
mod health;
mod problem;
mod registry;

pub use door::{Door, Options, serve_health};
pub use health::Notes;
