//! Topics in the record store held against the directory.

use shuniu_archive::audit_topic;
use shuniu_broker::topic::{Drift, TopicError, TopicSpec, drift, mend as mend_topic};
use shuniu_broker::{Upstream, UpstreamError, connect_any};
use shuniu_ledger::{Actor, Draft};
use shuniu_store::{Store, StoreError};

/// The topics could not be compared or mended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicsError {
    /// No broker can be reached.
    #[error("cannot ask for the topics")]
    Upstream(#[source] UpstreamError),
    /// A topic cannot be compared or mended.
    #[error("cannot compare or mend a topic")]
    Topic(#[source] TopicError),
    /// The directory cannot be read, or the mending not be written down: then nothing is mended.
    #[error("cannot read the directory, or write down what is mended")]
    Store(#[source] StoreError),
    /// The entry about the mending cannot be written: nothing is mended.
    #[error("cannot write down what is mended")]
    Entry(#[source] serde_json::Error),
}

/// A topic that is not what it must be.
#[derive(Debug)]
pub(crate) struct Differing {
    /// What it must be.
    pub(crate) spec: TopicSpec,
    /// How it differs.
    pub(crate) drift: Vec<Drift>,
}

impl Differing {
    /// Whether anything of it can be mended.
    pub(crate) fn can_be_mended(&self) -> bool {
        self.drift.iter().any(Drift::can_be_mended)
    }

    /// Whether nothing is left once that is mended.
    pub(crate) fn is_mended_whole(&self) -> bool {
        self.drift.iter().all(Drift::can_be_mended)
    }
}

/// The topics that are not what the directory, and the audit log, need.
///
/// # Errors
/// See [`TopicsError`].
pub(crate) async fn check(
    upstream: &dyn Upstream,
    store: &Store,
    replication: u16,
) -> Result<Vec<Differing>, TopicsError> {
    let connection = connect_any(upstream).await.map_err(TopicsError::Upstream)?;
    let facts = store.facts().await.map_err(TopicsError::Store)?;
    let of_resources = facts.resources.iter().filter_map(|resource| {
        let id = resource.topic_id?;
        let spec = TopicSpec::of_resource(resource.name.as_str(), resource.partitions, replication);
        Some((spec, Some(id.0)))
    });
    let mut differing = Vec::new();
    for (spec, id) in of_resources.chain([(audit_topic(replication), None)]) {
        let drift = drift(connection.as_ref(), &spec, id).await.map_err(TopicsError::Topic)?;
        if !drift.is_empty() {
            differing.push(Differing { spec, drift });
        }
    }
    Ok(differing)
}

/// Mends what can be mended of a topic; who did it is written down first. Gives the directory's version with that.
///
/// # Errors
/// See [`TopicsError`].
pub(crate) async fn mend(
    upstream: &dyn Upstream,
    store: &Store,
    operator: &str,
    topic: &Differing,
) -> Result<u64, TopicsError> {
    let mended: Vec<Drift> = topic.drift.iter().filter(|drift| drift.can_be_mended()).cloned().collect();
    let detail: Vec<String> = mended.iter().map(ToString::to_string).collect();
    let target = format!("topic {}", topic.spec.name);
    let draft =
        Draft::administered(Actor::operator(operator), &target, &format!("mended: {}", detail.join("; ")));
    let draft = serde_json::to_string(&draft).map_err(TopicsError::Entry)?;
    let version = store.write(&[], &[draft]).await.map_err(TopicsError::Store)?;
    let connection = connect_any(upstream).await.map_err(TopicsError::Upstream)?;
    mend_topic(connection.as_ref(), &topic.spec, &mended).await.map_err(TopicsError::Topic)?;
    Ok(version)
}
