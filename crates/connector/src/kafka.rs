//! The hub as librdkafka sees it: its only broker, over mutual TLS.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use shuniu_model::ResourceName;
use shuniu_schema::frame;

use crate::config::Hub;
use crate::publish::{Batch, Change, PublishError, Publisher, Refused, Replayed};
use crate::registry::{RegistryError, Schemas};

/// For metadata and watermarks to be answered.
const ANSWER_SECONDS: u64 = 30;

/// Between two looks at partitions that have no leader.
const LEADER_RETRY: Duration = Duration::from_millis(200);

/// Without a record or the end of a partition, after which a reader gives up.
const SILENCE_SECONDS: u64 = 60;

/// Sends of one step until refused records are found; those still in doubt then are all named as refused.
const ROUNDS_MAX: u32 = 256;

/// Records given to the caller at a time.
const RECORDS_PER_REPLAY: usize = 2_000;

/// A jump of so many offsets is no traffic: the hub was restored from a backup and passed over what it gave out since,
/// and records are lost. A hub passes over twice as many.
pub(crate) const RESTORED_OFFSETS: i64 = 1 << 29;

/// What all clients of the hub have in common.
pub(crate) fn client(hub: &Hub) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &hub.brokers)
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", hub.ca.to_string_lossy())
        .set("ssl.certificate.location", hub.certificate.to_string_lossy())
        .set("ssl.key.location", hub.key.to_string_lossy());
    config
}

/// A consumer that is told where to read and keeps no offsets at the hub.
pub(crate) fn consumer(client: &ClientConfig, group: &str) -> Result<StreamConsumer, KafkaError> {
    let mut config = client.clone();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        // Bounded memory: what is fetched ahead of the table.
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.message.max.bytes", "4194304");
    config.create()
}

/// The first and last offset of each partition, the last one exclusive.
pub(crate) async fn watermarks(
    consumer: &Arc<StreamConsumer>,
    resource: &ResourceName,
) -> Result<Vec<(i32, i64, i64)>, KafkaError> {
    let (consumer, topic) = (consumer.clone(), resource.to_string());
    // A topic that was made a moment ago, or whose broker died, has no leader for a while.
    let deadline = Instant::now() + Duration::from_secs(ANSWER_SECONDS);
    loop {
        let found = watermarks_now(consumer.clone(), topic.clone()).await;
        let has_no_leader = found.as_ref().is_err_and(|error| {
            use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};
            matches!(error.rdkafka_error_code(), Some(LeaderNotAvailable | NotLeaderForPartition))
        });
        if !has_no_leader || Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(LEADER_RETRY).await;
    }
}

