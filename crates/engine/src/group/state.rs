//! A group's state and what is true of it. Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use shuniu_wire::messages::{HeartbeatRequest, OffsetCommitRequest, ResponseError, StrBytes};
use tokio::time::Instant;

use super::member::Member;

/// Committed offsets by topic and partition.
pub(crate) type Offsets = BTreeMap<String, BTreeMap<i32, Committed>>;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty,
    /// Members are called to join.
    Joining,
    /// All have joined; the leader's assignment is awaited.
    Syncing,
    /// Everyone has, or can have, its assignment.
    Stable,
}

/// The end of a join phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct JoinEnd {
    pub(super) at: Instant,
    /// The first join of an empty group waits for more members: this much more than `at`, as long as more come.
    pub(super) initial: Option<Duration>,
}

/// A group.
pub(super) struct Group {
    pub(super) id: String,
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<StrBytes>,
    /// The assignor of this generation.
    pub(super) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    pub(super) members: BTreeMap<StrBytes, Member>,
    /// Static members' ids by instance.
    pub(super) instances: BTreeMap<StrBytes, StrBytes>,
    /// Member ids that were given out and not used yet, and until when they are good.
    pub(super) pending: BTreeMap<StrBytes, Instant>,
    pub(super) join_end: Option<JoinEnd>,
    pub(super) initial_delay: Duration,
    /// Someone joined since the initial delay was last looked at.
    pub(super) more_joined: bool,
    /// By when every member must have sent its SyncGroup.
    pub(super) sync_end: Option<Instant>,
    pub(super) offsets: Offsets,
    /// The moment that is noted for this group.
    pub(super) armed: Option<Instant>,
}

impl Group {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            join_end: None,
            initial_delay: Duration::ZERO,
            more_joined: false,
            sync_end: None,
            offsets: Offsets::new(),
            armed: None,
        }
    }

    /// Nothing of it is worth remembering.
    pub(super) fn is_nothing(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty() && self.offsets.is_empty()
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// The member of this id, if it is who it says: an instance that has a newer member fences the older one.
    pub(super) fn member_checked(
        &mut self,
        member: &str,
        instance: Option<&str>,
    ) -> Result<&mut Member, ResponseError> {
        if let Some(instance) = instance {
            match self.instances.get(instance.as_bytes()) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if current.as_str() != member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get_mut(member.as_bytes()).ok_or(ResponseError::UnknownMemberId)
    }

    pub(super) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let (generation, phase) = (self.generation, self.phase);
        let member = self.member_checked(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != generation {
            return Err(ResponseError::IllegalGeneration);
        }
        match phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Joining => {
                member.heard(now);
                Err(ResponseError::RebalanceInProgress)
            }
            Phase::Syncing | Phase::Stable => {
                member.heard(now);
                Ok(())
            }
        }
    }

    pub(super) fn may_commit(
        &mut self,
        request: &OffsetCommitRequest,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        let (current, phase) = (self.generation, self.phase);
        let member = self.member_checked(&request.member_id, request.group_instance_id.as_deref())?;
        if generation != current {
            return Err(ResponseError::IllegalGeneration);
        }
        match phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            // Its members have joined and may not know yet what is theirs; what they had is in doubt.
            Phase::Syncing => Err(ResponseError::RebalanceInProgress),
            // While others are called to join, members commit what they did.
            Phase::Joining | Phase::Stable => {
                member.heard(now);
                Ok(())
            }
        }
    }

    /// The next moment at which something may be due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let members = self.members.values().map(|member| member.deadline);
        let pending = self.pending.values().copied();
        let ends = self.join_end.map(|end| end.at).into_iter().chain(self.sync_end);
        members.chain(pending).chain(ends).min()
    }

    /// The longest that any member may take to join again.
    pub(super) fn rebalance_max(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// The assignor that all support and most like best; the older member's vote counts first where they are even.
    pub(super) fn choose_protocol(&self) -> Option<StrBytes> {
        let first = self.members.values().next()?;
        let mut votes: Vec<(StrBytes, usize)> = first
            .protocols
            .iter()
            .filter(|(name, _)| self.members.values().all(|member| member.supports(name)))
            .map(|(name, _)| (name.clone(), 0))
            .collect();
        for member in self.members.values() {
            let liked = member
                .protocols
                .iter()
                .find_map(|(name, _)| votes.iter().position(|(known, _)| known == name));
            if let Some((_, count)) = liked.and_then(|at| votes.get_mut(at)) {
                *count += 1;
            }
        }
        // `max_by_key` returns the last of equals, so the order is turned round.
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    /// Whether a member with these assignors fits: it and everyone else share at least one.
    pub(super) fn fits<'a>(
        &self,
        protocol_type: &str,
        protocols: impl IntoIterator<Item = &'a StrBytes>,
    ) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && protocols.into_iter().next().is_some();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.into_iter().any(|name| self.members.values().all(|member| member.supports(name)))
    }
}
