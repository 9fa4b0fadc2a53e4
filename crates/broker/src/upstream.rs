//! The seam between the hub and its record store: typed Kafka requests to a node.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use shuniu_wire::{ApiKey, Request, Response};

/// A future that the seam's implementations return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A broker's id. Virtual broker n of the hub is real broker n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

/// A broker that the record store has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its rack, if it says.
    pub rack: Option<String>,
}

/// A record store that speaks typed Kafka requests: an Apache Kafka cluster, or the engine in the hub's process.
pub trait Upstream: Send + Sync + 'static {
    /// The brokers there are now.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, UpstreamError>>;

    /// A new connection to a broker. What Kafka holds per connection (order, mutual exclusion of its requests) is held
    /// per connection here.
    fn connect(&self, node: NodeId) -> BoxFuture<'_, Result<Arc<dyn Connection>, UpstreamError>>;
}

/// One connection to a broker.
pub trait Connection: Send + Sync + 'static {
    /// Sends a request. The order of calls is the order of execution: the request is submitted when `call` returns,
    /// before the future is polled, and the future is its answer. Dropping the future does not take a write back.
    ///
    /// The answer is always of the request's own API. A Produce is answered after its records are durable; a Fetch
    /// after `min_bytes` are there or `max_wait_ms` has passed.
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>>;

    /// Whether it serves an API that not every record store has, in all versions that the hub speaks.
    fn has(&self, api: ApiKey) -> bool;
}

/// A connection to any broker there is now, for what every broker answers alike: topics, leaders, producer ids.
///
/// # Errors
/// When none can be reached: why the last could not.
pub async fn connect_any(upstream: &dyn Upstream) -> Result<Arc<dyn Connection>, UpstreamError> {
    let mut failure = UpstreamError::Unreachable { detail: "there is no broker now".to_owned() };
    for node in upstream.nodes().await? {
        match upstream.connect(node.id).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Why the record store gave no answer at all. Errors within an answer are Kafka's own codes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// No such broker now.
    #[error("the record store has no broker {}", .0.0)]
    NoSuchNode(NodeId),
    /// The connection is gone, or could not be made; `detail` says what was attempted.
    #[error("the record store cannot be reached: {detail}")]
    Unreachable {
        /// What was attempted, on what, and what came of it.
        detail: String,
    },
    /// The request is one that this record store does not serve.
    #[error("the record store does not serve {api}")]
    Unsupported {
        /// The API's name.
        api: String,
    },
    /// The store's disk refuses: full, broken or read-only. Nothing of the request was acknowledged.
    #[error("the record store cannot write: {detail}")]
    Storage {
        /// What was attempted, on what, and what came of it.
        detail: String,
    },
    /// The store is shutting down.
    #[error("the record store is closed")]
    Closed,
}
