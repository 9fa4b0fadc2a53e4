//! The Kafka side: the [`Upstream`] seam, topics, the hub's own producers and consumers.
//!
//! Architecture invariant: nothing here decides who may read or write; callers hold a permit already.

mod kafka;
pub mod leaders;
#[cfg(feature = "memory")]
pub mod memory;
pub mod topic;
mod upstream;

pub use kafka::{KafkaCluster, KafkaOptions};
pub use upstream::{BoxFuture, Connection, Node, NodeId, Upstream, UpstreamError, connect_any};
