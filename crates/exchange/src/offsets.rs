//! Offsets: by time, by leader epoch, and a group's own, each topic only under a grant in force.

use std::collections::BTreeSet;

use shuniu_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use shuniu_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use shuniu_wire::messages::offset_fetch_request::OffsetFetchRequestTopics;
use shuniu_wire::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
};
use shuniu_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use shuniu_wire::messages::{
    ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, ResponseError, StrBytes, TopicName,
};

use crate::access::{Access, TopicRef};
use crate::group::{stamp, unstamp};

const DENIED: i16 = ResponseError::TopicAuthorizationFailed.code();

/// Takes the topics that the caller may not see out of the request, and answers them.
pub(crate) fn list_offsets(
    access: &Access,
    request: &mut ListOffsetsRequest,
) -> Vec<ListOffsetsTopicResponse> {
    let mut refused = Vec::new();
    request.topics.retain(|topic| {
        if access.visible(&TopicRef::Name(topic.name.clone())).is_some() {
            return true;
        }
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(DENIED)
                    .with_timestamp(-1)
                    .with_offset(-1)
            })
            .collect();
        refused.push(
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions),
        );
        false
    });
    refused
}

/// Takes the topics that the caller may not see out of the request, and answers them.
pub(crate) fn leader_epochs(
    access: &Access,
    request: &mut OffsetForLeaderEpochRequest,
) -> Vec<OffsetForLeaderTopicResult> {
    let mut refused = Vec::new();
    request.topics.retain(|topic| {
        if access.visible(&TopicRef::Name(topic.topic.clone())).is_some() {
            return true;
        }
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| {
                EpochEndOffset::default().with_partition(partition.partition).with_error_code(DENIED)
            })
            .collect();
        refused.push(
            OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions),
        );
        false
    });
    refused
}

/// Stamps each committed offset with the view that it was read under; topics that the caller may not read are taken
/// out and answered.
pub(crate) fn commit(access: &Access, request: &mut OffsetCommitRequest) -> Vec<OffsetCommitResponseTopic> {
    let mut refused = Vec::new();
    request.topics.retain_mut(|topic| {
        if let Ok((_, permit)) = access.read(&TopicRef::Name(topic.name.clone())) {
            let view = permit.view().digest();
            for partition in &mut topic.partitions {
                partition.committed_metadata =
                    Some(stamp(view, partition.committed_metadata.as_ref().map(StrBytes::as_str)));
            }
            return true;
        }
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(DENIED)
            })
            .collect();
        refused.push(
            OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions),
        );
        false
    });
    refused
}

/// Committed offsets to ask for, in the form of version 8 and later (`groups`), whichever form the client used.
pub(crate) fn fetch_request(mut request: OffsetFetchRequest) -> OffsetFetchRequest {
    use shuniu_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
    if request.groups.is_empty() {
        let topics = request.topics.take().map(|topics| {
            topics
                .into_iter()
                .map(|topic| {
                    OffsetFetchRequestTopics::default()
                        .with_name(topic.name)
                        .with_partition_indexes(topic.partition_indexes)
                })
                .collect()
        });
        let group_id = std::mem::take(&mut request.group_id);
        request.groups = vec![OffsetFetchRequestGroup::default().with_group_id(group_id).with_topics(topics)];
        // Empty, and not null: null would ask for all topics, which the later form can say of a group alone.
        request.topics = Some(Vec::new());
    }
    request
}

/// The topics that the request names, each once; none when it asks for all that is committed.
pub(crate) fn named_in(request: &OffsetFetchRequest) -> BTreeSet<TopicName> {
    let groups = request.groups.iter().flat_map(|group| &group.topics).flatten();
    let flat = request.topics.iter().flatten().map(|topic| &topic.name);
    groups.map(|topic| &topic.name).chain(flat).cloned().collect()
}

/// What a client may see of its committed offsets: none of a topic that it may not read, none of another view.
pub(crate) fn fetched(access: &Access, mut response: OffsetFetchResponse) -> OffsetFetchResponse {
    for group in &mut response.groups {
        for topic in &mut group.topics {
            let view = view_of(access, &topic.name);
            for partition in &mut topic.partitions {
                conceal(view, partition);
            }
        }
    }
    response
}

