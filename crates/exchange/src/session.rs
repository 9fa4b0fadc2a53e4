//! One client connection's use of the hub.

use std::sync::Arc;

use shuniu_broker::{Connection, NodeId, UpstreamError};
use shuniu_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest, InitProducerIdRequest,
    InitProducerIdResponse, MetadataRequest, MetadataResponse, OffsetFetchRequest, OffsetFetchResponse,
    ProduceRequest, ProduceResponse, ResponseError, StrBytes, TopicName,
};
use shuniu_wire::{ApiKey, Request, Response};

use crate::access::{Access, TopicRef};
use crate::budget::Budget;
use crate::caller::Caller;
use crate::group::{Groups, InvalidGroupId};
use crate::hub::Hub;
use crate::members::{self, Patterns};
use crate::publish::Submitted;
use crate::read::Fetching;
use crate::recorded::{Recorded, Withdrawn};
use crate::refused::RefusedTopics;
use crate::{metadata, offsets, publish, record};

/// The session can give no answer: the door closes the connection, and the client goes on with another replica.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session is closed: {reason}")]
pub struct Closed {
    /// What was attempted and what came of it, for the log.
    pub reason: String,
}

impl Closed {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    pub(crate) fn upstream(attempt: &str, error: &UpstreamError) -> Self {
        Self { reason: format!("{attempt}: {error}") }
    }

    pub(crate) fn mismatch(attempt: &str, response: &Response) -> Self {
        Self { reason: format!("{attempt}: the record store answered {:?}", response.api()) }
    }
}

/// Host and port at which clients reach a broker; `None` for one that they cannot.
pub type Addresses<'a> = &'a (dyn Fn(NodeId) -> Option<(String, u16)> + Sync);

/// One client connection's use of the hub, for one caller on one virtual broker.
pub struct Session {
    hub: Arc<Hub>,
    caller: Caller,
    upstream: Arc<dyn Connection>,
    answers: Budget,
    patterns: Patterns,
}

impl Session {
    pub(crate) fn new(hub: Arc<Hub>, caller: Caller, upstream: Arc<dyn Connection>) -> Self {
        let answers = hub.answers_of(&caller.system);
        Self { hub, caller, upstream, answers, patterns: Patterns::default() }
    }

    /// Whether the record store serves an API that not every one has.
    #[must_use]
    pub fn has(&self, api: ApiKey) -> bool {
        self.upstream.has(api)
    }

    /// Topics, partitions and leaders that the caller may see. Host names and ports are upstream's: the door that
    /// knows its own addresses replaces them for each broker id.
    pub async fn metadata(&self, request: MetadataRequest) -> Result<MetadataResponse, Closed> {
        let access = self.hub.access(&self.caller).await.map_err(|stale| Closed::new(stale.to_string()))?;
        let (upstream, refused) = metadata::visible(&access, &request);
        self.note_refused(&access, "metadata", refused.iter().map(metadata::asked));
        let response: MetadataResponse = self.ask("metadata", upstream).await?;
        Ok(metadata::finish(&access, response, refused))
    }

    /// Checks every record, appends, records, and answers. `acks` 0 and transactional ids are the door's to refuse.
    pub async fn produce(&self, request: ProduceRequest) -> Result<ProduceResponse, Closed> {
        self.submit(request).await?.answer().await
    }

    /// As [`Self::produce`], but returns once the records are on their way: the next request may be submitted before
    /// this one is answered, and is appended after it.
    pub async fn submit(&self, request: ProduceRequest) -> Result<Submitted, Closed> {
        publish::submit(&self.hub, &self.caller, &self.upstream, request).await
    }

    /// Reads, projects and records. The answer is the whole frame for the wire: length, header, body. The leaders that
    /// it names are at the door's addresses.
    pub async fn fetch(
        &self,
        request: FetchRequest,
        version: i16,
        correlation_id: i32,
        addresses: Addresses<'_>,
    ) -> Result<Recorded, Closed> {
        let asked = Fetching { hub: &self.hub, caller: &self.caller, answers: &self.answers };
        let mut projected = asked.run(self.upstream.as_ref(), request).await?;
        projected.name_leaders(addresses);
        record::record(&self.hub, projected, version, correlation_id).await
    }

