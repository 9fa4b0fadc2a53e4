//! JoinGroup.

use std::time::Duration;

use bytes::Bytes;
use shuniu_wire::messages::join_group_response::JoinGroupResponseMember;
use shuniu_wire::messages::{JoinGroupRequest, JoinGroupResponse, ResponseError, StrBytes};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::member::{FIRST_JOIN_MAX, Member};
use super::state::{Group, Phase};
use super::{GroupLimits, Reply, change};

/// What a joining member says of itself.
struct Joiner {
    instance: Option<StrBytes>,
    session: Duration,
    rebalance: Duration,
    protocol_type: StrBytes,
    protocols: Vec<(StrBytes, Bytes)>,
}

impl Group {
    pub(super) fn join(
        &mut self,
        request: JoinGroupRequest,
        session: Duration,
        limits: &GroupLimits,
        now: Instant,
    ) -> Reply<JoinGroupResponse> {
        self.initial_delay = limits.initial_delay;
        let member_id = request.member_id;
        let refuse = |code| Reply::Now(refused(code, member_id.clone()));
        if !self.fits(&request.protocol_type, request.protocols.iter().map(|protocol| &protocol.name)) {
            return refuse(ResponseError::InconsistentGroupProtocol);
        }
        let rebalance = u64::try_from(request.rebalance_timeout_ms).map_or(session, Duration::from_millis);
        let joiner = Joiner {
            instance: request.group_instance_id,
            session,
            rebalance,
            protocol_type: request.protocol_type,
            protocols: request
                .protocols
                .into_iter()
                .map(|protocol| (protocol.name, protocol.metadata))
                .collect(),
        };
        let known = self.members.contains_key(&member_id) || self.pending.contains_key(&member_id);
        let replaces = joiner.instance.as_ref().is_some_and(|instance| self.instances.contains_key(instance));
        if !known && !replaces && self.members.len() + self.pending.len() >= limits.members_max {
            return refuse(ResponseError::GroupMaxSizeReached);
        }
        if member_id.is_empty() {
            return self.join_first(joiner, now);
        }
        if joiner.instance.is_none() && self.pending.remove(&member_id).is_some() {
            return self.add(member_id, joiner, now);
        }
        if let Err(code) = self.member_checked(&member_id, joiner.instance.as_deref()) {
            return refuse(code);
        }
        self.join_again(&member_id, joiner, now)
    }

    /// Without a member id: a static member takes its place at once, any other is told its id first, so that a join
    /// that is sent twice does not make two members (KIP-394).
    fn join_first(&mut self, joiner: Joiner, now: Instant) -> Reply<JoinGroupResponse> {
        let fresh = uuid::Uuid::new_v4();
        let Some(instance) = joiner.instance.clone() else {
            let id = StrBytes::from_string(format!("member-{fresh}"));
            self.pending.insert(id.clone(), now + joiner.session);
            return Reply::Now(refused(ResponseError::MemberIdRequired, id));
        };
        let id = StrBytes::from_string(format!("{}-{fresh}", instance.as_str()));
        match self.instances.get(&instance).cloned() {
            Some(old) => self.replace_static(&old, id, joiner, now),
            None => {
                self.instances.insert(instance, id.clone());
                self.add(id, joiner, now)
            }
        }
    }

    fn add(&mut self, id: StrBytes, joiner: Joiner, now: Instant) -> Reply<JoinGroupResponse> {
        let (joining, joined) = oneshot::channel();
        if self.members.is_empty() {
            self.protocol_type = Some(joiner.protocol_type);
        }
        let member = Member {
            id: id.clone(),
            instance: joiner.instance,
            session: joiner.session,
            rebalance: joiner.rebalance,
            protocols: joiner.protocols,
            assignment: Bytes::new(),
            joining: Some(joining),
            syncing: None,
            synced: false,
            is_new: true,
            deadline: now + FIRST_JOIN_MAX,
        };
        self.members.insert(id.clone(), member);
        self.leader.get_or_insert(id);
        self.more_joined = true;
        self.call_to_join(now);
        self.end_join_if_all_have(now);
        Reply::Later(joined)
    }

