//! CreateTopics and CreatePartitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::create_partitions_request::CreatePartitionsTopic;
use shuniu_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use shuniu_wire::messages::create_topics_request::CreatableTopic;
use shuniu_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use shuniu_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    ResponseError, StrBytes,
};
use uuid::Uuid;

use super::configs::source;
use crate::database::TopicRow;
use crate::engine::Core;
use crate::log::partition::Refused;
use crate::settings::Settings;
use crate::topics::{create, grow, is_topic_name};

/// The partitions of a topic that does not say.
const PARTITIONS_DEFAULT: i32 = 1;

pub(crate) async fn create_topics(
    core: &Arc<Core>,
    request: CreateTopicsRequest,
) -> Result<CreateTopicsResponse, UpstreamError> {
    let _one_at_a_time = core.changing.lock().await;
    let mut response = CreateTopicsResponse::default();
    for topic in request.topics {
        let name = topic.name.clone();
        let result = CreatableTopicResult::default().with_name(name);
        response.topics.push(match create_topic(core, topic, request.validate_only).await {
            Ok((id, partitions, settings)) => result
                .with_topic_id(id)
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(shown(&settings))),
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    Ok(response)
}

async fn create_topic(
    core: &Arc<Core>,
    topic: CreatableTopic,
    validate_only: bool,
) -> Result<(Uuid, i32, Settings), Refused> {
    let name = topic.name.to_string();
    if !is_topic_name(&name) {
        let message = "a topic's name is 1 to 249 of a-z A-Z 0-9 . _ -";
        return Err(Refused::new(ResponseError::InvalidTopicException, message));
    }
    if core.topics.by_name(&name).is_some() {
        return Err(Refused::new(ResponseError::TopicAlreadyExists, format!("topic `{name}` exists")));
    }
    if core.topics.count() >= core.context.config.topics_max {
        let message = format!("there are {} topics already", core.context.config.topics_max);
        return Err(Refused::new(ResponseError::PolicyViolation, message));
    }
    let partitions = partitions_of(&topic, core.context.config.partitions_max)?;
    let mut given = BTreeMap::new();
    for config in topic.configs {
        if let Some(value) = config.value {
            given.insert(config.name.to_string(), value.to_string());
        }
    }
    let settings = Settings::new(given.clone(), core.context.config.segment_bytes)
        .map_err(|error| Refused::new(ResponseError::InvalidConfig, error.to_string()))?;
    if validate_only {
        return Ok((Uuid::nil(), partitions, settings));
    }
    let row = TopicRow { name, id: Uuid::new_v4(), partitions, settings: given, epochs: BTreeMap::new() };
    let made = create(&core.topics, &core.database, &core.context, row, settings.clone()).await?;
    tracing::info!(topic = %made.name, partitions, "a topic was made");
    Ok((made.id, partitions, settings))
}

fn partitions_of(topic: &CreatableTopic, partitions_max: i32) -> Result<i32, Refused> {
    if !matches!(topic.replication_factor, -1 | 1) {
        let message = "one node keeps one copy; the replication factor is 1 (or -1, the default)";
        return Err(Refused::new(ResponseError::InvalidReplicationFactor, message));
    }
    let partitions = if topic.assignments.is_empty() {
        if topic.num_partitions == -1 { PARTITIONS_DEFAULT } else { topic.num_partitions }
    } else {
        let only_this_node = |brokers: &[_]| brokers == [shuniu_wire::messages::BrokerId(crate::NODE.0)];
        let mut indexes: Vec<i32> =
            topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        indexes.sort_unstable();
        let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
        let sound = topic.assignments.iter().all(|assignment| only_this_node(&assignment.broker_ids))
            && indexes.iter().copied().eq(0..count);
        if !sound {
            let message = "an assignment names partitions 0 to n, each on node 1";
            return Err(Refused::new(ResponseError::InvalidReplicaAssignment, message));
        }
        count
    };
    if !(1..=partitions_max).contains(&partitions) {
        let message = format!("a topic has 1 to {partitions_max} partitions");
        return Err(Refused::new(ResponseError::InvalidPartitions, message));
    }
    Ok(partitions)
}

fn shown(settings: &Settings) -> Vec<CreatableTopicConfigs> {
    let shown = settings.shown().into_iter().map(|setting| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_config_source(source(setting.given))
            .with_value(Some(StrBytes::from_string(setting.value)))
    });
    shown.collect()
}

pub(crate) async fn create_partitions(
    core: &Arc<Core>,
    request: CreatePartitionsRequest,
) -> Result<CreatePartitionsResponse, UpstreamError> {
    let _one_at_a_time = core.changing.lock().await;
    let mut response = CreatePartitionsResponse::default();
    for topic in request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        response.results.push(match grow_topic(core, &topic, request.validate_only).await {
            Ok(()) => result,
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        });
    }
    Ok(response)
}

async fn grow_topic(
    core: &Arc<Core>,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refused> {
    let unknown = || Refused::new(ResponseError::UnknownTopicOrPartition, "no such topic");
    let topic = core.topics.by_name(&asked.name).ok_or_else(unknown)?;
    let (present, partitions_max) = (topic.partition_count(), core.context.config.partitions_max);
    if asked.count <= present || asked.count > partitions_max {
        let message = format!("the topic has {present} partitions; it may have up to {partitions_max}");
        return Err(Refused::new(ResponseError::InvalidPartitions, message));
    }
    if validate_only {
        return Ok(());
    }
    grow(&topic, &core.database, &core.context, asked.count).await
}