    /// Every other API of the table: groups, offsets, settings. Checked against the grants, group ids prefixed.
    pub async fn call(&self, mut request: Request) -> Result<Response, Closed> {
        let groups = Groups::of(&self.caller.system);
        if let Err(invalid) = groups.prefix(&mut request) {
            return invalid_group(&request, invalid);
        }
        let access = self.hub.access(&self.caller).await.map_err(|stale| Closed::new(stale.to_string()))?;
        match request {
            Request::ListOffsets(mut request) => {
                let refused = offsets::list_offsets(&access, &mut request);
                self.note_refused(&access, "list offsets", refused.iter().map(|topic| named(&topic.name)));
                let mut response: shuniu_wire::messages::ListOffsetsResponse =
                    self.ask("list offsets", request).await?;
                response.topics.extend(refused);
                Ok(response.into())
            }
            Request::OffsetForLeaderEpoch(mut request) => {
                let refused = offsets::leader_epochs(&access, &mut request);
                let asked = refused.iter().map(|topic| named(&topic.topic));
                self.note_refused(&access, "offset for leader epoch", asked);
                let mut response: shuniu_wire::messages::OffsetForLeaderEpochResponse =
                    self.ask("offset for leader epoch", request).await?;
                response.topics.extend(refused);
                Ok(response.into())
            }
            Request::OffsetCommit(mut request) => {
                let refused = offsets::commit(&access, &mut request);
                self.note_refused(&access, "offset commit", refused.iter().map(|topic| named(&topic.name)));
                let committed = request.clone();
                let mut response: shuniu_wire::messages::OffsetCommitResponse =
                    self.ask("offset commit", request).await?;
                self.hub.acknowledged.note(&access, &self.caller, &committed, &response);
                response.topics.extend(refused);
                Ok(response.into())
            }
            Request::OffsetFetch(request) => self.committed(&access, request).await,
            Request::DescribeConfigs(request) => {
                let (request, refused) = metadata::describable(&access, request);
                self.note_refused(&access, "describe configs", metadata::undescribed(&refused));
                for kind in metadata::not_topics(&refused) {
                    let detail =
                        format!("settings of a resource of kind {kind}: a client reads those of topics");
                    self.refused(Some(ApiKey::DescribeConfigs), "settings-not-of-a-topic", &detail);
                }
                let response = self.ask("describe configs", request).await?;
                Ok(metadata::finish_configs(response, refused).into())
            }
            Request::InitProducerId(request) => self.producer_id(access.publishes(), request).await,
            Request::FindCoordinator(request) => {
                let mut response = self.ask("find coordinator", request).await?;
                groups.strip_coordinators(&mut response);
                Ok(response.into())
            }
            Request::ConsumerGroupHeartbeat(request) => self.member(&access, request).await,
            Request::JoinGroup(_)
            | Request::SyncGroup(_)
            | Request::Heartbeat(_)
            | Request::LeaveGroup(_)
            | Request::DescribeCluster(_) => self.raw("group", request).await,
            other => Err(Closed::new(format!("{:?} is not a client's to ask", other.api()))),
        }
    }

    /// Notes a refusal made by the door itself (an API or version not served, a frame that cannot be read) for the
    /// audit log. `detail` is a sentence without payload.
    pub fn refused(&self, api: Option<ApiKey>, code: &'static str, detail: &str) {
        self.hub.refused_at_door(&self.caller, api, code, detail);
    }

    /// Resolves when the caller itself is no longer good (certificate revoked or over, system gone): the door resets the
    /// connection.
    pub async fn withdrawn(&self) -> Withdrawn {
        self.hub.caller_withdrawn(&self.caller).await
    }

    /// Counts that the door has cut this session's connection.
    pub fn note_cut(&self, withdrawn: &Withdrawn) {
        self.hub.note_cut(withdrawn);
    }

    /// Puts on the log that topics were refused, and why.
    fn note_refused(&self, access: &Access, asked: &'static str, topics: impl Iterator<Item = TopicRef>) {
        let mut refused = RefusedTopics::new(&self.hub, &self.caller, asked);
        for topic in topics {
            if let Err(denial) = access.read(&topic) {
                refused.note(&topic, &denial);
            }
        }
    }

    /// A member of a group of the newer kind. Its coordinator knows no grants, so what it subscribes to, and what it is
    /// assigned, is held against them here.
    async fn member(
        &self,
        access: &Access,
        mut request: ConsumerGroupHeartbeatRequest,
    ) -> Result<Response, Closed> {
        const ASKED: &str = "consumer group heartbeat";
        if request.member_epoch < 0 {
            self.patterns.forget(&request);
        } else {
            let mut refused = members::unreadable_names(access, &request);
            if refused.is_empty() {
                if let Err(invalid) = self.patterns.resolve(access, &mut request) {
                    let code = "subscription-pattern";
                    self.refused(Some(ApiKey::ConsumerGroupHeartbeat), code, &invalid.to_string());
                    return Ok(members::invalid_pattern(&invalid).into());
                }
                // A pattern's member may have named topics earlier that it may read no longer.
                refused = members::unreadable_names(access, &request);
            }
            if !refused.is_empty() {
                self.note_refused(access, ASKED, refused.into_iter());
                return Ok(members::not_granted().into());
            }
        }
        let group = request.group_id.clone();
        let mut response: ConsumerGroupHeartbeatResponse = self.ask(ASKED, request).await?;
        let refused = members::unreadable_ids(access, &response);
        if !refused.is_empty() {
            self.note_refused(access, ASKED, refused.into_iter());
            return Ok(members::not_granted().into());
        }
        Groups::of(&self.caller.system).strip_message(&group, &mut response.error_message);
        Ok(response.into())
    }

