//! Reading: fetch upstream and project, until something survives or the caller has waited long enough.
//!
//! An answer without any record makes clients ask again at once, so before one is given the hub reads on: until
//! `max_wait_ms` has passed or the scan budget is used up.

use std::sync::Arc;
use std::time::Duration;

use shuniu_broker::Connection;
use shuniu_model::Resource;
use shuniu_policy::ReadPermit;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use shuniu_wire::messages::{FetchRequest, FetchResponse, ResponseError};
use tokio::time::Instant;

use crate::access::{Access, TopicRef, topic_id, topic_name};
use crate::caller::Caller;
use crate::hub::Hub;
use crate::project::{Fault, Projected, ProjectedPartition, Reader, Share};
use crate::session::Closed;

/// Projection of less than this stays on the task; more goes to a blocking thread, so that it holds up nobody else.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Fetches for a caller. Every topic that it may not read is answered in place with TOPIC_AUTHORIZATION_FAILED.
pub(crate) async fn fetch(
    hub: &Arc<Hub>,
    caller: &Caller,
    connection: &dyn Connection,
    request: FetchRequest,
) -> Result<Projected, Closed> {
    let access = match hub.access(caller).await {
        Ok(access) => access,
        Err(_stale) => {
            return Ok(Projected::new(
                all_failed(&request, ResponseError::KafkaStorageError),
                caller.clone(),
                Vec::new(),
            ));
        }
    };
    let mut scan = Scan::new(hub, caller, &access, &request)?;
    let deadline = Instant::now() + wait_bounded(hub, request.max_wait_ms);
    let mut covered_bytes = 0_usize;
    let mut min_bytes = request.min_bytes;
    loop {
        let Some(upstream) = scan.upstream_request(hub, &request, min_bytes, deadline) else { break };
        let call = connection.call(upstream.into());
        let response = tokio::select! {
            response = call => response,
            () = scan.withdrawn(hub) => break,
        };
        let response = FetchResponse::try_from(response.map_err(|error| Closed::upstream("fetch", &error))?)
            .map_err(|other| Closed::mismatch("fetch", &other))?;
        if response.error_code != 0 {
            scan.fail_all(response.error_code);
            break;
        }
        covered_bytes += scan.take(response).await?;
        // What survives is sent at once; what does not, is read past. min_bytes held for the first answer only.
        min_bytes = 1;
        if scan.settled() || covered_bytes >= hub.settings.scan_bytes_max || Instant::now() >= deadline {
            break;
        }
    }
    scan.recheck(hub, caller);
    Ok(scan.into_projected(caller))
}

/// One partition's way through the scan.
struct Line {
    wanted: FetchPartition,
    answer: PartitionData,
    projected: ProjectedPartition,
    settled: bool,
    answered: bool,
}

/// One topic's way through the scan.
struct Granted {
    resource: Arc<Resource>,
    permit: Arc<ReadPermit>,
    reader: Arc<Reader>,
    topic: FetchTopic,
    lines: Vec<Line>,
    withdrawn: bool,
}

/// A fetch as it goes on.
struct Scan {
    granted: Vec<Granted>,
    refused: Vec<FetchableTopicResponse>,
}

impl Scan {
    fn new(hub: &Arc<Hub>, caller: &Caller, access: &Access, request: &FetchRequest) -> Result<Self, Closed> {
        let mut scan = Self { granted: Vec::new(), refused: Vec::new() };
        for topic in &request.topics {
            let named = TopicRef::of(&topic.topic, topic.topic_id);
            let (resource, permit) = match access.read(&named) {
                Ok(found) => found,
                Err(denial) => {
                    hub.refused(caller, &format!("fetch {named}"), &denial);
                    scan.refused.push(failed(topic, ResponseError::TopicAuthorizationFailed));
                    continue;
                }
            };
            let reader = match hub.plans.reader(&access.snapshot, &permit) {
                Ok(reader) => reader,
                Err(fault) => {
                    // The grant was checked when it was written: this is the hub's own fault, and nothing leaves.
                    tracing::error!(resource = %resource.name, %fault, "cannot compile a view in force");
                    scan.refused.push(failed(topic, ResponseError::KafkaStorageError));
                    continue;
                }
            };
            let lines = topic.partitions.iter().cloned().map(Line::new).collect();
            scan.granted.push(Granted {
                resource,
                permit: Arc::new(permit),
                reader,
                topic: topic.clone(),
                lines,
                withdrawn: false,
            });
        }
        Ok(scan)
    }