async fn watermarks_now(
    consumer: Arc<StreamConsumer>,
    topic: String,
) -> Result<Vec<(i32, i64, i64)>, KafkaError> {
    // librdkafka's answer blocks the thread that waits for it.
    let asked = tokio::task::spawn_blocking(move || {
        let timeout = Duration::from_secs(ANSWER_SECONDS);
        let metadata = consumer.fetch_metadata(Some(&topic), timeout)?;
        let found =
            metadata.topics().first().ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic))?;
        if let Some(error) = found.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let partitions = found.partitions().iter().map(|partition| {
            let (low, high) = consumer.fetch_watermarks(&topic, partition.id(), timeout)?;
            Ok((partition.id(), low, high))
        });
        partitions.collect()
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Publishes to the hub, and reads back what it published.
pub(crate) struct KafkaPublisher<S> {
    resource: ResourceName,
    schema: String,
    schemas: S,
    producer: FutureProducer,
    consumer: Arc<StreamConsumer>,
    replay: Option<Replay>,
}

/// How far a recovery is.
struct Replay {
    ends: HashMap<i32, i64>,
    /// Partitions whose end is not reached.
    open: HashSet<i32>,
}

impl<S: Schemas> KafkaPublisher<S> {
    pub(crate) fn new(
        client: &ClientConfig,
        schemas: S,
        resource: &ResourceName,
        schema: &str,
    ) -> Result<Self, PublishError> {
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("partitioner", "murmur2")
            .set("linger.ms", "20")
            .set("message.timeout.ms", "120000")
            .set("queue.buffering.max.kbytes", "65536");
        let failed = |attempted| move |source| PublishError::Kafka { attempted, source };
        Ok(Self {
            resource: resource.clone(),
            schema: schema.to_owned(),
            schemas,
            producer: config.create().map_err(failed("set up a producer"))?,
            consumer: Arc::new(consumer(client, resource.as_str()).map_err(failed("set up a consumer"))?),
            replay: None,
        })
    }

    async fn ends(&self) -> Result<HashMap<i32, i64>, PublishError> {
        let attempted = "find the end of the resource";
        let all = watermarks(&self.consumer, &self.resource).await;
        let all = all.map_err(|source| PublishError::Kafka { attempted, source })?;
        Ok(all.into_iter().map(|(partition, _, high)| (partition, high)).collect())
    }

    async fn start_replay(&self) -> Result<Replay, PublishError> {
        let ends = self.ends().await?;
        let failed = |source| PublishError::Kafka { attempted: "read the resource back", source };
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition_offset(self.resource.as_str(), *partition, Offset::Beginning)
                .map_err(failed)?;
        }
        self.consumer.assign(&list).map_err(failed)?;
        Ok(Replay { open: ends.keys().copied().collect(), ends })
    }

    /// Whether no partition grew in a moment: a request of a process that was killed may still be on its way.
    async fn is_still(&self, replay: &mut Replay) -> Result<bool, PublishError> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ends = self.ends().await?;
        let grown =
            ends.iter().filter(|(partition, end)| replay.ends.get(partition).is_none_or(|known| known < end));
        replay.open = grown.map(|(partition, _)| *partition).collect();
        replay.ends = ends;
        Ok(replay.open.is_empty())
    }

    /// Hands one record to librdkafka; `None` where its queue is full.
    fn enqueue(&self, batch: &Batch, change: &Change) -> Result<Option<DeliveryFuture>, KafkaError> {
        let headers = headers(batch, change);
        let mut record = FutureRecord::to(self.resource.as_str()).key(&change.key).headers(headers);
        let mut value = Vec::new();
        if let Some(body) = &change.after {
            frame::put(batch.schema, &mut value);
            value.extend_from_slice(body);
            record = record.payload(&value);
        }
        match self.producer.send_result(record) {
            Ok(delivery) => Ok(Some(delivery)),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(None),
            Err((source, _)) => Err(source),
        }
    }

    /// Sends once. Gives refused records and those that were refused for another's fault, by position.
    async fn send_once(
        &self,
        batch: &Batch,
        changes: &[(i64, Change)],
        positions: &[usize],
    ) -> Result<(Vec<Refused>, Vec<usize>), PublishError> {
        let failed = |source| PublishError::Kafka { attempted: "send records", source };
        let mut sent = Vec::with_capacity(positions.len());
        for position in positions {
            let Some((_, change)) = changes.get(*position) else { continue };
            let delivery = loop {
                match self.enqueue(batch, change).map_err(failed)? {
                    Some(delivery) => break delivery,
                    // The queue's room is its limit on memory.
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            sent.push((*position, delivery));
        }
        let (mut refused, mut again) = (Vec::new(), Vec::new());
        for (position, delivery) in sent {
            match delivery.await {
                Ok(Ok(_)) => {}
                Ok(Err((KafkaError::MessageProduction(RDKafkaErrorCode::InvalidDifferentRecord), _))) => {
                    again.push(position);
                }
                Ok(Err((KafkaError::MessageProduction(code), _))) if is_final(code) => {
                    refused.push(Refused { position, reason: reason(code) });
                }
                Ok(Err((source, _))) => return Err(failed(source)),
                Err(_) => return Err(failed(KafkaError::Canceled)),
            }
        }
        Ok((refused, again))
    }
}

/// What the client says of a refusal; it does not pass the hub's own words on.
fn reason(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::InvalidRecord => {
            "it breaks a rule of the resource, which the hub's audit log names".into()
        }
        code => code.to_string(),
    }
}

/// Answers after which it is certain that the record is not on the topic.
fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::PolicyViolation
    )
}

