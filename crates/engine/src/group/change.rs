//! From generation to generation: calling to join, ending the join phase, handing out assignments, time.

use std::collections::HashMap;

use bytes::Bytes;
use shuniu_wire::messages::{ResponseError, StrBytes, SyncGroupRequest, SyncGroupResponse};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::{Group, JoinEnd, Phase};
use super::{Reply, join};

impl Group {
    /// Begins a rebalance, unless one is in its join phase.
    pub(super) fn call_to_join(&mut self, now: Instant) {
        let was_empty = match self.phase {
            Phase::Joining => return,
            Phase::Empty => true,
            Phase::Stable => false,
            Phase::Syncing => {
                // Who waits for the assignment hears that there will be another one.
                for member in self.members.values_mut() {
                    member.assignment = Bytes::new();
                    if member.syncing.is_some() {
                        member.answer_sync(sync_refused(ResponseError::RebalanceInProgress));
                        member.heard(now);
                    }
                }
                false
            }
        };
        tracing::debug!(group = %self.id, generation = self.generation, "the group rebalances");
        self.sync_end = None;
        self.phase = Phase::Joining;
        let longest = self.rebalance_max();
        self.join_end = Some(if was_empty {
            self.more_joined = false;
            let initial = Some(longest.saturating_sub(self.initial_delay));
            JoinEnd { at: now + self.initial_delay, initial }
        } else {
            JoinEnd { at: now + longest, initial: None }
        });
        if was_empty && self.initial_delay.is_zero() {
            self.end_join(now);
        }
    }

    /// Ends the join phase if no one is missing.
    pub(super) fn end_join_if_all_have(&mut self, now: Instant) {
        let initial = self.join_end.is_some_and(|end| end.initial.is_some());
        if self.phase == Phase::Joining
            && !initial
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.end_join(now);
        }
    }

    /// The next generation: those who joined, and static members who may still come.
    fn end_join(&mut self, now: Instant) {
        self.members.retain(|_, member| member.joining.is_some() || member.instance.is_some());
        let leader_joined = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(|leader| leader.joining.is_some());
        if !leader_joined {
            let next = self.members.values().find(|member| member.joining.is_some());
            match next.map(|member| member.id.clone()) {
                Some(next) => self.leader = Some(next),
                None if self.members.is_empty() => self.leader = None,
                None => {
                    // Only static members are left and none has come: they have until their sessions end.
                    let at = now + self.rebalance_max();
                    self.join_end = Some(JoinEnd { at, initial: None });
                    return;
                }
            }
        }
        self.join_end = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol = None;
            self.protocol_type = None;
            return;
        }
        self.protocol = self.choose_protocol();
        self.phase = Phase::Syncing;
        self.sync_end = Some(now + self.rebalance_max());
        let leader = self.leader.clone().unwrap_or_default();
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let response = self.joined(id.clone(), leader.clone(), id == leader);
            if let Some(member) = self.members.get_mut(&id) {
                member.answer_join(response);
                member.synced = false;
                member.is_new = false;
                member.heard(now);
            }
        }
        tracing::debug!(group = %self.id, generation = self.generation, members = self.members.len(),
            "the group has a new generation");
    }

    pub(super) fn sync(&mut self, request: SyncGroupRequest, now: Instant) -> Reply<SyncGroupResponse> {
        let refuse = |code| Reply::Now(sync_refused(code));
        let (generation, phase) = (self.generation, self.phase);
        let differs = |asked: &Option<StrBytes>, own: &Option<StrBytes>| asked.is_some() && asked != own;
        let inconsistent = differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol);
        let id = request.member_id;
        let member = match self.member_checked(&id, request.group_instance_id.as_deref()) {
            Ok(member) => member,
            Err(code) => return refuse(code),
        };
        if request.generation_id != generation {
            return refuse(ResponseError::IllegalGeneration);
        }
        if inconsistent {
            return refuse(ResponseError::InconsistentGroupProtocol);
        }
        match phase {
            Phase::Empty => return refuse(ResponseError::UnknownMemberId),
            Phase::Joining => return refuse(ResponseError::RebalanceInProgress),
            Phase::Stable => {
                member.heard(now);
                let assignment = member.assignment.clone();
                return Reply::Now(self.assigned(assignment));
            }
            Phase::Syncing => {}
        }
        let (syncing, synced) = oneshot::channel();
        // One that still waits was given up by its sender, who sends this one.
        member.answer_sync(sync_refused(ResponseError::RebalanceInProgress));
        member.syncing = Some(syncing);
        member.synced = true;
        if self.is_leader(&id) {
            let assignments = request.assignments.into_iter();
            self.assign(assignments.map(|given| (given.member_id, given.assignment)).collect(), now);
        }
        self.end_sync_if_all_have();
        Reply::Later(synced)
    }

    /// The leader has decided. Who is not named gets nothing.
    fn assign(&mut self, mut assignments: HashMap<StrBytes, Bytes>, now: Instant) {
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let assignment = self.members.get(&id).map(|member| member.assignment.clone());
            let response = self.assigned(assignment.unwrap_or_default());
            if let Some(member) = self.members.get_mut(&id)
                && member.syncing.is_some()
            {
                member.answer_sync(response);
                member.heard(now);
            }
        }
    }

    fn assigned(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_assignment(assignment)
    }

    fn end_sync_if_all_have(&mut self) {
        if self.members.values().all(|member| member.synced) {
            self.sync_end = None;
        }
    }

    /// What is due by now.
    pub(super) fn tick(&mut self, now: Instant) {
        let before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < before {
            self.end_join_if_all_have(now);
        }
        let due: Vec<StrBytes> = self
            .members
            .values()
            .filter(|member| member.deadline <= now)
            .map(|member| member.id.clone())
            .collect();
        for id in due {
            match self.members.get_mut(&id) {
                Some(member) if member.deadline > now => {}
                Some(member) if member.is_kept_waiting() => member.heard(now),
                _ => {
                    tracing::info!(group = %self.id, member = %id.as_str(), "a member was not heard of in time");
                    self.remove(&id, now);
                }
            }
        }
        if let Some(end) = self.join_end
            && end.at <= now
        {
            match end.initial {
                Some(left) if self.more_joined && !left.is_zero() => {
                    let delay = self.initial_delay.min(left);
                    self.more_joined = false;
                    self.join_end =
                        Some(JoinEnd { at: now + delay, initial: Some(left.saturating_sub(delay)) });
                }
                _ => self.end_join(now),
            }
        }
        if self.sync_end.is_some_and(|end| end <= now) {
            self.sync_end = None;
            let missing: Vec<StrBytes> = self
                .members
                .values()
                .filter(|member| !member.synced)
                .map(|member| member.id.clone())
                .collect();
            for id in missing {
                self.remove(&id, now);
            }
        }
    }

    /// Takes a member out; the others share anew.
    pub(super) fn remove(&mut self, id: &str, now: Instant) {
        let Some(mut member) = self.members.remove(id.as_bytes()) else { return };
        member.answer_join(join::refused(ResponseError::UnknownMemberId, StrBytes::default()));
        member.answer_sync(sync_refused(ResponseError::UnknownMemberId));
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        match self.phase {
            Phase::Empty => {}
            Phase::Syncing | Phase::Stable => {
                self.call_to_join(now);
                self.end_join_if_all_have(now);
            }
            Phase::Joining => self.end_join_if_all_have(now),
        }
    }
}

/// A SyncGroup that is not taken.
pub(super) fn sync_refused(code: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(code.code())
}
