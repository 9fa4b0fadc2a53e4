//! Publishing: every record checked before anything is appended, and recorded before it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_archive::TRACED;
use shuniu_broker::{BoxFuture, Connection, UpstreamError};
use shuniu_ledger::SubjectKey;
use shuniu_model::{Resource, Timestamp};
use shuniu_policy::PublishPermit;
use shuniu_wire::Response;
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use shuniu_wire::messages::{ProduceRequest, ProduceResponse, ResponseError, StrBytes};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access::{TopicRef, topic_id, topic_name};
use crate::caller::Caller;
use crate::check::{Accepted, Inspector, Refusal};
use crate::hub::Hub;
use crate::meter;
use crate::record::published;
use crate::refused::RefusedTopics;
use crate::repeated;
use crate::session::Closed;

/// A refused batch names this many of its broken records at most.
pub(crate) const RECORD_ERRORS_MAX: usize = 100;

/// Records that are on their way into the record store, and what is to be answered once they are there. The order of
/// submitting is the order in which they are appended; the answers may be waited for at leisure.
pub struct Submitted {
    hub: Arc<Hub>,
    caller: Caller,
    throttle: Duration,
    stage: Stage,
}

enum Stage {
    /// Nothing was appended.
    Answered(ProduceResponse),
    UnderWay {
        asked: Vec<Asked>,
        connection: Arc<dyn Connection>,
        began: Instant,
        appended: BoxFuture<'static, Result<Response, UpstreamError>>,
    },
}

impl Submitted {
    /// How long the connection is to take no request.
    #[must_use]
    pub fn throttle(&self) -> Duration {
        self.throttle
    }

    /// Waits until the records are durable and recorded.
    ///
    /// # Errors
    /// [`Closed`] when the record store gives no answer: the client does not know then, and sends again.
    pub async fn answer(self) -> Result<ProduceResponse, Closed> {
        let throttle_ms = i32::try_from(self.throttle.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        let mut response = self.finished().await?;
        response.throttle_time_ms = response.throttle_time_ms.max(throttle_ms);
        Ok(response)
    }

    async fn finished(self) -> Result<ProduceResponse, Closed> {
        let Self { hub, caller, stage, .. } = self;
        match stage {
            Stage::Answered(response) => Ok(response),
            Stage::UnderWay { asked, connection, began, appended } => {
                let span = tracing::info_span!(target: TRACED, "append");
                let response =
                    appended.instrument(span).await.map_err(|error| Closed::upstream("produce", &error))?;
                meter::appended(began.elapsed());
                let mut appended = ProduceResponse::try_from(response)
                    .map_err(|other| Closed::mismatch("produce", &other))?;
                place_repeated(&hub, &caller, connection.as_ref(), &asked, &mut appended).await;
                finish(&hub, &caller, asked, appended).await
            }
        }
    }
}

/// Publishes for a caller: checks and appends; the answer records and answers. A refused batch is refused whole, and
/// the answer says which of its records broke which rule.
pub(crate) async fn submit(
    hub: &Arc<Hub>,
    caller: &Caller,
    connection: &Arc<dyn Connection>,
    request: ProduceRequest,
) -> Result<Submitted, Closed> {
    let submitted =
        |throttle, stage| Submitted { hub: Arc::clone(hub), caller: caller.clone(), throttle, stage };
    let access = match hub.access(caller).await {
        Ok(access) => access,
        Err(stale) => {
            let failed = all_failed(&request, ResponseError::KafkaStorageError, &stale.to_string());
            return Ok(submitted(Duration::ZERO, Stage::Answered(failed)));
        }
    };
    let decide = tracing::info_span!(target: TRACED, "decide");
    let mut refused = RefusedTopics::new(hub, caller, "produce");
    let decided = |topic: TopicProduceData| {
        let named = TopicRef::of(&topic.name, topic.topic_id);
        match access.publish(&named) {
            Ok((resource, permit)) => {
                let inspector =
                    hub.plans.inspector(&resource).map_err(|fault| Closed::new(fault.to_string()))?;
                Ok(Asked::granted(topic, resource, permit, inspector))
            }
            Err(denial) => {
                refused.note(&named, &denial);
                // Whoever may not even see the topic is not told whether it exists; the log knows.
                let text = match access.visible(&named) {
                    Some(_) => denial.to_string(),
                    None => "no grant in force allows this topic, or there is none of this name".to_owned(),
                };
                Ok(Asked::denied(topic, &text))
            }
        }
    };
    let asked =
        decide.in_scope(|| request.topic_data.into_iter().map(decided).collect::<Result<Vec<_>, _>>())?;
    drop(refused);
    let key = hub.subject_key().map_err(|error| Closed::new(error.to_string()))?;
    let span = tracing::info_span!(target: TRACED, "check");
    let asked = inspect_all(asked, key, hub.policy.now()).instrument(span).await?;
    for topic in &asked {
        topic.note_refusals(hub, caller);
    }
    let throttle = hub.limits.published(&caller.system, weight_of(&asked), hub.policy.now());
    if !throttle.is_zero() {
        meter::throttled("published");
    }
    Ok(submitted(
        throttle,
        match upstream_request(&asked, request.timeout_ms) {
            None => Stage::Answered(finish(hub, caller, asked, ProduceResponse::default()).await?),
            // Submitted when `call` returns, before anybody waits for it.
            Some(upstream) => {
                let (began, appended) = (Instant::now(), connection.call(upstream.into()));
                Stage::UnderWay { asked, connection: Arc::clone(connection), began, appended }
            }
        },
    ))
}

/// One topic of the request.
struct Asked {
    topic: TopicProduceData,
    granted: Option<(Arc<Resource>, PublishPermit, Arc<Inspector>)>,
    partitions: Vec<Partition>,
}

/// One partition of the request: the batch, and what became of it so far.
struct Partition {
    index: i32,
    records: Bytes,
    verdict: Verdict,
}

enum Verdict {
    Unread,
    Accepted(Accepted),
    Refused {
        error: ResponseError,
        refusal: Refusal,
    },
    /// The caller may not publish here; that is on the log already.
    Denied {
        text: String,
    },
}

impl Asked {
    fn granted(
        mut topic: TopicProduceData,
        resource: Arc<Resource>,
        permit: PublishPermit,
        inspector: Arc<Inspector>,
    ) -> Self {
        let partitions =
            std::mem::take(&mut topic.partition_data).into_iter().map(Partition::unread).collect();
        Self { topic, granted: Some((resource, permit, inspector)), partitions }
    }

