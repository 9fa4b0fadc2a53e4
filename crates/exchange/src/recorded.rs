//! What may be sent: a response whose audit entry is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_policy::ReadPermit;

use crate::budget::Share;
use crate::hub::Hub;

/// A permission is looked at again before each of these is handed out.
const CHUNK_BYTES: usize = 1 << 20;

/// The code of a response that is cut because the policy could not be confirmed for too long.
pub(crate) const POLICY_STALE: &str = "policy-stale";

/// The grant (or the certificate) that the bytes were to leave under is no longer in force: the connection is to be
/// reset, not closed, so that nothing more of the response arrives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the permission was withdrawn: {code}")]
pub struct Withdrawn {
    /// The denial's stable code.
    pub code: &'static str,
}

/// A response whose audit entry is durable. Only this yields record bytes to send, at most 1 MiB at a time, and it
/// looks at the permission again before each.
pub struct Recorded {
    hub: Arc<Hub>,
    permits: Vec<Arc<ReadPermit>>,
    rest: Bytes,
    throttle: Duration,
    /// The memory that it takes, until the client has it.
    _share: Option<Share>,
}

impl Recorded {
    /// Made by `record` alone, after the audit log has acknowledged.
    pub(crate) fn new(
        hub: Arc<Hub>,
        permits: Vec<Arc<ReadPermit>>,
        frame: Bytes,
        throttle: Duration,
        share: Option<Share>,
    ) -> Self {
        Self { hub, permits, rest: frame, throttle, _share: share }
    }

    /// How long the connection is to take no other request once this is sent: its grant is over its limit. The answer
    /// says so to the client.
    #[must_use]
    pub fn throttle(&self) -> Duration {
        self.throttle
    }

    /// The bytes that may be sent next, `None` after the last.
    ///
    /// # Errors
    /// [`Withdrawn`] when a grant that the response stands on is no longer in force.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Withdrawn> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        // While the policy cannot be confirmed nothing leaves; a response without records needs no permission.
        if !self.permits.is_empty() && self.hub.policy.fresh().await.is_err() {
            return Err(Withdrawn { code: POLICY_STALE });
        }
        for permit in &self.permits {
            self.hub.still(permit).map_err(|denial| Withdrawn { code: denial.code().as_str() })?;
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        Ok(Some(self.rest.split_to(length)))
    }

    /// Resolves when the permission is withdrawn while a chunk is being written; never otherwise.
    pub async fn withdrawn(&self) -> Withdrawn {
        self.hub.withdrawn(&self.permits).await
    }

    /// Bytes not yet handed out.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.rest.len()
    }
}
