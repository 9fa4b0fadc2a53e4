//! A group member as a client would be, through the seam.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use shuniu_broker::Connection;
use shuniu_wire::messages::join_group_request::JoinGroupRequestProtocol;
use shuniu_wire::messages::leave_group_request::MemberIdentity;
use shuniu_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use shuniu_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use shuniu_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use shuniu_wire::messages::*;
use shuniu_wire::{Request, Response};

use crate::support::{text, topic};

pub(crate) const GROUP: &str = "system.group";

#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: i32,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
    pub(crate) protocols: Vec<(&'static str, Vec<u8>)>,
}

impl Member {
    pub(crate) fn new(connection: &Arc<dyn Connection>) -> Self {
        Self {
            connection: Arc::clone(connection),
            id: String::new(),
            instance: None,
            generation: -1,
            session_ms: 10_000,
            rebalance_ms: 10_000,
            protocols: vec![("range", Vec::new())],
        }
    }

    pub(crate) fn named(mut self, instance: &str) -> Self {
        self.instance = Some(instance.to_owned());
        self
    }

    async fn call<Q, A>(&self, request: Q) -> A
    where
        Request: From<Q>,
        A: TryFrom<Response, Error = Response>,
    {
        A::try_from(self.connection.call(Request::from(request)).await.unwrap()).unwrap()
    }

    fn instance(&self) -> Option<StrBytes> {
        self.instance.as_deref().map(text)
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        let protocol = |(name, metadata): &(&'static str, Vec<u8>)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from(metadata.clone()))
        };
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_session_timeout_ms(self.session_ms)
            .with_rebalance_timeout_ms(self.rebalance_ms)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(text("consumer"))
            .with_protocols(self.protocols.iter().map(protocol).collect())
    }

    /// One JoinGroup.
    pub(crate) async fn join_once(&mut self) -> JoinGroupResponse {
        let response: JoinGroupResponse = self.call(self.join_request()).await;
        if response.error_code == 0 || response.error_code == ResponseError::MemberIdRequired.code() {
            self.id = response.member_id.to_string();
        }
        if response.error_code == 0 {
            self.generation = response.generation_id;
        }
        response
    }

    /// JoinGroup until it is answered for good.
    pub(crate) async fn join(&mut self) -> JoinGroupResponse {
        loop {
            let response = self.join_once().await;
            match ResponseError::try_from_code(response.error_code) {
                None => return response,
                Some(ResponseError::MemberIdRequired | ResponseError::RebalanceInProgress) => {}
                Some(ResponseError::UnknownMemberId) => self.id.clear(),
                Some(code) => panic!("join: {code:?}"),
            }
        }
    }

    pub(crate) async fn sync(&self, assignments: &[(String, Vec<u8>)]) -> SyncGroupResponse {
        let given = |(id, assignment): &(String, Vec<u8>)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(Bytes::from(assignment.clone()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_assignments(assignments.iter().map(given).collect());
        self.call(request).await
    }

    pub(crate) async fn heartbeat(&self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance());
        let response: HeartbeatResponse = self.call(request).await;
        response.error_code
    }

    pub(crate) async fn leave(&self) -> i16 {
        let identity =
            MemberIdentity::default().with_member_id(text(&self.id)).with_group_instance_id(self.instance());
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(text(GROUP))).with_members(vec![identity]);
        let response: LeaveGroupResponse = self.call(request).await;
        response.members[0].error_code
    }

    pub(crate) async fn commit(&self, name: &str, partition: i32, offset: i64) -> i16 {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(text("note")));
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_topics(vec![
                OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]),
            ]);
        let response: OffsetCommitResponse = self.call(request).await;
        response.topics[0].partitions[0].error_code
    }

    pub(crate) async fn committed(&self, name: &str, partition: i32) -> i64 {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic(name))
            .with_partition_indexes(vec![partition]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_topics(Some(vec![topics]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let response: OffsetFetchResponse = self.call(request).await;
        response.groups[0].topics[0].partitions[0].committed_offset
    }
}

/// What the members of a JoinGroup answer own, by member, for a leader that assigns.
pub(crate) fn owned(joined: &JoinGroupResponse) -> BTreeMap<String, BTreeSet<u8>> {
    joined
        .members
        .iter()
        .map(|member| (member.member_id.to_string(), member.metadata.iter().copied().collect()))
        .collect()
}

/// Shares partitions evenly; each member keeps what it owns as far as that is even. With `cooperative`, what another
/// member owns still is given to nobody in this round.
pub(crate) fn share(
    owned: &BTreeMap<String, BTreeSet<u8>>,
    partitions: u8,
    cooperative: bool,
) -> Vec<(String, Vec<u8>)> {
    let most = usize::from(partitions).div_ceil(owned.len());
    let mut given: BTreeMap<String, Vec<u8>> =
        owned.iter().map(|(id, owned)| (id.clone(), owned.iter().copied().take(most).collect())).collect();
    let held: BTreeSet<u8> = owned.values().flatten().copied().collect();
    for partition in 0..partitions {
        if given.values().any(|given| given.contains(&partition))
            || (cooperative && held.contains(&partition))
        {
            continue;
        }
        let (_, least) = given.iter_mut().min_by_key(|(_, given)| given.len()).unwrap();
        least.push(partition);
    }
    given.into_iter().collect()
}
