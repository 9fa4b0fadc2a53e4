//! Topics: made by the hub alone, from the directory.

mod drift;

use std::collections::BTreeMap;
use std::time::Duration;

use shuniu_wire::Response;
use shuniu_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use shuniu_wire::messages::metadata_request::MetadataRequestTopic;
use shuniu_wire::messages::metadata_response::MetadataResponseTopic;
use shuniu_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, MetadataRequest, MetadataResponse, ResponseError, StrBytes,
    TopicName,
};

use tokio::time::Instant;

use crate::upstream::{Connection, UpstreamError};

pub use drift::{Drift, drift, mend};

const CREATE_TIMEOUT_MS: i32 = 10_000;
/// For a broker to hear of a topic that another has made.
const HEARD_OF_MAX: Duration = Duration::from_secs(10);
const HEARD_OF_RETRY: Duration = Duration::from_millis(50);

/// Seven days, in milliseconds: the compaction lag that consumers of a filtered view may rely on.
const WEEK_MS: &str = "604800000";

/// What a topic must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it is made with.
    pub partitions: u32,
    /// How many replicas each partition has.
    pub replication: u16,
    /// Its settings, by Kafka's names.
    pub settings: BTreeMap<&'static str, String>,
}

impl TopicSpec {
    /// The topic of a resource: compacted, nothing compacted or forgotten within seven days, never lost to an unclean
    /// election.
    #[must_use]
    pub fn of_resource(name: &str, partitions: u32, replication: u16) -> Self {
        let settings = BTreeMap::from([
            ("cleanup.policy", "compact".to_owned()),
            ("min.compaction.lag.ms", WEEK_MS.to_owned()),
            ("delete.retention.ms", WEEK_MS.to_owned()),
            ("min.insync.replicas", replication.saturating_sub(1).max(1).to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ]);
        Self { name: name.to_owned(), partitions, replication, settings }
    }
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id, as 16 bytes.
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: u32,
}

/// Why a topic could not be made or found.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The record store gave no answer.
    #[error("cannot ask for topic `{name}`")]
    Upstream {
        /// The topic.
        name: String,
        /// Why.
        #[source]
        source: UpstreamError,
    },
    /// The record store refused.
    #[error("the record store refuses topic `{name}`: {code}{message}")]
    Refused {
        /// The topic.
        name: String,
        /// Kafka's error.
        code: String,
        /// What the record store adds, with a leading colon, or nothing.
        message: String,
    },
    /// The record store answered something that is not an answer.
    #[error("the record store's answer about topic `{name}` is not one")]
    Answer {
        /// The topic.
        name: String,
    },
}

/// Finds a topic, or makes it. Two replicas may do so at once: one makes it, both find it. The broker that is asked may
/// hear of a new topic a moment after the one that made it.
pub async fn ensure(connection: &dyn Connection, spec: &TopicSpec) -> Result<Topic, TopicError> {
    if let Some(topic) = find(connection, &spec.name).await? {
        return Ok(topic);
    }
    create(connection, spec).await?;
    let made_at = Instant::now();
    loop {
        if let Some(topic) = find(connection, &spec.name).await? {
            return Ok(topic);
        }
        if made_at.elapsed() >= HEARD_OF_MAX {
            return Err(TopicError::Answer { name: spec.name.clone() });
        }
        tokio::time::sleep(HEARD_OF_RETRY).await;
    }
}

/// The topic of that name, `None` when there is none.
pub async fn find(connection: &dyn Connection, name: &str) -> Result<Option<Topic>, TopicError> {
    let Some(topic) = described(connection, name).await? else { return Ok(None) };
    let partitions =
        u32::try_from(topic.partitions.len()).map_err(|_| TopicError::Answer { name: name.to_owned() })?;
    Ok(Some(Topic { id: topic.topic_id.into_bytes(), partitions }))
}

