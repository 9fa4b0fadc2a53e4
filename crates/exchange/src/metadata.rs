//! Topics and settings as one caller may see them.

use std::collections::BTreeSet;

use shuniu_wire::messages::ResponseError;
use shuniu_wire::messages::describe_configs_response::DescribeConfigsResult;
use shuniu_wire::messages::metadata_request::MetadataRequestTopic;
use shuniu_wire::messages::metadata_response::MetadataResponseTopic;
use shuniu_wire::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, MetadataRequest, MetadataResponse, StrBytes, TopicName,
};

use crate::access::{Access, TopicRef};

/// Kafka's resource type of a topic in DescribeConfigs.
const RESOURCE_TOPIC: i8 = 2;

/// The topic settings that a client may read; what else a topic has is the operator's affair.
const READABLE: [&str; 4] =
    ["cleanup.policy", "delete.retention.ms", "max.message.bytes", "message.timestamp.type"];

/// Splits a Metadata request: what goes upstream, and the answers for topics that the caller may not see.
///
/// A topic that does not exist and one that is not granted get the same answer.
pub(crate) fn visible(
    access: &Access,
    request: &MetadataRequest,
) -> (MetadataRequest, Vec<MetadataResponseTopic>) {
    let mut refused = Vec::new();
    let mut names: BTreeSet<TopicName> = BTreeSet::new();
    match &request.topics {
        None => names.extend(access.visible_topics()),
        Some(topics) => {
            for topic in topics {
                match access.visible(&topic_ref(topic)) {
                    Some(name) => {
                        names.insert(name);
                    }
                    None => refused.push(refusal(topic)),
                }
            }
        }
    }
    let topics =
        names.into_iter().map(|name| MetadataRequestTopic::default().with_name(Some(name))).collect();
    let upstream = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
    (upstream, refused)
}

/// Adds the refused topics and takes out what would tell of others.
pub(crate) fn finish(
    mut response: MetadataResponse,
    refused: Vec<MetadataResponseTopic>,
) -> MetadataResponse {
    for topic in &mut response.topics {
        topic.is_internal = false;
        topic.topic_authorized_operations = i32::MIN;
    }
    response.topics.extend(refused);
    response.cluster_authorized_operations = i32::MIN;
    response
}

fn topic_ref(topic: &MetadataRequestTopic) -> TopicRef {
    match &topic.name {
        Some(name) => TopicRef::Name(name.clone()),
        None => TopicRef::Id(topic.topic_id),
    }
}

fn refusal(topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(ResponseError::TopicAuthorizationFailed.code())
        .with_name(topic.name.clone())
        .with_topic_id(topic.topic_id)
        .with_topic_authorized_operations(i32::MIN)
}

/// Splits a DescribeConfigs request: only readable settings of visible topics go upstream.
pub(crate) fn describable(
    access: &Access,
    request: DescribeConfigsRequest,
) -> (DescribeConfigsRequest, Vec<DescribeConfigsResult>) {
    let mut refused = Vec::new();
    let mut upstream = DescribeConfigsRequest::default().with_include_synonyms(false);
    for mut resource in request.resources {
        let name = TopicRef::Name(TopicName(resource.resource_name.clone()));
        if resource.resource_type != RESOURCE_TOPIC {
            refused.push(
                DescribeConfigsResult::default()
                    .with_error_code(ResponseError::ClusterAuthorizationFailed.code())
                    .with_error_message(Some(StrBytes::from_static_str(
                        "only the settings of topics can be read through the hub",
                    )))
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name),
            );
        } else if access.visible(&name).is_none() {
            refused.push(
                DescribeConfigsResult::default()
                    .with_error_code(ResponseError::TopicAuthorizationFailed.code())
                    .with_error_message(Some(StrBytes::from_static_str(
                        "no grant in force allows this topic, or there is none of this name",
                    )))
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name),
            );
        } else {
            let wanted = resource.configuration_keys.take();
            let keys = READABLE
                .iter()
                .filter(|key| {
                    wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| &name.as_str() == *key))
                })
                .map(|key| StrBytes::from_static_str(key))
                .collect();
            upstream.resources.push(resource.with_configuration_keys(Some(keys)));
        }
    }
    (upstream, refused)
}

/// Adds the refused resources; nothing but the readable settings is passed on, whatever the record store answers.
pub(crate) fn finish_configs(
    mut response: DescribeConfigsResponse,
    refused: Vec<DescribeConfigsResult>,
) -> DescribeConfigsResponse {
    for result in &mut response.results {
        result.configs.retain(|config| READABLE.contains(&config.name.as_str()));
        for config in &mut result.configs {
            config.read_only = true;
            config.synonyms.clear();
        }
    }
    response.results.extend(refused);
    response
}
