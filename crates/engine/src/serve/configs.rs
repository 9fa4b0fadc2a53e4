//! DescribeConfigs and IncrementalAlterConfigs: topic settings out and in.

use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use shuniu_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use shuniu_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use shuniu_wire::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ResponseError, StrBytes,
};

use crate::NODE;
use crate::engine::Core;
use crate::log::partition::Refused;
use crate::settings::{Change, Settings, Shown, apply};
use crate::topics::storage;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, as Kafka numbers it: the topic itself, or a default.
pub(crate) fn source(given: bool) -> i8 {
    const DYNAMIC_TOPIC_CONFIG: i8 = 1;
    const DEFAULT_CONFIG: i8 = 5;
    if given { DYNAMIC_TOPIC_CONFIG } else { DEFAULT_CONFIG }
}

pub(crate) fn describe(core: &Arc<Core>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let mut response = DescribeConfigsResponse::default();
    for resource in request.resources {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let wanted = |setting: &Shown<'_>| match &resource.configuration_keys {
            None => true,
            Some(keys) => keys.is_empty() || keys.iter().any(|key| key.as_str() == setting.name),
        };
        let shown = settings_of(core, resource.resource_type, &resource.resource_name);
        response.results.push(match shown {
            Ok(shown) => result.with_configs(
                shown
                    .into_iter()
                    .filter(wanted)
                    .map(|setting| {
                        described(setting, request.include_synonyms, request.include_documentation)
                    })
                    .collect(),
            ),
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        });
    }
    response
}

fn settings_of(core: &Core, resource_type: i8, name: &str) -> Result<Vec<Shown<'static>>, Refused> {
    match resource_type {
        TOPIC => match core.topics.by_name(name) {
            Some(topic) => Ok(topic.settings.now().shown()),
            None => Err(Refused::new(ResponseError::UnknownTopicOrPartition, "no such topic")),
        },
        // The node's own settings are the program's configuration, and not shown here.
        BROKER if name.is_empty() || name == NODE.0.to_string() => Ok(Vec::new()),
        _ => Err(Refused::new(ResponseError::InvalidRequest, "only topics and node 1 have settings")),
    }
}

fn described(setting: Shown<'static>, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let (name, value) = (StrBytes::from_static_str(setting.name), StrBytes::from_string(setting.value));
    let synonym = || {
        DescribeConfigsSynonym::default()
            .with_name(name.clone())
            .with_value(Some(value.clone()))
            .with_source(source(setting.given))
    };
    let documentation = documentation.then(|| StrBytes::from_static_str(setting.documentation));
    DescribeConfigsResourceResult::default()
        .with_synonyms(if synonyms { vec![synonym()] } else { Vec::new() })
        .with_config_source(source(setting.given))
        .with_config_type(setting.kind)
        .with_documentation(documentation)
        .with_name(name)
        .with_value(Some(value))
}

pub(crate) async fn alter(
    core: &Arc<Core>,
    request: IncrementalAlterConfigsRequest,
) -> Result<IncrementalAlterConfigsResponse, UpstreamError> {
    let _one_at_a_time = core.changing.lock().await;
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in request.resources {
        let result = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        response.responses.push(match alter_topic(core, &resource, request.validate_only).await {
            Ok(()) => result,
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        });
    }
    Ok(response)
}

async fn alter_topic(
    core: &Arc<Core>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    if resource.resource_type != TOPIC {
        return Err(Refused::new(ResponseError::InvalidRequest, "only a topic's settings can be changed"));
    }
    let unknown = || Refused::new(ResponseError::UnknownTopicOrPartition, "no such topic");
    let topic = core.topics.by_name(&resource.resource_name).ok_or_else(unknown)?;
    let mut given = topic.settings.now().given().clone();
    for config in &resource.configs {
        let change = match config.config_operation {
            0 => Change::Set,
            1 => Change::Delete,
            2 => Change::Append,
            3 => Change::Subtract,
            other => {
                let message = format!("there is no operation {other}");
                return Err(Refused::new(ResponseError::InvalidRequest, message));
            }
        };
        apply(&mut given, &config.name, change, config.value.as_deref())
            .map_err(|error| Refused::new(ResponseError::InvalidConfig, error.to_string()))?;
    }
    let settings = Settings::new(given, core.context.config.segment_bytes)
        .map_err(|error| Refused::new(ResponseError::InvalidConfig, error.to_string()))?;
    if validate_only {
        return Ok(());
    }
    core.database.replace_settings(&topic.name, settings.given()).await.map_err(|error| storage(&error))?;
    topic.settings.replace(settings);
    core.context.maintenance.notify_one();
    Ok(())
}
