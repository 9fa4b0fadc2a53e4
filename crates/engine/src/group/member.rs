//! One member of a group.

use std::time::Duration;

use bytes::Bytes;
use shuniu_wire::messages::{JoinGroupResponse, StrBytes, SyncGroupResponse};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a first JoinGroup may wait for its rebalance; Kafka's number. Until it is answered such a member cannot
/// send a heartbeat, and whether it is still there cannot be told.
pub(super) const FIRST_JOIN_MAX: Duration = Duration::from_mins(5);

/// A member.
pub(super) struct Member {
    pub(super) id: StrBytes,
    pub(super) instance: Option<StrBytes>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    /// Its assignors in the order of its liking, each with its subscription.
    pub(super) protocols: Vec<(StrBytes, Bytes)>,
    pub(super) assignment: Bytes,
    /// Its JoinGroup that waits.
    pub(super) joining: Option<oneshot::Sender<JoinGroupResponse>>,
    /// Its SyncGroup that waits.
    pub(super) syncing: Option<oneshot::Sender<SyncGroupResponse>>,
    /// Sent a SyncGroup in this generation.
    pub(super) synced: bool,
    /// Has not been through a rebalance yet.
    pub(super) is_new: bool,
    /// When it is given up, unless it is heard of.
    pub(super) deadline: Instant,
}

impl Member {
    /// Heard of: its session begins anew.
    pub(super) fn heard(&mut self, now: Instant) {
        self.deadline = now + self.session;
    }

    /// While the group itself keeps it waiting, silence is no sign.
    pub(super) fn is_kept_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(super) fn answer_join(&mut self, response: JoinGroupResponse) {
        if let Some(joining) = self.joining.take() {
            // A client that went away asks again or is given up at its deadline.
            drop(joining.send(response));
        }
    }

    pub(super) fn answer_sync(&mut self, response: SyncGroupResponse) {
        if let Some(syncing) = self.syncing.take() {
            drop(syncing.send(response));
        }
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name.as_str() == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name.as_str() == protocol)
    }
}
