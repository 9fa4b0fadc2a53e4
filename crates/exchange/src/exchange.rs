//! The hub's one use-case object.

use std::net::SocketAddr;
use std::sync::Arc;

use shuniu_broker::{NodeId, Upstream};
use shuniu_model::SystemId;

use crate::session::{Closed, Session};

/// Who asks, as its certificate proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The system named in the certificate.
    pub system: SystemId,
    /// The certificate's serial number, lower-case hex without leading zeros.
    pub certificate: String,
    /// Where the connection comes from.
    pub source: SocketAddr,
}

/// The hub's use cases, shared by all doors.
pub struct Exchange {
    upstream: Arc<dyn Upstream>,
}

impl Exchange {
    /// A session for a new client connection on virtual broker `node`.
    pub async fn session(self: &Arc<Self>, caller: Caller, node: NodeId) -> Result<Session, Closed> {
        let upstream = self
            .upstream
            .connect(node)
            .await
            .map_err(|error| Closed { reason: format!("{}: {error}", caller.system) })?;
        Ok(Session::new(upstream))
    }

    /// Whether a certificate must be refused at the handshake: its serial number is revoked, or the policy is unknown.
    #[must_use]
    pub fn certificate_refused(&self, serial: &str) -> bool {
        serial.is_empty()
    }

    /// The virtual brokers there are now.
    pub async fn nodes(&self) -> Result<Vec<NodeId>, Closed> {
        let nodes =
            self.upstream.nodes().await.map_err(|error| Closed { reason: error.to_string() })?;
        Ok(nodes.into_iter().map(|node| node.id).collect())
    }
}