fn headers(batch: &Batch, change: &Change) -> OwnedHeaders {
    let before = change.before.as_ref().map_or(Vec::new(), |(schema, body)| {
        let mut framed = Vec::with_capacity(body.len() + 5);
        frame::put(*schema, &mut framed);
        framed.extend_from_slice(body);
        framed
    });
    let headers = OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: "before", value: Some(&before) })
        .insert(Header { key: "batch", value: Some(&batch.name) });
    match &batch.source_time {
        Some(time) => headers.insert(Header { key: "source-time", value: Some(time) }),
        None => headers,
    }
}

fn registry(attempted: &'static str) -> impl Fn(RegistryError) -> PublishError {
    move |source| PublishError::Registry { attempted, source }
}

impl<S: Schemas> Publisher for KafkaPublisher<S> {
    async fn schema_id(&mut self) -> Result<u32, PublishError> {
        let found = self.schemas.lookup(&self.resource, &self.schema).await;
        found.map_err(registry("find the connector's schema"))
    }

    async fn schema(&mut self, id: u32) -> Result<String, PublishError> {
        self.schemas.text(id).await.map_err(registry("find a schema"))
    }

    async fn log_end(&mut self) -> Result<i64, PublishError> {
        Ok(self.ends().await?.values().sum())
    }

    async fn replay(&mut self) -> Result<Option<Vec<Replayed>>, PublishError> {
        let mut replay = match self.replay.take() {
            Some(replay) => replay,
            None => self.start_replay().await?,
        };
        let mut records = Vec::new();
        while records.len() < RECORDS_PER_REPLAY {
            if replay.open.is_empty() && self.is_still(&mut replay).await? {
                break;
            }
            match tokio::time::timeout(Duration::from_secs(SILENCE_SECONDS), self.consumer.recv()).await {
                Ok(Ok(message)) => {
                    let damaged =
                        || PublishError::Damaged { partition: message.partition(), offset: message.offset() };
                    let split = message.payload().map(frame::split).transpose().map_err(|_| damaged())?;
                    records.push(Replayed {
                        key: message.key().ok_or_else(damaged)?.to_vec(),
                        value: split.map(|(schema, body)| (schema, body.to_vec())),
                    });
                }
                Ok(Err(KafkaError::PartitionEOF(partition))) => {
                    replay.open.remove(&partition);
                }
                // librdkafka tries again by itself.
                Ok(Err(source)) if is_passing(&source) => {}
                Ok(Err(source)) => {
                    return Err(PublishError::Kafka { attempted: "read the resource back", source });
                }
                Err(_) => {
                    return Err(PublishError::Silent {
                        attempted: "read the resource back",
                        seconds: SILENCE_SECONDS,
                    });
                }
            }
        }
        if records.is_empty() {
            let none = self.consumer.unassign();
            none.map_err(|source| PublishError::Kafka { attempted: "end the reading back", source })?;
            return Ok(None);
        }
        self.replay = Some(replay);
        Ok(Some(records))
    }

    async fn send(&mut self, batch: &Batch, changes: &[(i64, Change)]) -> Result<Vec<Refused>, PublishError> {
        let mut groups: Vec<Vec<usize>> = vec![(0..changes.len()).collect()];
        let (mut refused, mut rounds) = (Vec::new(), 0);
        // One bad record refuses its batch, and the client may not be told which one it was. Halves are sent alone
        // until the bad ones are; an answer of refused is certain, so no record is sent twice.
        while let Some(group) = groups.pop() {
            let (mut bad, again) = self.send_once(batch, changes, &group).await?;
            rounds += 1;
            let is_told = !again.is_empty();
            if bad.is_empty() && is_told {
                let source = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidDifferentRecord);
                return Err(PublishError::Kafka { attempted: "send records", source });
            }
            if is_told || bad.len() <= 1 || rounds >= ROUNDS_MAX {
                refused.append(&mut bad);
                groups.extend(is_told.then_some(again));
                continue;
            }
            let second = bad.split_off(bad.len() / 2);
            groups.push(second.iter().map(|refused| refused.position).collect());
            groups.push(bad.iter().map(|refused| refused.position).collect());
        }
        refused.sort_by_key(|refused| refused.position);
        Ok(refused)
    }
}

/// Errors of a connection, which librdkafka mends by itself; silence ends the reading if it does not.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

impl<S> Drop for KafkaPublisher<S> {
    fn drop(&mut self) {
        // Nothing is under way: every record sent was waited for, or the run failed and is in doubt.
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    }
}
