//! Sources and sinks at the departments.
//!
//! A source reads a register's files, compares them with what was sent last and publishes what changed. A sink keeps
//! a table that follows a resource. Each is one TOML file; the format is in `README.md`.
//!
//! Architecture invariant: this is a department's client. It knows the hub by its Kafka door and its registry alone,
//! over mutual TLS, and uses no crate of the hub but `model` and `schema`.

mod amount;
mod avro;
mod config;
mod connector;
mod date;
mod encoding;
mod error;
mod files;
mod kafka;
mod mapping;
mod progress;
mod publish;
mod registry;
mod reject;
mod report;
mod rows;
mod shape;
mod sink;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod transform;

pub use config::ConfigError;
pub use connector::{Connector, RunOptions};
pub use error::{ConnectorError, RefusedRow};
pub use publish::PublishError;
pub use registry::RegistryError;
pub use reject::RejectError;
pub use report::{AbsentItem, BrokenRule, FileReport, Report, SinkReport};
pub use rows::FileError;
pub use sink::SinkError;
pub use state::StateError;
