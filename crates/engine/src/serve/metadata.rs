//! Metadata, DescribeCluster, FindCoordinator: one broker that leads and coordinates everything.

use std::sync::Arc;

use shuniu_wire::messages::describe_cluster_response::DescribeClusterBroker;
use shuniu_wire::messages::find_coordinator_response::Coordinator;
use shuniu_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use shuniu_wire::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse, ResponseError, StrBytes, TopicName,
};

use crate::NODE;
use crate::engine::Core;
use crate::log::partition::Partition;
use crate::topics::{Topic, is_topic_name};

/// There is no listener: whoever passes these answers on puts its own name in.
const HOST: StrBytes = StrBytes::from_static_str("engine");
const PORT: i32 = 0;
const GROUP: i8 = 0;

pub(crate) fn metadata(core: &Arc<Core>, request: MetadataRequest) -> MetadataResponse {
    let topics = match request.topics {
        None => core.topics.all().iter().map(|topic| described(topic)).collect(),
        Some(asked) => asked
            .into_iter()
            .map(|asked| {
                let name = asked.name.unwrap_or_default();
                match core.topics.find(&name, asked.topic_id) {
                    Ok(topic) => described(&topic),
                    Err(code) => {
                        let invalid = !name.is_empty() && !is_topic_name(&name);
                        let code = if invalid { ResponseError::InvalidTopicException } else { code };
                        MetadataResponseTopic::default()
                            .with_error_code(code.code())
                            .with_name((!name.is_empty()).then_some(name))
                            .with_topic_id(asked.topic_id)
                    }
                }
            })
            .collect(),
    };
    MetadataResponse::default()
        .with_brokers(vec![
            MetadataResponseBroker::default().with_node_id(node()).with_host(HOST).with_port(PORT),
        ])
        .with_cluster_id(Some(cluster_id(core)))
        .with_controller_id(node())
        .with_topics(topics)
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partition = |(index, log): (i32, &Arc<Partition>)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(node())
            .with_leader_epoch(log.epochs.now())
            .with_replica_nodes(vec![node()])
            .with_isr_nodes(vec![node()])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(topic.id)
        .with_partitions((0..).zip(&topic.partitions()).map(partition).collect())
}

pub(crate) fn describe_cluster(
    core: &Arc<Core>,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type == 2 {
        // There are no controllers to reach apart from the broker.
        return DescribeClusterResponse::default()
            .with_error_code(ResponseError::UnsupportedEndpointType.code())
            .with_endpoint_type(request.endpoint_type);
    }
    let broker = DescribeClusterBroker::default().with_broker_id(node()).with_host(HOST).with_port(PORT);
    DescribeClusterResponse::default()
        .with_cluster_id(cluster_id(core))
        .with_controller_id(node())
        .with_brokers(vec![broker])
}

/// Answers in both forms, the single key's and the list's; the version decides which is sent.
pub(crate) fn find_coordinator(request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let single = request.coordinator_keys.is_empty().then_some(&request.key);
    let answers = request.coordinator_keys.iter().chain(single).map(|key| {
        let coordinator = Coordinator::default().with_key(key.clone());
        match refusal(request.key_type, key) {
            None => coordinator.with_node_id(node()).with_host(HOST).with_port(PORT),
            Some((code, message)) => coordinator
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(message))),
        }
    });
    let coordinators: Vec<Coordinator> = answers.collect();
    let response = FindCoordinatorResponse::default();
    let response = match coordinators.first() {
        Some(first) => response
            .with_error_code(first.error_code)
            .with_error_message(first.error_message.clone())
            .with_node_id(first.node_id)
            .with_host(first.host.clone())
            .with_port(first.port),
        None => response,
    };
    response.with_coordinators(coordinators)
}

fn refusal(key_type: i8, key: &StrBytes) -> Option<(ResponseError, &'static str)> {
    if key_type != GROUP {
        return Some((ResponseError::InvalidRequest, "only groups have a coordinator here"));
    }
    key.is_empty().then_some((ResponseError::InvalidGroupId, "a group id is not empty"))
}

fn node() -> BrokerId {
    BrokerId(NODE.0)
}

fn cluster_id(core: &Core) -> StrBytes {
    StrBytes::from_string(core.cluster_id.clone())
}
