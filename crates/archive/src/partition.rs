//! The log's one partition in the record store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_broker::leaders::{EARLIEST, LATEST};
use shuniu_broker::topic::{self, TopicSpec};
use shuniu_broker::{Connection, NodeId, Upstream, UpstreamError, connect_any};
use shuniu_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::{
    BrokerId, DeleteRecordsRequest, DeleteRecordsResponse, FetchRequest, FetchResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse,
    ProduceRequest, ProduceResponse, ProducerId, ResponseError, StrBytes, TopicName,
};
use shuniu_wire::{Request, Response};

/// The topic that holds entries until they are sequenced: one partition, so that it has one order.
pub const AUDIT_TOPIC: &str = "shuniu.audit";

/// The topic itself forgets nothing: an entry that is not in the tiles yet is nowhere else. Sequenced ones are deleted
/// by [`crate::Trimmer`].
const RETENTION_MS: &str = "-1";
const DELETE_TIMEOUT_MS: i32 = 10_000;

/// What the log's topic must be.
#[must_use]
pub fn audit_topic(replication: u16) -> TopicSpec {
    let settings = BTreeMap::from([
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", RETENTION_MS.to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("min.insync.replicas", replication.saturating_sub(1).max(1).to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]);
    TopicSpec { name: AUDIT_TOPIC.to_owned(), partitions: 1, replication, settings }
}

/// Why the partition gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The record store gave none at all.
    #[error("cannot reach the topic `{AUDIT_TOPIC}`")]
    Upstream(#[from] UpstreamError),
    /// It gave none in time.
    #[error("the topic `{AUDIT_TOPIC}` did not answer within {} ms", waited.as_millis())]
    Late {
        /// How long was waited.
        waited: Duration,
    },
    /// It refused, with Kafka's error.
    #[error("the topic `{AUDIT_TOPIC}` answered {error:?}")]
    Refused {
        /// The error.
        error: ResponseError,
    },
    /// The topic could not be made or found.
    #[error("cannot make the topic `{AUDIT_TOPIC}`")]
    Topic(#[from] topic::TopicError),
    /// The answer was none to the question.
    #[error("the record store's answer about `{AUDIT_TOPIC}` is not one")]
    Answer,
}

impl PartitionError {
    /// Whether the topic is only not ready yet: just made, or without a leader for a moment.
    pub(crate) fn is_unready(&self) -> bool {
        match self {
            Self::Refused { error } => error.is_retriable() && *error != ResponseError::KafkaStorageError,
            Self::Upstream(UpstreamError::NoSuchNode(_)) => true,
            Self::Upstream(_) | Self::Late { .. } | Self::Topic(_) | Self::Answer => false,
        }
    }
}

/// An idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What a fetch found.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) records: Bytes,
    /// The first offset that is still there.
    pub(crate) log_start: i64,
    /// The offset after the last record.
    pub(crate) end: i64,
}

/// The partition's leader, found anew after each failure.
pub(crate) struct Partition {
    upstream: Arc<dyn Upstream>,
    connection: Option<Arc<dyn Connection>>,
    answer_max: Duration,
}

impl Partition {
    /// A partition whose answers are waited for at most that long, beyond what a request itself asks to wait.
    pub(crate) fn new(upstream: Arc<dyn Upstream>, answer_max: Duration) -> Self {
        Self { upstream, connection: None, answer_max }
    }

    /// Makes the topic if it is missing.
    pub(crate) async fn ensure(&mut self, replication: u16) -> Result<(), PartitionError> {
        let spec = audit_topic(replication);
        let any = connect_any(self.upstream.as_ref()).await?;
        topic::ensure(any.as_ref(), &spec).await?;
        Ok(())
    }

    pub(crate) async fn init_producer(&mut self) -> Result<Producer, PartitionError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let response: InitProducerIdResponse = self.ask(request, Duration::ZERO).await?;
        self.check(response.error_code)?;
        Ok(Producer { id: response.producer_id.0, epoch: response.producer_epoch })
    }

    /// The offset after the last record.
    pub(crate) async fn end(&mut self) -> Result<i64, PartitionError> {
        self.offset_at(LATEST).await
    }

    /// The first offset that is still there.
    pub(crate) async fn start(&mut self) -> Result<i64, PartitionError> {
        self.offset_at(EARLIEST).await
    }

    /// The first offset of a record that is not older than `timestamp_ms`; `None` when all are.
    pub(crate) async fn since(&mut self, timestamp_ms: i64) -> Result<Option<i64>, PartitionError> {
        let offset = self.offset_at(timestamp_ms.max(0)).await?;
        Ok((offset >= 0).then_some(offset))
    }

    /// Lets go of the records before `offset`; the store may keep some of them.
    pub(crate) async fn delete_before(&mut self, offset: i64) -> Result<(), PartitionError> {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_timeout_ms(DELETE_TIMEOUT_MS).with_topics(vec![topic]);
        let response: DeleteRecordsResponse = self.ask(request, Duration::ZERO).await?;
        let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        self.check(answer.ok_or(PartitionError::Answer)?.error_code)
    }

    async fn offset_at(&mut self, timestamp: i64) -> Result<i64, PartitionError> {
        let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let response: ListOffsetsResponse = self.ask(request, Duration::ZERO).await?;
        let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.ok_or(PartitionError::Answer)?;
        self.check(answer.error_code)?;
        Ok(answer.offset)
    }

    /// Appends a batch; the offset of its first record, -1 when the store knows only that it has it already.
    pub(crate) async fn produce(&mut self, batch: Bytes) -> Result<i64, PartitionError> {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
        let timeout_ms = i32::try_from(self.answer_max.as_millis()).unwrap_or(i32::MAX);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(timeout_ms).with_topic_data(vec![topic]);
        let response: ProduceResponse = self.ask(request, Duration::ZERO).await?;
        let answer = response.responses.into_iter().flat_map(|topic| topic.partition_responses).next();
        let answer = answer.ok_or(PartitionError::Answer)?;
        if answer.error_code == ResponseError::DuplicateSequenceNumber.code() {
            return Ok(-1);
        }
        self.check(answer.error_code)?;
        Ok(answer.base_offset)
    }

    /// Reads whole batches from `offset`; waits up to `wait` until there are `bytes_min`.
    pub(crate) async fn fetch(
        &mut self,
        offset: i64,
        wait: Duration,
        bytes_min: i32,
        bytes_max: i32,
    ) -> Result<Fetched, PartitionError> {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(bytes_max);
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(bytes_min)
            .with_max_bytes(bytes_max)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let response: FetchResponse = self.ask(request, wait).await?;
        self.check(response.error_code)?;
        let answer = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.ok_or(PartitionError::Answer)?;
        self.check(answer.error_code)?;
        Ok(Fetched {
            records: answer.records.unwrap_or_default(),
            log_start: answer.log_start_offset,
            end: answer.high_watermark,
        })
    }

    async fn leader(&mut self) -> Result<Arc<dyn Connection>, PartitionError> {
        if let Some(connection) = &self.connection {
            return Ok(Arc::clone(connection));
        }
        let any = connect_any(self.upstream.as_ref()).await?;
        let response = any.call(topic::metadata_of(AUDIT_TOPIC).into()).await?;
        let response = MetadataResponse::try_from(response).map_err(|_| PartitionError::Answer)?;
        let topic = response.topics.into_iter().next().ok_or(PartitionError::Answer)?;
        self.check(topic.error_code)?;
        let leader = topic.partitions.into_iter().find(|partition| partition.partition_index == 0);
        let leader = leader.ok_or(PartitionError::Answer)?.leader_id;
        let connection = self.upstream.connect(NodeId(leader.0)).await?;
        self.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Asks the leader. After any failure the leader is looked up again.
    async fn ask<A>(&mut self, request: impl Into<Request>, waits: Duration) -> Result<A, PartitionError>
    where
        A: TryFrom<Response, Error = Response>,
    {
        let request = request.into();
        let within = self.answer_max.saturating_add(waits);
        let asked = async {
            let leader = self.leader().await?;
            leader.call(request).await.map_err(PartitionError::from)
        };
        let answer = match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(PartitionError::Late { waited: within }),
        };
        match answer {
            Ok(response) => A::try_from(response).map_err(|_| PartitionError::Answer),
            Err(error) => {
                self.connection = None;
                Err(error)
            }
        }
    }

    fn check(&mut self, code: i16) -> Result<(), PartitionError> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) => {
                // It may be another's to lead by now.
                self.connection = None;
                Err(PartitionError::Refused { error })
            }
        }
    }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(AUDIT_TOPIC))
}
