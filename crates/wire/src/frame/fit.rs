//! Makes a response fit a version: fields that the version lacks go back to their defaults, and the one form of an
//! answer that the version lacks becomes the other.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::produce_response::LeaderIdAndEpoch as ProduceLeader;
use kafka_protocol::messages::{FindCoordinatorResponse, LeaveGroupResponse, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

use crate::call::Response;

pub(super) fn fit(mut response: Response, version: i16) -> Response {
    match &mut response {
        Response::Produce(body) if version < 13 => {
            for partition in body.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
                partition.error_code = by_name(partition.error_code);
            }
            if version >= 10 {
                return response;
            }
            body.node_endpoints.clear();
            for partition in body.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
                partition.current_leader = ProduceLeader::default();
            }
        }
        Response::Fetch(body) => fit_fetch(body, version),
        Response::ListOffsets(body) if version < 4 => {
            for partition in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.leader_epoch = -1;
            }
        }
        Response::Metadata(body) => {
            if !(8..=10).contains(&version) {
                body.cluster_authorized_operations = i32::MIN;
            }
            for topic in &mut body.topics {
                if version < 8 {
                    topic.topic_authorized_operations = i32::MIN;
                }
                if version < 12 {
                    // A topic that was asked for by an unknown id has no name, which could not be said before.
                    topic.name.get_or_insert_default();
                }
            }
        }
        Response::OffsetFetch(body) if version < 8 => fit_offsets(body),
        Response::FindCoordinator(body) => fit_coordinator(body, version),
        Response::LeaveGroup(body) if version < 3 => fit_leave(body),
        Response::JoinGroup(body) if version < 9 => {
            body.skip_assignment = false;
            if version < 7 {
                body.protocol_name.get_or_insert_default();
            }
        }
        Response::InitProducerId(body) => {
            body.ongoing_txn_producer_id = (-1).into();
            body.ongoing_txn_producer_epoch = -1;
        }
        Response::DescribeCluster(body) => {
            if version < 1 {
                body.endpoint_type = 1;
            }
            if version < 2 {
                for broker in &mut body.brokers {
                    broker.is_fenced = false;
                }
            }
        }
        // The other responses have the same fields in every version that is served, or their encoder ignores what
        // the version lacks.
        _ => {}
    }
    response
}

fn fit_fetch(body: &mut kafka_protocol::messages::FetchResponse, version: i16) {
    if version < 16 {
        body.node_endpoints.clear();
    }
    if version < 7 {
        body.session_id = 0;
    }
    for partition in body.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if version < 13 {
            partition.error_code = by_name(partition.error_code);
        }
        if version < 12 {
            partition.current_leader = Default::default();
            partition.diverging_epoch = Default::default();
            partition.snapshot_id = Default::default();
        }
        if version < 11 {
            partition.preferred_read_replica = (-1).into();
        }
    }
}

/// A client that names topics does not know what is said of their ids.
fn by_name(error_code: i16) -> i16 {
    match ResponseError::try_from_code(error_code) {
        Some(ResponseError::UnknownTopicId | ResponseError::InconsistentTopicId) => {
            ResponseError::UnknownTopicOrPartition.code()
        }
        _ => error_code,
    }
}

fn fit_coordinator(body: &mut FindCoordinatorResponse, version: i16) {
    if version >= 4 {
        body.error_code = 0;
        body.error_message = None;
        body.node_id = 0.into();
        body.host = StrBytes::default();
        body.port = 0;
        return;
    }
    if let Some(first) = body.coordinators.drain(..).next() {
        body.error_code = first.error_code;
        body.error_message = first.error_message;
        body.node_id = first.node_id;
        body.host = first.host;
        body.port = first.port;
    }
}

/// Before version 8 there is one group, named by the request.
fn fit_offsets(body: &mut OffsetFetchResponse) {
    let Some(group) = body.groups.drain(..).next() else { return };
    body.error_code = group.error_code;
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code)
        });
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    body.topics = topics.collect();
}

/// Before version 3 one member leaves, and its error is the answer's.
fn fit_leave(body: &mut LeaveGroupResponse) {
    if let Some(first) = body.members.drain(..).next()
        && body.error_code == 0
    {
        body.error_code = first.error_code;
    }
}
