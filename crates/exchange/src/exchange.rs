//! The hub's one use-case object, and the tasks that keep it going.

use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{AuditLog, OutboxError, drain_outbox};
use shuniu_broker::leaders::Leaders;
use shuniu_broker::topic::{TopicSpec, ensure};
use shuniu_broker::{Connection, NodeId, Upstream, connect_any};
use shuniu_ledger::{Actor, Draft};
use shuniu_model::{Resource, TopicId};
use shuniu_store::{Change, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acknowledged;
use crate::caller::Caller;
use crate::hub::{Hub, Settings};
use crate::keyring::KeyRing;
use crate::policy_watch::PolicyWatch;
use crate::recorded::Withdrawn;
use crate::session::{Closed, Session};
use crate::trust::Trusted;

const OUTBOX_EVERY: Duration = Duration::from_secs(1);
/// How long the hub's own reading waits for a partition to have a leader that answers.
const LEADERS_PATIENCE: Duration = Duration::from_secs(30);
const TOPICS_RETRY: Duration = Duration::from_secs(2);

/// What an exchange is made of.
pub struct Parts {
    /// The record store.
    pub upstream: Arc<dyn Upstream>,
    /// The directory.
    pub store: Store,
    /// The policy, followed from the directory.
    pub policy: PolicyWatch,
    /// Whose certificates are believed.
    pub trusted: Trusted,
    /// The audit log.
    pub audit: AuditLog,
    /// The secret keys.
    pub keys: Arc<dyn KeyRing>,
    /// Bounds.
    pub settings: Settings,
    /// Replicas of each partition of a resource's topic.
    pub replication: u16,
    /// Fires when the doors close: a fetch that waits for records is answered then.
    pub closing: CancellationToken,
}

/// The hub's use cases, shared by all doors.
pub struct Exchange {
    upstream: Arc<dyn Upstream>,
    store: Store,
    replication: u16,
    hub: Arc<Hub>,
}

impl Exchange {
    /// Starts the exchange and its tasks: making topics, moving the outbox to the audit log, noting acknowledgements.
    pub fn start(parts: Parts, tracker: &TaskTracker, cancel: &CancellationToken) -> Arc<Self> {
        let hub = Arc::new(Hub::new(
            parts.settings,
            (parts.policy, parts.trusted),
            parts.audit,
            parts.keys,
            parts.closing,
        ));
        let exchange = Arc::new(Self {
            upstream: parts.upstream,
            store: parts.store,
            replication: parts.replication,
            hub: Arc::clone(&hub),
        });
        tracker.spawn(acknowledged::run(hub, cancel.clone()));
        tracker.spawn(Arc::clone(&exchange).keep_topics(cancel.clone()));
        tracker.spawn(Arc::clone(&exchange).drain_outbox(cancel.clone()));
        exchange
    }

    /// A session for a new client connection on virtual broker `node`.
    ///
    /// # Errors
    /// When the record store cannot be reached.
    pub async fn session(&self, caller: Caller, node: NodeId) -> Result<Session, Closed> {
        let upstream = self.connect(node).await?;
        Ok(Session::new(Arc::clone(&self.hub), caller, upstream))
    }

    pub(crate) async fn connect(&self, node: NodeId) -> Result<Arc<dyn Connection>, Closed> {
        self.upstream.connect(node).await.map_err(|error| Closed::upstream("connect", &error))
    }

    /// For reading topics on the hub's own behalf.
    pub(crate) fn leaders(&self) -> Leaders {
        Leaders::new(Arc::clone(&self.upstream), LEADERS_PATIENCE)
    }

    pub(crate) async fn connect_any(&self) -> Result<Arc<dyn Connection>, Closed> {
        connect_any(self.upstream.as_ref()).await.map_err(|error| Closed::upstream("connect", &error))
    }

    /// Whether a certificate must be refused at the handshake: its serial number is revoked.
    #[must_use]
    pub fn certificate_refused(&self, serial: &str) -> bool {
        self.hub.policy.snapshot().is_revoked(serial)
    }

    /// Takes other bounds over. What answers may take of memory, and how large a batch may be once decompressed, stays as
    /// it was at the start.
    pub fn adjust(&self, settings: Settings) {
        self.hub.adjust(settings);
    }

    /// Resolves when a caller is no longer good (certificate revoked, over or distrusted, system gone): its connections end then.
    pub async fn withdrawn(&self, caller: &Caller) -> Withdrawn {
        self.hub.caller_withdrawn(caller).await
    }

    /// Counts that a door has cut a connection.
    pub fn note_cut(&self, withdrawn: &Withdrawn) {
        self.hub.note_cut(withdrawn);
    }

    /// How old the policy in force is, and its version.
    #[must_use]
    pub fn policy(&self) -> (Duration, u64) {
        (self.hub.policy.age(), self.hub.policy.snapshot().version())
    }

    /// The virtual brokers there are now.
    ///
    /// # Errors
    /// When the record store cannot be reached.
    pub async fn nodes(&self) -> Result<Vec<NodeId>, Closed> {
        let nodes = self.upstream.nodes().await.map_err(|error| Closed::upstream("nodes", &error))?;
        Ok(nodes.into_iter().map(|node| node.id).collect())
    }

    /// Why the hub can not deliver now; `None` when it can: the policy is fresh and the audit log open.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if !self.hub.policy.is_fresh() {
            return Some(format!("the policy is {} ms old", self.hub.policy.age().as_millis()));
        }
        self.hub.audit.down().map(|reason| format!("the audit log cannot be written: {reason}"))
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Makes the topics that the directory names and the record store lacks, whenever the policy changes.
    async fn keep_topics(self: Arc<Self>, cancel: CancellationToken) {
        let mut changes = self.hub.policy.changes();
        loop {
            let snapshot = self.hub.policy.snapshot();
            let mut failed = false;
            for resource in snapshot.resources().filter(|resource| resource.topic_id.is_none()) {
                if let Err(reason) = self.make_topic(resource).await {
                    tracing::warn!(resource = %resource.name, reason, "a topic is not made yet; trying again");
                    failed = true;
                }
            }
            drop(snapshot);
            let retry = if failed { TOPICS_RETRY } else { Duration::from_secs(3_600) };
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(retry) => {}
            }
        }
    }

    async fn make_topic(&self, resource: &Resource) -> Result<(), String> {
        let connection = connect_any(self.upstream.as_ref()).await.map_err(|error| error.to_string())?;
        let spec = TopicSpec::of_resource(resource.name.as_str(), resource.partitions, self.replication);
        let topic = ensure(connection.as_ref(), &spec).await.map_err(|error| error.to_string())?;
        let draft = Draft::administered(
            Actor::hub(),
            &format!("topic {}", resource.name),
            &format!("made with {} partitions", topic.partitions),
        );
        let draft = serde_json::to_string(&draft).map_err(|error| error.to_string())?;
        let change = Change::Topic { resource: resource.name.clone(), id: TopicId(topic.id) };
        self.store.write(&[change], &[draft]).await.map_err(|error| error.to_string())?;
        tracing::info!(resource = %resource.name, partitions = topic.partitions, "a topic was made");
        Ok(())
    }

    /// Moves drafts from the outbox to the audit log, in their order.
    async fn drain_outbox(self: Arc<Self>, cancel: CancellationToken) {
        let mut changes = self.hub.policy.changes();
        loop {
            if let Err(reason) = self.drain_once().await {
                tracing::warn!(reason, "the audit outbox cannot be moved to the log; trying again");
            }
            tokio::select! {
                () = cancel.cancelled() => {
                    if let Err(reason) = self.drain_once().await {
                        tracing::warn!(reason, "the audit outbox stays for the next start");
                    }
                    return;
                }
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(OUTBOX_EVERY) => {}
            }
        }
    }

    async fn drain_once(&self) -> Result<(), String> {
        let drained = drain_outbox(&self.store, &self.hub.audit).await;
        drained.map(drop).map_err(|error| match error {
            OutboxError::Store(cause) => format!("the database: {cause}"),
            OutboxError::Log(cause) => cause.to_string(),
        })
    }
}