/// The topic of that name as the record store describes it, `None` when there is none.
async fn described(
    connection: &dyn Connection,
    name: &str,
) -> Result<Option<MetadataResponseTopic>, TopicError> {
    let response: MetadataResponse = ask(connection, name, metadata_of(name)).await?;
    let topic = response
        .topics
        .into_iter()
        .find(|topic| topic.name.as_ref().is_some_and(|found| found.as_str() == name))
        .ok_or_else(|| TopicError::Answer { name: name.to_owned() })?;
    if topic.error_code == ResponseError::UnknownTopicOrPartition.code() {
        return Ok(None);
    }
    if topic.error_code != 0 {
        return Err(refused(name, topic.error_code, None));
    }
    Ok(Some(topic))
}

async fn create(connection: &dyn Connection, spec: &TopicSpec) -> Result<(), TopicError> {
    let too_many = |_| TopicError::Answer { name: spec.name.clone() };
    let configs = spec
        .settings
        .iter()
        .map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value.clone())))
        })
        .collect();
    let topic = CreatableTopic::default()
        .with_name(topic_name(&spec.name))
        .with_num_partitions(i32::try_from(spec.partitions).map_err(too_many)?)
        .with_replication_factor(i16::try_from(spec.replication).map_err(too_many)?)
        .with_configs(configs);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(CREATE_TIMEOUT_MS);
    let response: CreateTopicsResponse = ask(connection, &spec.name, request).await?;
    let result =
        response.topics.into_iter().next().ok_or_else(|| TopicError::Answer { name: spec.name.clone() })?;
    // Another replica was faster: that is as good.
    if result.error_code == 0 || result.error_code == ResponseError::TopicAlreadyExists.code() {
        return Ok(());
    }
    Err(refused(&spec.name, result.error_code, result.error_message))
}

async fn ask<A>(
    connection: &dyn Connection,
    name: &str,
    request: impl Into<shuniu_wire::Request>,
) -> Result<A, TopicError>
where
    A: TryFrom<Response, Error = Response>,
{
    let response = connection
        .call(request.into())
        .await
        .map_err(|source| TopicError::Upstream { name: name.to_owned(), source })?;
    A::try_from(response).map_err(|_| TopicError::Answer { name: name.to_owned() })
}

fn refused(name: &str, code: i16, message: Option<StrBytes>) -> TopicError {
    let code = ResponseError::try_from_code(code).map_or_else(|| code.to_string(), |error| error.to_string());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    TopicError::Refused { name: name.to_owned(), code, message }
}

/// Asks for a topic and its leaders; it is not made by that.
#[must_use]
pub fn metadata_of(name: &str) -> MetadataRequest {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false)
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use shuniu_wire::Request;
    use shuniu_wire::messages::create_topics_response::CreatableTopicResult;
    use shuniu_wire::messages::metadata_response::MetadataResponseTopic;

    use super::*;
    use crate::upstream::BoxFuture;

    /// A broker that is told of a topic some questions after it was made.
    struct Behind {
        questions_left: Mutex<u32>,
    }

    impl Connection for Behind {
        fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>> {
            let answer = match request {
                Request::CreateTopics(_) => CreateTopicsResponse::default()
                    .with_topics(vec![CreatableTopicResult::default().with_name(topic_name("t"))])
                    .into(),
                _ => {
                    let mut left = self.questions_left.lock().unwrap();
                    let topic = MetadataResponseTopic::default().with_name(Some(topic_name("t")));
                    let unknown = ResponseError::UnknownTopicOrPartition.code();
                    let topic = if *left > 0 { topic.with_error_code(unknown) } else { topic };
                    *left = left.saturating_sub(1);
                    MetadataResponse::default().with_topics(vec![topic]).into()
                }
            };
            Box::pin(async move { Ok(answer) })
        }

        fn has(&self, _: shuniu_wire::ApiKey) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_broker_may_hear_of_a_new_topic_a_moment_later() {
        let spec = TopicSpec::of_resource("t", 1, 3);
        let behind = Behind { questions_left: Mutex::new(4) };
        ensure(&behind, &spec).await.unwrap();
        assert_eq!(*behind.questions_left.lock().unwrap(), 0);
    }
}
