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
/// A topic that does not exist and one that is not granted get the same answer. Clients ask here first and mostly
/// give up then, so this is where the log mostly learns that they were refused, and why.
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
                let named = TopicRef::of_nullable(topic.name.as_ref(), topic.topic_id);
                if let Some(name) = access.visible(&named) {
                    names.insert(name);
                    continue;
                }
                refused.push(refusal(topic));
            }
        }
    }
    let topics =
        names.into_iter().map(|name| MetadataRequestTopic::default().with_name(Some(name))).collect();
    let upstream = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
    (upstream, refused)
}

/// Adds the refused topics and takes out what would tell of others.
///
/// A topic is shown only once the policy knows it by its id: a client that was told of the id any earlier, in the
/// moment after the topic is made, would be refused when it fetches by it.
pub(crate) fn finish(
    access: &Access,
    mut response: MetadataResponse,
    refused: Vec<MetadataResponseTopic>,
) -> MetadataResponse {
    for topic in &mut response.topics {
        if topic.error_code == 0 && !is_known(access, topic) {
            *topic = MetadataResponseTopic::default()
                .with_error_code(ResponseError::LeaderNotAvailable.code())
                .with_name(topic.name.take());
        }
        topic.is_internal = false;
        topic.topic_authorized_operations = i32::MIN;
    }
    response.topics.extend(refused);
    response.cluster_authorized_operations = i32::MIN;
    response
}

fn is_known(access: &Access, topic: &MetadataResponseTopic) -> bool {
    let by_id = access.resource(&TopicRef::Id(topic.topic_id));
    by_id.is_some_and(|resource| {
        topic.name.as_ref().is_some_and(|name| name.as_str() == resource.name.as_str())
    })
}

/// The topic of a refusal, as it was asked for.
pub(crate) fn asked(refused: &MetadataResponseTopic) -> TopicRef {
    TopicRef::of_nullable(refused.name.as_ref(), refused.topic_id)
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

/// The topics among the refusals.
pub(crate) fn undescribed(refused: &[DescribeConfigsResult]) -> impl Iterator<Item = TopicRef> {
    let topics = refused.iter().filter(|refused| refused.resource_type == RESOURCE_TOPIC);
    topics.map(|refused| TopicRef::Name(TopicName(refused.resource_name.clone())))
}

/// Kafka's kinds of the resources among the refusals that are no topics; each once.
pub(crate) fn not_topics(refused: &[DescribeConfigsResult]) -> BTreeSet<i8> {
    let kinds = refused.iter().map(|refused| refused.resource_type);
    kinds.filter(|kind| *kind != RESOURCE_TOPIC).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shuniu_model::identifier::{DivisionCode, Uscc};
    use shuniu_model::{
        ItemName, Organisation, Resource, ResourceName, Sharing, System, SystemId, Timestamp, TopicId,
    };
    use shuniu_policy::{Facts, Principal, Snapshot};

    use super::*;

    /// The publishing system's view of `division`, whose topic has that id in the directory.
    fn access(topic_id: Option<TopicId>) -> Access {
        let uscc = Uscc::parse("11100000000013338W").unwrap();
        let system = SystemId::parse("civil-affairs").unwrap();
        let facts = Facts {
            organisations: vec![Organisation {
                uscc,
                name: "a department".into(),
                division: DivisionCode::parse("500000").unwrap(),
            }],
            systems: vec![System { id: system.clone(), organisation: uscc, name: "a system".into() }],
            resources: vec![Resource {
                name: ResourceName::parse("division").unwrap(),
                title_zh: "行政区划".into(),
                code: "103001/1".into(),
                provider: uscc,
                publishing_system: system.clone(),
                sharing: Sharing::Unconditional,
                key: ItemName::parse("code").unwrap(),
                subjects: Vec::new(),
                row_filters: false,
                partitions: 1,
                topic_id,
                versions: Vec::new(),
            }],
            ..Facts::default()
        };
        Access {
            snapshot: Arc::new(Snapshot::new(facts).unwrap()),
            principal: Principal { system, certificate: "1".into() },
            now: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn a_topic_is_shown_only_once_the_policy_knows_its_id() {
        let made = uuid::Uuid::from_bytes([7; 16]);
        let upstream = || {
            let name = TopicName(StrBytes::from_static_str("division"));
            let topic = MetadataResponseTopic::default().with_name(Some(name)).with_topic_id(made);
            MetadataResponse::default().with_topics(vec![topic])
        };
        for (known, error) in [
            (Some(TopicId([7; 16])), 0),
            (None, ResponseError::LeaderNotAvailable.code()),
            (Some(TopicId([8; 16])), ResponseError::LeaderNotAvailable.code()),
        ] {
            let answer = finish(&access(known), upstream(), Vec::new());
            let [topic] = answer.topics.as_slice() else { panic!("one topic") };
            assert_eq!(topic.error_code, error);
            assert_eq!(topic.topic_id == made, error == 0, "the id is not told early");
        }
    }
}