    async fn committed(&self, access: &Access, request: OffsetFetchRequest) -> Result<Response, Closed> {
        let flat = request.groups.is_empty();
        let asked = offsets::named_in(&request).into_iter().map(TopicRef::Name);
        self.note_refused(access, "offset fetch", asked);
        let response: OffsetFetchResponse = self.ask("offset fetch", offsets::fetch_request(request)).await?;
        let mut response = offsets::fetched(access, response);
        Groups::of(&self.caller.system).strip_offsets(&mut response);
        Ok(if flat { offsets::flatten(response).into() } else { response.into() })
    }

    async fn producer_id(&self, publishes: bool, request: InitProducerIdRequest) -> Result<Response, Closed> {
        let error = if request.transactional_id.is_some() {
            Some(ResponseError::TransactionalIdAuthorizationFailed)
        } else if publishes {
            None
        } else {
            Some(ResponseError::ClusterAuthorizationFailed)
        };
        if let Some(error) = error {
            self.refused(Some(ApiKey::InitProducerId), "producer-id", &error.to_string());
        }
        match error {
            Some(error) => Ok(InitProducerIdResponse::default()
                .with_error_code(error.code())
                .with_producer_id((-1).into())
                .with_producer_epoch(-1)
                .into()),
            None => self.raw("producer id", request.into()).await,
        }
    }

    async fn ask<Q, A>(&self, attempt: &str, request: Q) -> Result<A, Closed>
    where
        Q: Into<Request>,
        A: TryFrom<Response, Error = Response>,
    {
        let response = self.raw(attempt, request.into()).await?;
        A::try_from(response).map_err(|other| Closed::mismatch(attempt, &other))
    }

    async fn raw(&self, attempt: &str, request: Request) -> Result<Response, Closed> {
        self.upstream.call(request).await.map_err(|error| Closed::upstream(attempt, &error))
    }
}

fn named(topic: &TopicName) -> TopicRef {
    TopicRef::Name(topic.clone())
}

/// The answer to a group id that cannot be served, in the form of the request's own API.
fn invalid_group(request: &Request, invalid: InvalidGroupId) -> Result<Response, Closed> {
    use shuniu_wire::messages as m;
    let code = ResponseError::InvalidGroupId.code();
    Ok(match request {
        Request::JoinGroup(_) => {
            m::JoinGroupResponse::default().with_error_code(code).with_protocol_name(None).into()
        }
        Request::SyncGroup(_) => m::SyncGroupResponse::default().with_error_code(code).into(),
        Request::Heartbeat(_) => m::HeartbeatResponse::default().with_error_code(code).into(),
        Request::LeaveGroup(_) => m::LeaveGroupResponse::default().with_error_code(code).into(),
        // Its clients know no code for this.
        Request::ConsumerGroupHeartbeat(_) => m::ConsumerGroupHeartbeatResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_error_message(Some(StrBytes::from_string(invalid.to_string())))
            .into(),
        Request::FindCoordinator(request) => {
            let message = Some(StrBytes::from_string(invalid.to_string()));
            let coordinators = request
                .coordinator_keys
                .iter()
                .map(|key| {
                    m::find_coordinator_response::Coordinator::default()
                        .with_key(key.clone())
                        .with_node_id((-1).into())
                        .with_port(-1)
                        .with_error_code(code)
                        .with_error_message(message.clone())
                })
                .collect();
            m::FindCoordinatorResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_node_id((-1).into())
                .with_port(-1)
                .with_coordinators(coordinators)
                .into()
        }
        Request::OffsetFetch(request) => {
            let groups = request
                .groups
                .iter()
                .map(|group| {
                    m::offset_fetch_response::OffsetFetchResponseGroup::default()
                        .with_group_id(group.group_id.clone())
                        .with_error_code(code)
                })
                .collect();
            OffsetFetchResponse::default().with_error_code(code).with_groups(groups).into()
        }
        // An offset commit answers for each of its partitions.
        Request::OffsetCommit(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    m::offset_commit_response::OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                m::offset_commit_response::OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            m::OffsetCommitResponse::default().with_topics(topics.collect()).into()
        }
        other => return Err(Closed::new(format!("{:?}: {invalid}", other.api()))),
    })
}
