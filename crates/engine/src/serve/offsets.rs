//! OffsetCommit and OffsetFetch.

use std::future::Future;
use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use shuniu_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use shuniu_wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ResponseError,
    StrBytes, TopicName,
};

use crate::commits::NotStored;
use crate::database::CommittedRow;
use crate::engine::Core;
use crate::group::Committed;

/// What is committed is judged when this returns; the future waits for the disk.
pub(crate) fn commit(
    core: &Arc<Core>,
    request: OffsetCommitRequest,
) -> impl Future<Output = Result<OffsetCommitResponse, UpstreamError>> + Send + 'static {
    let allowed = core.groups.may_commit(&request);
    let metadata_max = core.context.config.offset_metadata_bytes_max;
    let mut rows = Vec::new();
    let mut response = OffsetCommitResponse::default();
    for asked in request.topics {
        let topic = core.topics.find(&asked.name, asked.topic_id);
        let mut answer =
            OffsetCommitResponseTopic::default().with_name(asked.name).with_topic_id(asked.topic_id);
        for partition in asked.partitions {
            let metadata = partition.committed_metadata.as_deref().unwrap_or("");
            let result = allowed.and_then(|()| match &topic {
                Err(code) => Err(*code),
                Ok(topic) if topic.partition(partition.partition_index).is_none() => {
                    Err(ResponseError::UnknownTopicOrPartition)
                }
                Ok(_) if metadata.len() > metadata_max => Err(ResponseError::OffsetMetadataTooLarge),
                Ok(topic) => Ok(CommittedRow {
                    group: request.group_id.to_string(),
                    topic: topic.name.to_string(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: metadata.to_owned(),
                }),
            });
            let code = result.map_or_else(
                |code| code.code(),
                |row| {
                    rows.push(row);
                    0
                },
            );
            answer.partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code),
            );
        }
        response.topics.push(answer);
    }
    let stored = (!rows.is_empty()).then(|| core.commits.submit(rows));
    async move {
        let Some(stored) = stored else { return Ok(response) };
        let code = match stored.await.map_err(|_| UpstreamError::Closed)? {
            Ok(()) => return Ok(response),
            Err(NotStored::Busy) => ResponseError::RequestTimedOut,
            // What Kafka answers when the offsets topic cannot be written.
            Err(NotStored::Storage) => ResponseError::CoordinatorNotAvailable,
        };
        for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if partition.error_code == 0 {
                partition.error_code = code.code();
            }
        }
        Ok(response)
    }
}

/// Answers after the commits that were submitted before. Whoever takes a partition over may otherwise be told an offset
/// from before its former owner's last commit, and consume again what that one was acknowledged.
pub(crate) fn fetch(
    core: &Arc<Core>,
    request: OffsetFetchRequest,
) -> impl Future<Output = Result<OffsetFetchResponse, UpstreamError>> + Send + 'static {
    let settled = core.commits.settled();
    let core = Arc::clone(core);
    async move {
        if let Some(settled) = settled {
            // What could not be stored was not acknowledged, and does not matter here.
            drop(settled.await.map_err(|_| UpstreamError::Closed)?);
        }
        Ok(fetch_now(&core, request))
    }
}

/// Answers the single group's form where no list of groups is given, the list's form otherwise.
fn fetch_now(core: &Arc<Core>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if request.groups.is_empty() {
        let asked = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = committed(core, &request.group_id, asked);
        return OffsetFetchResponse::default()
            .with_topics(topics.into_iter().map(|(name, partitions)| old_form(name, partitions)).collect());
    }
    let mut response = OffsetFetchResponse::default();
    for group in request.groups {
        let asked = group.topics.map(|topics| {
            let name = |topic_name: TopicName, id| {
                let known = if topic_name.is_empty() { core.topics.by_id(id) } else { None };
                known.map_or(topic_name, |topic| TopicName(StrBytes::from_string(topic.name.to_string())))
            };
            topics
                .into_iter()
                .map(|topic| (name(topic.name, topic.topic_id), topic.partition_indexes))
                .collect()
        });
        let topics = committed(core, &group.group_id, asked)
            .into_iter()
            .map(|(name, partitions)| {
                let id = core.topics.by_name(&name).map(|topic| topic.id).unwrap_or_default();
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_topic_id(id)
                    .with_partitions(partitions.into_iter().map(new_form).collect())
            })
            .collect();
        response
            .groups
            .push(OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics));
    }
    response
}

type OfTopic = (TopicName, Vec<(i32, Option<Committed>)>);

/// What was asked for, or everything that the group has.
fn committed(core: &Core, group: &str, asked: Option<Vec<(TopicName, Vec<i32>)>>) -> Vec<OfTopic> {
    core.groups.offsets(group, |offsets| match asked {
        Some(asked) => asked
            .into_iter()
            .map(|(name, partitions)| {
                let known = offsets.get(name.as_str());
                let find = |index: i32| (index, known.and_then(|known| known.get(&index)).cloned());
                (name, partitions.into_iter().map(find).collect())
            })
            .collect(),
        None => offsets
            .iter()
            .map(|(name, known)| {
                let all = known.iter().map(|(index, committed)| (*index, Some(committed.clone())));
                (TopicName(StrBytes::from_string(name.clone())), all.collect())
            })
            .collect(),
    })
}

fn new_form((index, committed): (i32, Option<Committed>)) -> OffsetFetchResponsePartitions {
    let partition = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match committed {
        Some(committed) => partition
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(StrBytes::from_string(committed.metadata))),
        None => partition
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::default())),
    }
}

fn old_form(name: TopicName, partitions: Vec<(i32, Option<Committed>)>) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(new_form).map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
    });
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
}