    /// What to ask upstream next; `None` when no partition is left to ask for.
    fn upstream_request(
        &self,
        hub: &Hub,
        request: &FetchRequest,
        min_bytes: i32,
        deadline: Instant,
    ) -> Option<FetchRequest> {
        let bytes_max = request.max_bytes.clamp(1, hub.settings.fetch_bytes_max);
        let topics: Vec<FetchTopic> = self
            .granted
            .iter()
            .filter_map(|granted| {
                let partitions: Vec<FetchPartition> = granted
                    .lines
                    .iter()
                    .filter(|line| !line.settled)
                    .map(|line| {
                        let partition_max_bytes = line.wanted.partition_max_bytes.clamp(1, bytes_max);
                        line.wanted.clone().with_partition_max_bytes(partition_max_bytes)
                    })
                    .collect();
                if partitions.is_empty() {
                    return None;
                }
                Some(
                    FetchTopic::default()
                        .with_topic(topic_name(&granted.resource.name))
                        .with_topic_id(topic_id(&granted.resource))
                        .with_partitions(partitions),
                )
            })
            .collect();
        if topics.is_empty() {
            return None;
        }
        let wait = deadline.saturating_duration_since(Instant::now());
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        Some(
            FetchRequest::default()
                .with_max_wait_ms(wait_ms)
                .with_min_bytes(min_bytes.max(0))
                .with_max_bytes(bytes_max)
                .with_isolation_level(request.isolation_level)
                .with_topics(topics),
        )
    }

    /// Projects what upstream answered. Returns the bytes that the answer covered.
    async fn take(&mut self, response: FetchResponse) -> Result<usize, Closed> {
        let mut shares = Vec::new();
        let mut bytes = 0;
        for topic in response.responses {
            let Some((at, granted)) = self.granted.iter_mut().enumerate().find(|(_, granted)| {
                granted.resource.name.as_str() == topic.topic.as_str() || granted.is(topic.topic_id)
            }) else {
                return Err(Closed::new("the record store answered for a topic that was not asked for"));
            };
            for mut data in topic.partitions {
                let Some(line) =
                    granted.lines.iter_mut().find(|line| line.wanted.partition == data.partition_index)
                else {
                    return Err(Closed::new(
                        "the record store answered for a partition that was not asked for",
                    ));
                };
                let records = data.records.take().unwrap_or_default();
                line.settled = data.error_code != 0;
                line.answered = true;
                line.answer = data;
                if !records.is_empty() && !line.settled {
                    bytes += records.len();
                    shares.push(Share {
                        topic: at,
                        partition: line.wanted.partition,
                        fetch_offset: line.wanted.fetch_offset,
                        records,
                        permit: Arc::clone(&granted.permit),
                        reader: Arc::clone(&granted.reader),
                    });
                }
            }
        }
        let projected = project_all(shares, bytes).await?;
        for (share, outcome) in projected {
            self.place(&share, outcome);
        }
        Ok(bytes)
    }

    fn place(&mut self, share: &Share, outcome: Result<ProjectedPartition, Fault>) {
        let line = self.granted.get_mut(share.topic).and_then(|granted| {
            granted.lines.iter_mut().find(|line| line.wanted.partition == share.partition)
        });
        let Some(line) = line else { return };
        match outcome {
            Ok(projected) => {
                line.settled = projected.delivered.records() > 0;
                if let Some(last) = projected.covered_to {
                    line.wanted.fetch_offset = last.saturating_add(1);
                    line.wanted.last_fetched_epoch = -1;
                }
                // Something was read, so the filler of an earlier round gives way to this round's.
                line.projected = projected;
            }
            Err(fault) => {
                tracing::error!(
                    partition = share.partition, offset = share.fetch_offset, %fault,
                    "a stored record cannot be projected: nothing of its partition leaves"
                );
                line.answer.error_code = ResponseError::CorruptMessage.code();
                line.settled = true;
            }
        }
    }