    /// A member that is known joins: to rejoin, to change its subscription, or because it did not get its answer.
    fn join_again(&mut self, id: &StrBytes, joiner: Joiner, now: Instant) -> Reply<JoinGroupResponse> {
        let same = self.members.get(id).is_some_and(|member| member.protocols == joiner.protocols);
        let answer_at_once = match self.phase {
            Phase::Empty => return Reply::Now(refused(ResponseError::UnknownMemberId, id.clone())),
            Phase::Joining => false,
            Phase::Syncing => same,
            // A leader that joins again wants a new assignment, as its topics may have changed.
            Phase::Stable => same && !self.is_leader(id),
        };
        if answer_at_once {
            if let Some(member) = self.members.get_mut(id) {
                member.heard(now);
            }
            let with_members = self.is_leader(id);
            return Reply::Now(self.joined(
                id.clone(),
                self.leader.clone().unwrap_or_default(),
                with_members,
            ));
        }
        let (joining, joined) = oneshot::channel();
        let Some(member) = self.members.get_mut(id) else {
            return Reply::Now(refused(ResponseError::UnknownMemberId, id.clone()));
        };
        // A JoinGroup that still waits was given up by its sender, who sends this one.
        member.answer_join(refused(ResponseError::RebalanceInProgress, id.clone()));
        member.joining = Some(joining);
        member.protocols = joiner.protocols;
        member.session = joiner.session;
        member.rebalance = joiner.rebalance;
        self.call_to_join(now);
        self.end_join_if_all_have(now);
        Reply::Later(joined)
    }

    /// A static member came back under a new id. Its place, and in a stable group its assignment, is still its own.
    fn replace_static(
        &mut self,
        old: &StrBytes,
        id: StrBytes,
        joiner: Joiner,
        now: Instant,
    ) -> Reply<JoinGroupResponse> {
        let Some(mut member) = self.members.remove(old) else {
            return Reply::Now(refused(ResponseError::UnknownMemberId, id));
        };
        member.answer_join(refused(ResponseError::FencedInstanceId, old.clone()));
        member.answer_sync(change::sync_refused(ResponseError::FencedInstanceId));
        member.id = id.clone();
        member.session = joiner.session;
        member.rebalance = joiner.rebalance;
        member.protocols = joiner.protocols;
        member.heard(now);
        let old_leader = self.leader.clone().unwrap_or_default();
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if self.phase == Phase::Stable && self.choose_protocol() == self.protocol {
            // The old leader's id is answered even if it is this very member: it then syncs as a follower and gets
            // the assignment that it had, without a rebalance.
            return Reply::Now(self.joined(id, old_leader, false));
        }
        let (joining, joined) = oneshot::channel();
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(joining);
        }
        self.call_to_join(now);
        self.end_join_if_all_have(now);
        Reply::Later(joined)
    }

    /// The answer to a member that is in this generation.
    pub(super) fn joined(&self, id: StrBytes, leader: StrBytes, with_members: bool) -> JoinGroupResponse {
        let protocol = self.protocol.clone().unwrap_or_default();
        let member = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance.clone())
                .with_metadata(member.metadata(&protocol))
        };
        let members = if with_members { self.members.values().map(member).collect() } else { Vec::new() };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(Some(protocol.clone()))
            .with_leader(leader)
            .with_member_id(id)
            .with_members(members)
    }
}

/// A JoinGroup that is not taken.
pub(super) fn refused(code: ResponseError, member_id: StrBytes) -> JoinGroupResponse {
    // Version 6 and older cannot say null: an empty name is what Kafka answers.
    JoinGroupResponse::default()
        .with_error_code(code.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::default()))
        .with_member_id(member_id)
}
