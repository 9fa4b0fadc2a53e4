//! The hub's own reading of a topic: each partition is asked of the broker that leads it, and followed when that moves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use shuniu_wire::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, ResponseError,
};
use shuniu_wire::{Request, Response};
use tokio::time::Instant;

use crate::topic::{metadata_of, topic_name};
use crate::upstream::{Connection, NodeId, Upstream, UpstreamError, connect_any};

/// The first offset that is there, for [`Leaders::offset`].
pub const EARLIEST: i64 = -2;
/// The offset after the last record, for [`Leaders::offset`].
pub const LATEST: i64 = -1;

const RETRY: Duration = Duration::from_millis(100);

/// Why a partition gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// No broker gave an answer.
    #[error("cannot {asked} of {topic} partition {partition}")]
    Upstream {
        /// What was asked.
        asked: &'static str,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        #[source]
        source: UpstreamError,
    },
    /// Its leader, or the broker that was asked for it, refused.
    #[error("cannot {asked} of {topic} partition {partition}: {error}")]
    Refused {
        /// What was asked.
        asked: &'static str,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Kafka's error.
        error: ResponseError,
    },
    /// The answer was none to the question.
    #[error("the record store's answer about {topic} partition {partition} is not one")]
    Answer {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
}

/// What a fetch found.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// Whole batches, one after the other.
    pub records: Bytes,
    /// The first offset that is there.
    pub log_start: i64,
    /// The offset after the last record that may be read. A leader that has just become one may not know it yet, and
    /// gives nothing from it on.
    pub high_watermark: i64,
}

/// Asks for whole batches of a partition from an offset on, as far as they are there now.
#[must_use]
pub fn fetch_of(topic: FetchTopic, partition: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    FetchRequest::default().with_max_bytes(bytes_max).with_topics(vec![topic.with_partitions(vec![wanted])])
}

/// The answer to [`fetch_of`], with its error code; `None` when it is none.
#[must_use]
pub fn fetched(response: FetchResponse) -> Option<(i16, Fetched)> {
    if response.error_code != 0 {
        return Some((response.error_code, Fetched::default()));
    }
    let answer = response.responses.into_iter().flat_map(|topic| topic.partitions).next()?;
    let found = Fetched {
        records: answer.records.unwrap_or_default(),
        log_start: answer.log_start_offset,
        high_watermark: answer.high_watermark,
    };
    Some((answer.error_code, found))
}

/// Asks for a partition's offset at a time, [`EARLIEST`] or [`LATEST`].
#[must_use]
pub fn offset_of(topic: &str, partition: i32, time: i64) -> ListOffsetsRequest {
    let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time);
    let named = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![named])
}

/// The answer to [`offset_of`], with its error code; `None` when it is none.
#[must_use]
pub fn offset_in(response: ListOffsetsResponse) -> Option<(i16, i64)> {
    let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next()?;
    Some((answer.error_code, answer.offset))
}

/// Connections to the leaders of partitions.
pub struct Leaders {
    upstream: Arc<dyn Upstream>,
    connections: HashMap<NodeId, Arc<dyn Connection>>,
    leaders: HashMap<(String, i32), NodeId>,
    patience: Duration,
}

/// What one attempt came to.
enum Failure {
    Upstream(UpstreamError),
    Refused(i16),
    Answer,
}

impl Leaders {
    /// Asks again for at most `patience` while a leader is unknown, moves or cannot be reached.
    #[must_use]
    pub fn new(upstream: Arc<dyn Upstream>, patience: Duration) -> Self {
        Self { upstream, connections: HashMap::new(), leaders: HashMap::new(), patience }
    }

    /// The offset at a time, [`EARLIEST`] or [`LATEST`].
    ///
    /// # Errors
    /// See [`LeaderError`].
    pub async fn offset(&mut self, topic: &str, partition: i32, time: i64) -> Result<i64, LeaderError> {
        self.ask("list offsets", topic, partition, &offset_of(topic, partition, time).into(), offset_in).await
    }

    /// Whole batches from `offset` on, as far as they are there now.
    ///
    /// # Errors
    /// See [`LeaderError`].
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes_max: i32,
    ) -> Result<Fetched, LeaderError> {
        let named = FetchTopic::default().with_topic(topic_name(topic));
        let request = fetch_of(named, partition, offset, bytes_max);
        self.ask("fetch", topic, partition, &request.into(), fetched).await
    }

    async fn ask<A, T>(
        &mut self,
        asked: &'static str,
        topic: &str,
        partition: i32,
        request: &Request,
        read: impl Fn(A) -> Option<(i16, T)>,
    ) -> Result<T, LeaderError>
    where
        A: TryFrom<Response, Error = Response>,
    {
        let started = Instant::now();
        loop {
            let failure = match self.attempt(topic, partition, request, &read).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // Whatever it was, it may be another's to lead by now.
            self.connections.clear();
            self.leaders.clear();
            let topic = topic.to_owned();
            let (passing, error) = match failure {
                Failure::Upstream(source) => {
                    let passing =
                        matches!(source, UpstreamError::Unreachable { .. } | UpstreamError::NoSuchNode(_));
                    (passing, LeaderError::Upstream { asked, topic, partition, source })
                }
                Failure::Refused(code) => {
                    let error =
                        ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError);
                    (error.is_retriable(), LeaderError::Refused { asked, topic, partition, error })
                }
                Failure::Answer => (false, LeaderError::Answer { topic, partition }),
            };
            if !passing || started.elapsed() >= self.patience {
                return Err(error);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn attempt<A, T>(
        &mut self,
        topic: &str,
        partition: i32,
        request: &Request,
        read: &impl Fn(A) -> Option<(i16, T)>,
    ) -> Result<T, Failure>
    where
        A: TryFrom<Response, Error = Response>,
    {
        let leader = self.leader(topic, partition).await?;
        let connection = match self.connections.get(&leader) {
            Some(connection) => Arc::clone(connection),
            None => {
                let connection = self.upstream.connect(leader).await.map_err(Failure::Upstream)?;
                self.connections.insert(leader, Arc::clone(&connection));
                connection
            }
        };
        let response = connection.call(request.clone()).await.map_err(Failure::Upstream)?;
        let response = A::try_from(response).map_err(|_| Failure::Answer)?;
        match read(response).ok_or(Failure::Answer)? {
            (0, answer) => Ok(answer),
            (code, _) => Err(Failure::Refused(code)),
        }
    }

    async fn leader(&mut self, topic: &str, partition: i32) -> Result<NodeId, Failure> {
        if let Some(leader) = self.leaders.get(&(topic.to_owned(), partition)) {
            return Ok(*leader);
        }
        let any = connect_any(self.upstream.as_ref()).await.map_err(Failure::Upstream)?;
        let response = any.call(metadata_of(topic).into()).await.map_err(Failure::Upstream)?;
        let response = MetadataResponse::try_from(response).map_err(|_| Failure::Answer)?;
        let found = response.topics.into_iter().next().ok_or(Failure::Answer)?;
        if found.error_code != 0 {
            return Err(Failure::Refused(found.error_code));
        }
        for known in found.partitions {
            if known.leader_id.0 >= 0 {
                self.leaders.insert((topic.to_owned(), known.partition_index), NodeId(known.leader_id.0));
            }
        }
        let leader = self.leaders.get(&(topic.to_owned(), partition)).copied();
        leader.ok_or(Failure::Refused(ResponseError::LeaderNotAvailable.code()))
    }
}