    /// Whether there is something to answer with now.
    fn settled(&self) -> bool {
        !self.refused.is_empty()
            || self.granted.iter().flat_map(|granted| &granted.lines).any(|line| line.settled)
    }

    fn fail_all(&mut self, error_code: i16) {
        for line in self.granted.iter_mut().flat_map(|granted| &mut granted.lines) {
            line.answer.error_code = error_code;
            line.projected = ProjectedPartition::default();
            line.settled = true;
            line.answered = true;
        }
    }

    /// Resolves when a permit of this scan is no longer good.
    async fn withdrawn(&self, hub: &Hub) {
        let permits: Vec<_> = self.granted.iter().map(|granted| Arc::clone(&granted.permit)).collect();
        hub.withdrawn(&permits).await;
    }

    /// Takes the records of permits that ended meanwhile.
    fn recheck(&mut self, hub: &Hub, caller: &Caller) {
        for granted in &mut self.granted {
            if let Err(denial) = hub.still(&granted.permit) {
                hub.refused(caller, &format!("fetch {}", granted.resource.name), &denial);
                granted.withdrawn = true;
            }
        }
    }

    fn into_projected(self, caller: &Caller) -> Projected {
        let mut response = FetchResponse::default();
        let mut topics = Vec::new();
        for granted in self.granted {
            if granted.withdrawn {
                response.responses.push(failed(&granted.topic, ResponseError::TopicAuthorizationFailed));
                continue;
            }
            let mut answer = FetchableTopicResponse::default()
                .with_topic(topic_name(&granted.resource.name))
                .with_topic_id(granted.topic.topic_id);
            let mut delivered = Vec::new();
            // A partition that upstream has not answered is left out: nothing is known of it.
            for line in granted.lines.into_iter().filter(|line| line.answered) {
                let partition = line.wanted.partition;
                let mut data = line.answer;
                if data.error_code == 0 {
                    data.records = Some(line.projected.records.clone());
                    if line.projected.delivered.records() > 0 {
                        delivered.push((partition, line.projected));
                    }
                }
                answer.partitions.push(data);
            }
            response.responses.push(answer);
            topics.push((granted.resource, granted.permit, delivered));
        }
        response.responses.extend(self.refused);
        Projected::new(response, caller.clone(), topics)
    }
}

impl Granted {
    fn is(&self, topic_id: uuid::Uuid) -> bool {
        self.resource.topic_id.is_some_and(|id| id.0 == *topic_id.as_bytes())
    }
}

impl Line {
    fn new(wanted: FetchPartition) -> Self {
        let answer = PartitionData::default().with_partition_index(wanted.partition);
        Self { wanted, answer, projected: ProjectedPartition::default(), settled: false, answered: false }
    }
}

type Outcome = (Share, Result<ProjectedPartition, Fault>);

async fn project_all(shares: Vec<Share>, bytes: usize) -> Result<Vec<Outcome>, Closed> {
    let work = move || -> Vec<Outcome> {
        shares
            .into_iter()
            .map(|share| {
                let outcome = share.reader.project(&share.permit, &share.records, share.fetch_offset);
                (share, outcome)
            })
            .collect()
    };
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Closed::new(format!("projection stopped: {error}")))
}

fn wait_bounded(hub: &Hub, max_wait_ms: i32) -> Duration {
    let wait_ms = u64::try_from(max_wait_ms).unwrap_or(0).min(hub.settings.fetch_wait_ms_max);
    Duration::from_millis(wait_ms)
}

fn all_failed(request: &FetchRequest, error: ResponseError) -> FetchResponse {
    FetchResponse::default().with_responses(request.topics.iter().map(|topic| failed(topic, error)).collect())
}

fn failed(topic: &FetchTopic, error: ResponseError) -> FetchableTopicResponse {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| {
            PartitionData::default()
                .with_partition_index(partition.partition)
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_records(Some(bytes::Bytes::new()))
        })
        .collect();
    FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}
