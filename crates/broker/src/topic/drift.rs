//! Whether a topic still is what it must be, and making it so again.

use std::fmt;

use shuniu_wire::messages::create_partitions_request::CreatePartitionsTopic;
use shuniu_wire::messages::describe_configs_request::DescribeConfigsResource;
use shuniu_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use shuniu_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, StrBytes,
};

use super::{CREATE_TIMEOUT_MS, TopicError, TopicSpec, ask, described, refused, topic_name};
use crate::upstream::Connection;

/// Kafka's number of topics among what has settings.
const TOPIC: i8 = 2;
/// Kafka's number of setting a value, in IncrementalAlterConfigs.
const SET: i8 = 0;

/// One way in which a topic is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// It is gone.
    Gone,
    /// Another topic has its name: it was deleted and made anew.
    Another,
    /// It has another number of partitions.
    Partitions {
        /// That it must have.
        wanted: u32,
        /// That it has.
        found: u32,
    },
    /// A partition has too few replicas.
    Replicas {
        /// The partition.
        partition: i32,
        /// That it must have.
        wanted: u16,
        /// That it has.
        found: usize,
    },
    /// A setting has another value.
    Setting {
        /// Kafka's name of it.
        name: &'static str,
        /// That it must have.
        wanted: String,
        /// That it has; `None` when the record store does not tell.
        found: Option<String>,
    },
}

impl Drift {
    /// Whether [`mend`] can undo it. The rest is for a person: records are lost, or a cluster must move them.
    #[must_use]
    pub fn can_be_mended(&self) -> bool {
        match self {
            Self::Setting { .. } => true,
            Self::Partitions { wanted, found } => wanted > found,
            Self::Gone | Self::Another | Self::Replicas { .. } => false,
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the topic is gone, and its records with it: bring them back from a backup"),
            Self::Another => f.write_str(
                "the topic was deleted and made anew under its name: nothing is published to it or read from it",
            ),
            Self::Partitions { wanted, found } if wanted > found => {
                write!(f, "it has {found} partitions, not {wanted}: keys move between partitions when they are added")
            }
            Self::Partitions { wanted, found } => {
                write!(f, "it has {found} partitions, not {wanted}: Kafka cannot take any away")
            }
            Self::Replicas { partition, wanted, found } => write!(
                f,
                "partition {partition} has {found} replicas, not {wanted}: reassign it with Kafka's own tools"
            ),
            Self::Setting { name, wanted, found } => {
                write!(f, "{name} is {}, not {wanted}", found.as_deref().unwrap_or("not told"))
            }
        }
    }
}

/// Compares a topic with what it must be. `id` is the one that the directory has; a topic that has none there is not made
/// yet, and nothing is compared.
///
/// # Errors
/// When the record store gives no good answer.
pub async fn drift(
    connection: &dyn Connection,
    spec: &TopicSpec,
    id: Option<[u8; 16]>,
) -> Result<Vec<Drift>, TopicError> {
    let Some(topic) = described(connection, &spec.name).await? else {
        return Ok(if id.is_some() { vec![Drift::Gone] } else { Vec::new() });
    };
    if id.is_some_and(|id| id != *topic.topic_id.as_bytes()) {
        return Ok(vec![Drift::Another]);
    }
    let mut drift = Vec::new();
    let found = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
    if found != spec.partitions {
        drift.push(Drift::Partitions { wanted: spec.partitions, found });
    }
    for partition in &topic.partitions {
        let found = partition.replica_nodes.len();
        if found < usize::from(spec.replication) {
            let partition = partition.partition_index;
            drift.push(Drift::Replicas { partition, wanted: spec.replication, found });
        }
    }
    drift.extend(settings(connection, spec).await?);
    Ok(drift)
}

async fn settings(connection: &dyn Connection, spec: &TopicSpec) -> Result<Vec<Drift>, TopicError> {
    let keys = spec.settings.keys().map(|name| StrBytes::from_static_str(name)).collect();
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(topic_name(&spec.name).0)
        .with_configuration_keys(Some(keys));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response: DescribeConfigsResponse = ask(connection, &spec.name, request).await?;
    let answer = response.results.into_iter().next();
    let answer = answer.ok_or_else(|| TopicError::Answer { name: spec.name.clone() })?;
    if answer.error_code != 0 {
        return Err(refused(&spec.name, answer.error_code, answer.error_message));
    }
    let mut drift = Vec::new();
    for (name, wanted) in &spec.settings {
        let found = answer.configs.iter().find(|config| config.name.as_str() == *name);
        let found = found.and_then(|config| config.value.as_ref()).map(ToString::to_string);
        if found.as_ref() != Some(wanted) {
            drift.push(Drift::Setting { name, wanted: wanted.clone(), found });
        }
    }
    Ok(drift)
}

/// Mends what [`Drift::can_be_mended`] says of it.
///
/// # Errors
/// When the record store refuses, or gives no answer: then a part may be done.
pub async fn mend(connection: &dyn Connection, spec: &TopicSpec, drift: &[Drift]) -> Result<(), TopicError> {
    let answer = || TopicError::Answer { name: spec.name.clone() };
    if drift.iter().any(|drift| matches!(drift, Drift::Partitions { .. }) && drift.can_be_mended()) {
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&spec.name))
            .with_count(i32::try_from(spec.partitions).map_err(|_| answer())?)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(CREATE_TIMEOUT_MS);
        let response: CreatePartitionsResponse = ask(connection, &spec.name, request).await?;
        let result = response.results.into_iter().next().ok_or_else(answer)?;
        if result.error_code != 0 {
            return Err(refused(&spec.name, result.error_code, result.error_message));
        }
    }
    let configs: Vec<AlterableConfig> = drift
        .iter()
        .filter_map(|drift| match drift {
            Drift::Setting { name, wanted, .. } => Some(
                AlterableConfig::default()
                    .with_name(StrBytes::from_static_str(name))
                    .with_config_operation(SET)
                    .with_value(Some(StrBytes::from_string(wanted.clone()))),
            ),
            Drift::Gone | Drift::Another | Drift::Partitions { .. } | Drift::Replicas { .. } => None,
        })
        .collect();
    if configs.is_empty() {
        return Ok(());
    }
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(topic_name(&spec.name).0)
        .with_configs(configs);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = ask(connection, &spec.name, request).await?;
    let result = response.responses.into_iter().next().ok_or_else(answer)?;
    if result.error_code != 0 {
        return Err(refused(&spec.name, result.error_code, result.error_message));
    }
    Ok(())
}
