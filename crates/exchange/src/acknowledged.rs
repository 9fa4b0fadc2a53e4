//! What groups have acknowledged by committing offsets: one entry for each group and resource a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuniu_ledger::{Acknowledgement, Draft, OffsetRange};
use shuniu_model::{GrantId, ResourceName, TopicId};
use shuniu_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tokio_util::sync::CancellationToken;

use crate::access::{Access, TopicRef};
use crate::caller::Caller;
use crate::hub::Hub;

const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Groups and resources that may wait to be written; the commits of more are not noted until some are.
const WAITING_MAX: usize = 10_000;

/// The commits since the last writing.
#[derive(Default)]
pub(crate) struct Acknowledged(Mutex<HashMap<Commits, HashMap<i32, i64>>>);

#[derive(PartialEq, Eq, Hash)]
struct Commits {
    caller: Caller,
    group: String,
    resource: ResourceName,
    topic: TopicId,
    grant: GrantId,
}

impl Acknowledged {
    /// Notes the commits that were accepted.
    pub(crate) fn note(
        &self,
        access: &Access,
        caller: &Caller,
        request: &OffsetCommitRequest,
        response: &OffsetCommitResponse,
    ) {
        for topic in &request.topics {
            let Ok((resource, permit)) = access.read(&TopicRef::Name(topic.name.clone())) else { continue };
            let Some(topic_id) = resource.topic_id else { continue };
            let commits = Commits {
                caller: caller.clone(),
                group: request.group_id.to_string(),
                resource: resource.name.clone(),
                topic: topic_id,
                grant: permit.grant().id.clone(),
            };
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX && !waiting.contains_key(&commits) {
                continue;
            }
            let noted = waiting.entry(commits).or_default();
            for partition in &topic.partitions {
                // Brokers put together what a request names apart.
                let answers = response.topics.iter().filter(|answer| answer.name == topic.name);
                let accepted = answers.flat_map(|answer| &answer.partitions).any(|answer| {
                    answer.partition_index == partition.partition_index && answer.error_code == 0
                });
                if accepted && partition.committed_offset > 0 {
                    let to = noted.entry(partition.partition_index).or_insert(0);
                    *to = (*to).max(partition.committed_offset);
                }
            }
        }
    }

    fn take(&self) -> HashMap<Commits, HashMap<i32, i64>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the acknowledgements, every minute and once more at the end.
pub(crate) async fn run(hub: Arc<Hub>, cancel: CancellationToken) {
    loop {
        let ended = tokio::time::timeout(WRITE_EVERY, cancel.cancelled()).await.is_ok();
        write(&hub).await;
        if ended {
            return;
        }
    }
}

async fn write(hub: &Hub) {
    let drafts: Vec<Draft> = hub
        .acknowledged
        .take()
        .into_iter()
        .map(|(commits, partitions)| {
            let ranges = partitions
                .into_iter()
                // A committed offset is the next one that the group wants: it has all before it.
                .filter_map(|(partition, offset)| OffsetRange::dense(partition, 0, offset - 1))
                .collect();
            let acknowledgement = Acknowledgement {
                resource: commits.resource,
                topic: commits.topic,
                grant: commits.grant,
                group: commits.group,
                ranges,
            };
            Draft::acknowledged(hub.actor(&commits.caller), acknowledgement)
                .from_source(commits.caller.source)
        })
        .collect();
    if drafts.is_empty() {
        return;
    }
    let count = drafts.len();
    if let Err(error) = hub.audit.append_all(drafts).await {
        // The commits themselves stand in the record store; what is lost is a note about them.
        tracing::warn!(%error, count, "acknowledgements are not on the audit log");
    }
}