    fn denied(mut topic: TopicProduceData, text: &str) -> Self {
        let partitions = std::mem::take(&mut topic.partition_data)
            .into_iter()
            .map(|data| Partition {
                index: data.index,
                records: Bytes::new(),
                verdict: Verdict::Denied { text: text.to_owned() },
            })
            .collect();
        Self { topic, granted: None, partitions }
    }

    fn inspect(&mut self, key: &SubjectKey, now: Timestamp) {
        let Some((_, permit, inspector)) = &self.granted else { return };
        for partition in &mut self.partitions {
            partition.verdict = match inspector.inspect(permit, key, &partition.records, now) {
                Ok(accepted) => Verdict::Accepted(accepted),
                Err(refusal) => Verdict::Refused { error: refusal.error(), refusal },
            };
        }
    }

    fn note_refusals(&self, hub: &Hub, caller: &Caller) {
        let Some((resource, ..)) = &self.granted else { return };
        for partition in &self.partitions {
            if let Verdict::Refused { refusal, .. } = &partition.verdict {
                hub.refused_records(caller, &resource.name, refusal);
            }
        }
    }
}

impl Partition {
    fn unread(data: PartitionProduceData) -> Self {
        Self { index: data.index, records: data.records.unwrap_or_default(), verdict: Verdict::Unread }
    }
}

/// Reads every record of the request on a blocking thread when there is much to read.
async fn inspect_all(
    mut asked: Vec<Asked>,
    key: Arc<SubjectKey>,
    now: Timestamp,
) -> Result<Vec<Asked>, Closed> {
    const INLINE_BYTES_MAX: u64 = 32 * 1024;
    let bytes = bytes_of(&asked);
    let work = move || {
        asked.iter_mut().for_each(|topic| topic.inspect(&key, now));
        asked
    };
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Closed::new(format!("inspection stopped: {error}")))
}

/// What the limit counts: a batch weighs at least as much as its audit entry.
fn weight_of(asked: &[Asked]) -> u64 {
    const BATCH_BYTES_MIN: u64 = 1_024;
    let batches = asked.iter().flat_map(|topic| &topic.partitions);
    batches.map(|partition| (partition.records.len() as u64).max(BATCH_BYTES_MIN)).sum()
}

fn bytes_of(asked: &[Asked]) -> u64 {
    asked.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.records.len() as u64).sum()
}

/// The accepted batches, to be acknowledged by every in-sync replica.
fn upstream_request(asked: &[Asked], timeout_ms: i32) -> Option<ProduceRequest> {
    let topics: Vec<TopicProduceData> = asked
        .iter()
        .filter_map(|topic| {
            let (resource, ..) = topic.granted.as_ref()?;
            let partitions: Vec<PartitionProduceData> = topic
                .partitions
                .iter()
                .filter(|partition| matches!(partition.verdict, Verdict::Accepted(_)))
                .map(|partition| {
                    PartitionProduceData::default()
                        .with_index(partition.index)
                        .with_records(Some(partition.records.clone()))
                })
                .collect();
            (!partitions.is_empty()).then(|| {
                TopicProduceData::default()
                    .with_name(topic_name(&resource.name))
                    .with_topic_id(topic_id(resource))
                    .with_partition_data(partitions)
            })
        })
        .collect();
    (!topics.is_empty())
        .then(|| ProduceRequest::default().with_acks(-1).with_timeout_ms(timeout_ms).with_topic_data(topics))
}

