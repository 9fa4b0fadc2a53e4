//! Reading: fetch upstream and project, until something survives or the caller has waited long enough.
//!
//! An answer without any record makes clients ask again at once, so before one is given the hub reads on: until
//! `max_wait_ms` has passed or the scan budget is used up.

use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::TRACED;
use shuniu_broker::Connection;
use shuniu_broker::leaders::LATEST;
use shuniu_model::Resource;
use shuniu_policy::ReadPermit;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use shuniu_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use shuniu_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use shuniu_wire::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ResponseError,
};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access::{Access, TopicRef, topic_id, topic_name};
use crate::budget::{Budget, Share};
use crate::caller::Caller;
use crate::hub::Hub;
use crate::limits::Allowance;
use crate::meter;
use crate::project::{Fault, Part, Projected, ProjectedPartition, Reader};
use crate::projections::Place;
use crate::recorded::Withdrawn;
use crate::refused::RefusedTopics;
use crate::session::Closed;

/// Projection of less than this stays on the task; more goes to a blocking thread, so that it holds up nobody else.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// A fetch that waits is woken with no more than this and one batch, and holds no memory until then.
const POLLED_BYTES: usize = 64 << 10;
/// The record store gives the first batch however large, and none is larger than a producer may send.
const BATCH_BYTES: usize = 1 << 20;
/// What one answer tells a client to wait at most: its other requests on the connection wait with it, and a member of a
/// group must not miss its heartbeats. A client that is over its limit by more is told again.
const THROTTLE_MAX: Duration = Duration::from_secs(1);
/// How long a fetch waits for memory, if it is not to wait longer for records, and what it then tells the client.
const BUSY: Duration = Duration::from_millis(500);

/// A caller's fetch.
pub(crate) struct Fetching<'a> {
    pub(crate) hub: &'a Arc<Hub>,
    pub(crate) caller: &'a Caller,
    /// The memory for answers that its system may take.
    pub(crate) answers: &'a Budget,
}

impl Fetching<'_> {
    /// Fetches. Every topic that the caller may not read is answered in place with TOPIC_AUTHORIZATION_FAILED; while its
    /// grants are over their limits, or there is no memory for an answer, the answer is empty and says for how long.
    pub(crate) async fn run(
        &self,
        connection: &dyn Connection,
        request: FetchRequest,
    ) -> Result<Projected, Closed> {
        let (hub, caller) = (self.hub, self.caller);
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
        let decide = tracing::info_span!(target: TRACED, "decide");
        let mut scan = decide.in_scope(|| Scan::new(hub, caller, &access, &request))?;
        if let Some(wait) = scan.throttled() {
            meter::throttled("limit");
            return Ok(self.throttled(wait));
        }
        let mut deadline = Instant::now() + wait_bounded(hub, request.max_wait_ms);
        if let Some(wait) = scan.held() {
            // What is over its limit now is asked for again as soon as it is not.
            deadline = deadline.min(Instant::now() + wait);
        }
        let read = self.read(connection, &request, &mut scan, deadline).await?;
        let Some(share) = read else {
            meter::throttled("memory");
            return Ok(self.throttled(BUSY));
        };
        if scan.held().is_some() {
            scan.look_up_ends(connection, request.isolation_level).await?;
        }
        scan.recheck(hub, caller);
        Ok(scan.into_projected(hub, caller, share))
    }

    /// As a broker answers a client over its quota (KIP-219).
    fn throttled(&self, wait: Duration) -> Projected {
        let millis = wait.min(THROTTLE_MAX).as_micros().div_ceil(1_000);
        let response =
            FetchResponse::default().with_throttle_time_ms(i32::try_from(millis).unwrap_or(i32::MAX));
        Projected::new(response, self.caller.clone(), Vec::new())
    }

    /// Reads until something survives or the time is over. Memory is held while records are read and projected, and by
    /// what survives; none while the fetch waits for records. `None` when there was no memory in time.
    async fn read(
        &self,
        connection: &dyn Connection,
        request: &FetchRequest,
        scan: &mut Scan,
        deadline: Instant,
    ) -> Result<Option<Option<Share>>, Closed> {
        let hub = self.hub;
        let room_by = deadline.max(Instant::now() + BUSY);
        let bytes_max = scan.bytes_max(hub, request);
        let mut covered_bytes = 0;
        // What survives is sent at once; what does not, is read past. min_bytes holds for the first answer only.
        let mut wanted_bytes = usize::try_from(request.min_bytes).unwrap_or(0).clamp(1, POLLED_BYTES);
        let mut share: Option<Share> = None;
        loop {
            let Some(all) = scan.upstream_request(request, bytes_max, 0, Duration::ZERO) else { break };
            if share.is_none() {
                if !self.answers.has_room_of_all(2 * bytes_max) {
                    hub.projections.give_way();
                }
                let room = tokio::time::timeout_at(room_by, self.answers.take(2 * bytes_max));
                share = tokio::select! {
                    room = room => match room {
                        Ok(room) => Some(room),
                        Err(_) => return Ok(None),
                    },
                    withdrawn = scan.withdrawn(hub) => {
                        hub.note_cut(&withdrawn);
                        break;
                    }
                    () = hub.closing.cancelled() => break,
                };
            }
            let Some(mut found) = ask(connection, all, scan, hub).await? else { break };
            let mut room_bytes = bytes_max;
            if !found.is_worth(wanted_bytes) && Instant::now() < deadline {
                // Nothing is held while it waits.
                drop(found);
                share = None;
                let wait = deadline.saturating_duration_since(Instant::now());
                let few = POLLED_BYTES.min(bytes_max);
                let Some(few) = scan.upstream_request(request, few, wanted_bytes, wait) else { break };
                let Some(polled) = ask(connection, few, scan, hub).await? else { break };
                if polled.bytes > 0 {
                    share = self.answers.try_take(2 * polled.bytes);
                    if share.is_none() {
                        // They are read again when there is memory for them.
                        wanted_bytes = 1;
                        continue;
                    }
                }
                room_bytes = polled.bytes;
                found = polled;
            }
            let nothing = found.bytes == 0;
            covered_bytes += found.bytes;
            if found.response.error_code != 0 {
                scan.fail_all(found.response.error_code);
                break;
            }
            scan.take(found.response, room_bytes).await?;
            wanted_bytes = 1;
            let over = covered_bytes >= hub.settings().scan_bytes_max || Instant::now() >= deadline;
            if nothing || over || scan.settled() {
                break;
            }
        }
        if let Some(share) = &mut share {
            // What survived, and soon the frame with a copy of it.
            share.shrink(2 * scan.projected_bytes());
        }
        Ok(Some(share))
    }
}