fn view_of(access: &Access, topic: &TopicName) -> Option<shuniu_model::ViewDigest> {
    access.read(&TopicRef::Name(topic.clone())).ok().map(|(_, permit)| permit.view().digest())
}

fn conceal(view: Option<shuniu_model::ViewDigest>, partition: &mut OffsetFetchResponsePartitions) {
    let Some(view) = view else {
        none(partition, DENIED);
        return;
    };
    match unstamp(view, partition.metadata.as_ref().map(StrBytes::as_str)) {
        Some(metadata) => partition.metadata = Some(metadata),
        None => none(partition, partition.error_code),
    }
}

fn none(partition: &mut OffsetFetchResponsePartitions, error_code: i16) {
    partition.error_code = error_code;
    partition.committed_offset = -1;
    partition.committed_leader_epoch = -1;
    partition.metadata = Some(StrBytes::from_static_str(""));
}

/// Puts a one-group answer into the form of version 7 and earlier.
pub(crate) fn flatten(mut response: OffsetFetchResponse) -> OffsetFetchResponse {
    let Some(group) = response.groups.pop() else { return response };
    let topics = group
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .into_iter()
                .map(|partition| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_committed_offset(partition.committed_offset)
                        .with_committed_leader_epoch(partition.committed_leader_epoch)
                        .with_metadata(partition.metadata)
                        .with_error_code(partition.error_code)
                })
                .collect();
            OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        })
        .collect();
    OffsetFetchResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_error_code(group.error_code)
        .with_topics(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shuniu_model::ViewDigest;
    use shuniu_wire::messages::offset_fetch_response::OffsetFetchResponseTopics;

    #[test]
    fn an_offset_of_another_view_or_of_no_grant_is_not_told() {
        let stored = || {
            OffsetFetchResponsePartitions::default()
                .with_committed_offset(42)
                .with_metadata(Some(stamp(ViewDigest([1; 32]), Some("m"))))
        };
        let mut same = stored();
        conceal(Some(ViewDigest([1; 32])), &mut same);
        assert_eq!((same.committed_offset, same.metadata.as_ref().unwrap().as_str()), (42, "m"));
        let mut other = stored();
        conceal(Some(ViewDigest([2; 32])), &mut other);
        assert_eq!((other.committed_offset, other.error_code), (-1, 0));
        let mut denied = stored();
        conceal(None, &mut denied);
        assert_eq!((denied.committed_offset, denied.error_code), (-1, DENIED));
    }

    #[test]
    fn the_old_form_of_an_offset_fetch_is_asked_of_a_broker_in_the_new() {
        use shuniu_wire::messages::GroupId;
        use shuniu_wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
        use shuniu_wire::{ApiKey, Request, SPOKEN, encode_request};
        let name = TopicName(StrBytes::from_static_str("population"));
        let one = OffsetFetchRequestTopic::default().with_name(name.clone()).with_partition_indexes(vec![3]);
        let spoken = SPOKEN.iter().find(|row| row.api == ApiKey::OffsetFetch).unwrap();
        for (old, all) in [(Some(vec![one]), false), (None, true)] {
            let old = OffsetFetchRequest::default()
                .with_group_id(GroupId(StrBytes::from_static_str("g")))
                .with_topics(old);
            let new = fetch_request(old);
            let asked = new.groups[0].topics.as_ref();
            assert_eq!(asked.is_none(), all);
            assert!(asked.is_none_or(|topics| topics[0].name == name && topics[0].partition_indexes == [3]));
            for version in spoken.min..=spoken.max {
                encode_request(version, 1, "hub", &Request::OffsetFetch(new.clone())).unwrap();
            }
        }
    }

    #[test]
    fn the_old_form_of_an_offset_fetch_answers_like_the_new() {
        let topics = vec![
            OffsetFetchResponseTopics::default()
                .with_partitions(vec![OffsetFetchResponsePartitions::default().with_committed_offset(7)]),
        ];
        let group = shuniu_wire::messages::offset_fetch_response::OffsetFetchResponseGroup::default()
            .with_topics(topics)
            .with_error_code(3);
        let flat = flatten(OffsetFetchResponse::default().with_groups(vec![group]));
        assert_eq!((flat.error_code, flat.topics[0].partitions[0].committed_offset), (3, 7));
    }
}