/// Finds the batches that the record store has from earlier and does not place: they are to be recorded like those that
/// it has appended now.
async fn place_repeated(
    hub: &Hub,
    caller: &Caller,
    connection: &dyn Connection,
    asked: &[Asked],
    appended: &mut ProduceResponse,
) {
    for topic in asked {
        let Some((resource, ..)) = &topic.granted else { continue };
        for partition in &topic.partitions {
            let answer = answer_for(&mut appended.responses, resource, partition.index);
            if let (Verdict::Accepted(_), Some(answer)) = (&partition.verdict, answer)
                && repeated::is_unplaced(answer)
            {
                repeated::place(hub, caller, connection, resource, &partition.records, answer).await;
            }
        }
    }
}

/// Records what was appended and puts the answer together. The records are durable by now: when the audit log cannot
/// take the entry, the client gets a retriable error instead of an acknowledgement, and its retry (a duplicate for the
/// record store) makes the entry.
async fn finish(
    hub: &Arc<Hub>,
    caller: &Caller,
    asked: Vec<Asked>,
    mut appended: ProduceResponse,
) -> Result<ProduceResponse, Closed> {
    let mut drafts = Vec::new();
    let mut taken = Vec::new();
    let mut response = ProduceResponse::default()
        .with_throttle_time_ms(appended.throttle_time_ms)
        .with_node_endpoints(appended.node_endpoints);
    for topic in asked {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            partitions.push(match &partition.verdict {
                Verdict::Refused { error, refusal } => refused(partition.index, *error, refusal),
                Verdict::Denied { text } => {
                    failed(partition.index, ResponseError::TopicAuthorizationFailed, text)
                }
                Verdict::Unread => return Err(Closed::new("a batch was not inspected")),
                Verdict::Accepted(accepted) => {
                    let Some((resource, permit, _)) = &topic.granted else {
                        return Err(Closed::new("a batch was accepted without a permit"));
                    };
                    let answer = answer_for(&mut appended.responses, resource, partition.index)
                        .cloned()
                        .ok_or_else(|| Closed::new("the record store left a partition out of its answer"))?;
                    if answer.error_code == 0 {
                        drafts.push(published(caller, permit, resource, partition.index, &answer, accepted)?);
                        taken.push((Arc::clone(resource), accepted.records, accepted.bytes));
                    }
                    answer
                }
            });
        }
        response.responses.push(
            TopicProduceResponse::default()
                .with_name(topic.topic.name)
                .with_topic_id(topic.topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    if drafts.is_empty() {
        return Ok(response);
    }
    if let Err(error) = hub.audit.append_all(drafts).await {
        tracing::error!(%error, system = %caller.system, "published records are not acknowledged: the audit log is down");
        unacknowledge(&mut response);
        return Ok(response);
    }
    for (resource, records, bytes) in taken {
        meter::published(&resource.name, u64::try_from(records).unwrap_or(0), bytes);
    }
    Ok(response)
}

fn answer_for<'a>(
    responses: &'a mut [TopicProduceResponse],
    resource: &Resource,
    index: i32,
) -> Option<&'a mut PartitionProduceResponse> {
    responses
        .iter_mut()
        .filter(|topic| {
            topic.name.as_str() == resource.name.as_str()
                || resource.topic_id.is_some_and(|id| id.0 == *topic.topic_id.as_bytes())
        })
        .flat_map(|topic| &mut topic.partition_responses)
        .find(|partition| partition.index == index)
}

fn unacknowledge(response: &mut ProduceResponse) {
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        if partition.error_code == 0 {
            partition.error_code = ResponseError::KafkaStorageError.code();
            partition.error_message =
                Some(StrBytes::from_static_str("the audit log cannot be written: send the batch again"));
        }
    }
}

fn refused(index: i32, error: ResponseError, refusal: &Refusal) -> PartitionProduceResponse {
    let records = refusal
        .records
        .iter()
        .take(RECORD_ERRORS_MAX)
        .map(|record| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(record.index)
                .with_batch_index_error_message(Some(StrBytes::from_string(record.message.clone())))
        })
        .collect();
    failed(index, error, &refusal.message).with_record_errors(records)
}

fn failed(index: i32, error: ResponseError, text: &str) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_error_message(Some(StrBytes::from_string(text.to_owned())))
}

fn all_failed(request: &ProduceRequest, error: ResponseError, text: &str) -> ProduceResponse {
    let topics = request
        .topic_data
        .iter()
        .map(|topic| {
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(
                    topic.partition_data.iter().map(|data| failed(data.index, error, text)).collect(),
                )
        })
        .collect();
    ProduceResponse::default().with_responses(topics)
}