/// What the record store answered.
struct Found {
    response: FetchResponse,
    bytes: usize,
    failed: bool,
}

impl Found {
    /// Whether it is to be looked at at once.
    fn is_worth(&self, wanted_bytes: usize) -> bool {
        self.failed || self.bytes >= wanted_bytes
    }
}

/// Asks the record store; `None` when a permit of the scan ended meanwhile, or the doors close.
async fn ask(
    connection: &dyn Connection,
    request: FetchRequest,
    scan: &Scan,
    hub: &Hub,
) -> Result<Option<Found>, Closed> {
    let span = tracing::info_span!(target: TRACED, "fetch");
    let response = tokio::select! {
        response = connection.call(request.into()).instrument(span) => response,
        withdrawn = scan.withdrawn(hub) => {
            hub.note_cut(&withdrawn);
            return Ok(None);
        }
        // Its client asks another hub, or this one when it is back.
        () = hub.closing.cancelled() => return Ok(None),
    };
    let response = FetchResponse::try_from(response.map_err(|error| Closed::upstream("fetch", &error))?)
        .map_err(|other| Closed::mismatch("fetch", &other))?;
    let partitions = || response.responses.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions().map(|data| data.records.as_ref().map_or(0, bytes::Bytes::len)).sum();
    let failed = response.error_code != 0 || partitions().any(|data| data.error_code != 0);
    Ok(Some(Found { bytes, failed, response }))
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
    /// What may leave of it, or how long nothing may.
    allowance: Result<Allowance, Duration>,
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
        let mut refused = RefusedTopics::new(hub, caller, "fetch");
        for topic in &request.topics {
            let named = TopicRef::of(&topic.topic, topic.topic_id);
            let (resource, permit) = match access.read(&named) {
                Ok(found) => found,
                Err(denial) => {
                    refused.note(&named, &denial);
                    scan.refused.push(failed(topic, ResponseError::TopicAuthorizationFailed));
                    continue;
                }
            };
            // A request may name a topic again behind another one, as librdkafka does; it is one topic all the same.
            let again = scan.granted.iter_mut().find(|granted| granted.resource.name == resource.name);
            if let Some(granted) = again {
                granted.lines.extend(topic.partitions.iter().cloned().map(Line::new));
                continue;
            }
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
            let allowance = hub.limits.allowance(permit.grant(), access.now);
            scan.granted.push(Granted {
                allowance,
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

    /// How long all that may be read is over its limit; `None` while there is anything to answer with.
    fn throttled(&self) -> Option<Duration> {
        let all = self.granted.iter().all(|granted| granted.allowance.is_err());
        if all && self.refused.is_empty() { self.held() } else { None }
    }

    /// How long some of what may be read is over its limit.
    fn held(&self) -> Option<Duration> {
        self.granted.iter().filter_map(|granted| granted.allowance.err()).min()
    }

    /// Bytes of one answer of the record store, the first batch included, which it gives however large.
    fn bytes_max(&self, hub: &Hub, request: &FetchRequest) -> usize {
        let lines = self.granted.iter().flat_map(|granted| &granted.lines);
        let asked: usize =
            lines.fold(0, |sum, line| sum.saturating_add(size(line.wanted.partition_max_bytes)));
        asked
            .min(size(request.max_bytes))
            .clamp(BATCH_BYTES, size(hub.settings().fetch_bytes_max).max(BATCH_BYTES))
    }

    /// Bytes that survived so far, fillers included.
    fn projected_bytes(&self) -> usize {
        let lines = self.granted.iter().flat_map(|granted| &granted.lines);
        lines.map(|line| line.projected.records.len()).sum()
    }

    /// What to ask upstream next; `None` when no partition is left to ask for.
    fn upstream_request(
        &self,
        request: &FetchRequest,
        bytes_max: usize,
        bytes_min: usize,
        wait: Duration,
    ) -> Option<FetchRequest> {
        let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX).min(request.max_bytes.max(1));
        let topics: Vec<FetchTopic> = self
            .granted
            .iter()
            .filter_map(|granted| {
                let allowance = granted.allowance.ok()?;
                let allowed = i32::try_from(allowance.bytes).unwrap_or(i32::MAX).min(bytes_max);
                let partitions: Vec<FetchPartition> = granted
                    .lines
                    .iter()
                    .filter(|line| !line.settled)
                    .map(|line| {
                        let partition_max_bytes = line.wanted.partition_max_bytes.clamp(1, allowed);
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
        // Waiting ends at the deadline or after it, never before.
        let wait_ms = i32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        Some(
            FetchRequest::default()
                .with_max_wait_ms(wait_ms)
                .with_min_bytes(i32::try_from(bytes_min).unwrap_or(i32::MAX))
                .with_max_bytes(bytes_max)
                .with_isolation_level(request.isolation_level)
                .with_topics(topics),
        )
    }

    /// Answers the partitions that are held with where they end and no records: clients take an answer that leaves some
    /// of its partitions out for broken.
    async fn look_up_ends(&mut self, connection: &dyn Connection, isolation_level: i8) -> Result<(), Closed> {
        let held = || self.granted.iter().filter(|granted| granted.allowance.is_err());
        let topics = held().map(|granted| {
            let partitions = granted.lines.iter().map(|line| {
                ListOffsetsPartition::default()
                    .with_partition_index(line.wanted.partition)
                    .with_timestamp(LATEST)
            });
            ListOffsetsTopic::default()
                .with_name(topic_name(&granted.resource.name))
                .with_partitions(partitions.collect())
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation_level)
            .with_topics(topics.collect());
        let response = connection.call(request.into()).await;
        let response = response.map_err(|error| Closed::upstream("list offsets", &error))?;
        let response = ListOffsetsResponse::try_from(response)
            .map_err(|other| Closed::mismatch("list offsets", &other))?;
        for granted in self.granted.iter_mut().filter(|granted| granted.allowance.is_err()) {
            let name = granted.resource.name.as_str();
            let topic = response.topics.iter().find(|topic| topic.name.as_str() == name);
            for line in &mut granted.lines {
                let of_line =
                    |it: &&ListOffsetsPartitionResponse| it.partition_index == line.wanted.partition;
                let Some(end) = topic.and_then(|topic| topic.partitions.iter().find(of_line)) else {
                    continue;
                };
                line.answered = true;
                line.answer.error_code = end.error_code;
                line.answer.high_watermark = end.offset;
                line.answer.last_stable_offset = end.offset;
            }
        }
        Ok(())
    }

    /// Projects what upstream answered, until about `bytes_max` survive; the rest is left for the next fetch.
    async fn take(&mut self, response: FetchResponse, bytes_max: usize) -> Result<(), Closed> {
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
                    let records_max = granted.allowance.map_or(0, |allowance| allowance.records);
                    shares.push(Part {
                        topic: at,
                        partition: line.wanted.partition,
                        place: granted
                            .resource
                            .topic_id
                            .map(|topic| Place { topic, partition: line.wanted.partition }),
                        fetch_offset: line.wanted.fetch_offset,
                        records_max,
                        records,
                        permit: Arc::clone(&granted.permit),
                        reader: Arc::clone(&granted.reader),
                    });
                }
            }
        }
        let began = Instant::now();
        let span = tracing::info_span!(target: TRACED, "project");
        let projected = project_all(shares, bytes, bytes_max).instrument(span).await?;
        if !projected.is_empty() {
            meter::projected(began.elapsed());
        }
        for (share, outcome) in projected {
            self.place(&share, outcome);
        }
        Ok(())
    }

    fn place(&mut self, share: &Part, outcome: Result<ProjectedPartition, Fault>) {
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
    async fn withdrawn(&self, hub: &Hub) -> Withdrawn {
        let permits: Vec<_> = self.granted.iter().map(|granted| Arc::clone(&granted.permit)).collect();
        hub.withdrawn(&permits).await
    }

    /// Takes the records of permits that ended meanwhile.
    fn recheck(&mut self, hub: &Hub, caller: &Caller) {
        for granted in &mut self.granted {
            if let Err(denial) = hub.still(&granted.permit) {
                hub.refused(caller, &format!("fetch {}", granted.resource.name), &denial, 1);
                granted.withdrawn = true;
            }
        }
    }

    fn into_projected(self, hub: &Hub, caller: &Caller, share: Option<Share>) -> Projected {
        let now = hub.policy.now();
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
                // Kafka answers an error with no bytes, and not with null.
                data.records = Some(bytes::Bytes::new());
                if data.error_code == 0 {
                    data.records = Some(line.projected.records.clone());
                    if line.projected.delivered.records() > 0 {
                        delivered.push((partition, line.projected));
                    }
                }
                answer.partitions.push(data);
            }
            if !delivered.is_empty() {
                let sum = |of: fn(&ProjectedPartition) -> u64| delivered.iter().map(|(_, it)| of(it)).sum();
                let records = sum(|it| it.delivered.records());
                let bytes = sum(|it| u64::try_from(it.records.len()).unwrap_or(u64::MAX));
                hub.limits.moved(granted.permit.grant(), records, bytes, now);
            }
            response.responses.push(answer);
            topics.push((granted.resource, granted.permit, delivered));
        }
        response.responses.extend(self.refused);
        Projected { share, ..Projected::new(response, caller.clone(), topics) }
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

type Outcome = (Part, Result<ProjectedPartition, Fault>);

/// Projects one partition after the other; those for which there is no room any more, or nothing left of what their
/// grant may move, are left out. Clients ask for those first the next time.
async fn project_all(parts: Vec<Part>, bytes: usize, bytes_max: usize) -> Result<Vec<Outcome>, Closed> {
    let work = move || -> Vec<Outcome> {
        let mut bytes_left = bytes_max;
        // A topic's partitions stand side by side.
        let mut of_topic = (usize::MAX, 0);
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            if of_topic.0 != part.topic {
                of_topic = (part.topic, 0);
            }
            let records_left = part.records_max.saturating_sub(of_topic.1);
            if (bytes_left == 0 || records_left == 0) && !outcomes.is_empty() {
                continue;
            }
            let outcome = part.reader.project(&part.permit, &part, records_left, bytes_left);
            if let Ok(projected) = &outcome {
                bytes_left = bytes_left.saturating_sub(projected.records.len());
                of_topic.1 += projected.delivered.records();
            }
            outcomes.push((part, outcome));
        }
        outcomes
    };
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Closed::new(format!("projection stopped: {error}")))
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

fn wait_bounded(hub: &Hub, max_wait_ms: i32) -> Duration {
    let wait_ms = u64::try_from(max_wait_ms).unwrap_or(0).min(hub.settings().fetch_wait_ms_max);
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
