//! Consumer groups, classic protocol, as Kafka's coordinator answers: the groups there are, and their clock.
//!
//! Membership is kept in memory: after a restart members are unknown and join again. Committed offsets are on disk.

mod change;
mod join;
mod leave;
mod member;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::leave_group_request::MemberIdentity;
use shuniu_wire::messages::leave_group_response::MemberResponse;
use shuniu_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, ResponseError, SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::state::Committed;
use self::state::Group;
use crate::EngineConfig;
use crate::database::CommittedRow;
use crate::log::partition::hold;

/// The bounds of groups.
#[derive(Debug, Clone)]
pub(crate) struct GroupLimits {
    pub(crate) initial_delay: Duration,
    pub(crate) session_min: Duration,
    pub(crate) session_max: Duration,
    pub(crate) members_max: usize,
    pub(crate) groups_max: usize,
}

/// All groups.
pub(crate) struct Groups {
    limits: GroupLimits,
    registry: Mutex<Registry>,
    /// Told when a moment is due sooner than the clock knows.
    sooner: Notify,
}

#[derive(Default)]
struct Registry {
    by_id: HashMap<String, Group>,
    /// When to look at which group next. A group's moment may be too early, never too late.
    due: BTreeSet<(Instant, String)>,
}

/// An answer, now or when others have done their part.
pub(crate) enum Reply<T> {
    Now(T),
    Later(oneshot::Receiver<T>),
}

impl<T: Send + 'static> Reply<T> {
    async fn wait(self) -> Result<T, UpstreamError> {
        match self {
            Self::Now(answer) => Ok(answer),
            Self::Later(answer) => answer.await.map_err(|_| UpstreamError::Closed),
        }
    }
}

impl Groups {
    /// With the offsets that are stored. Its clock runs until `stop`.
    pub(crate) fn start(
        config: &EngineConfig,
        committed: Vec<CommittedRow>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let limits = GroupLimits {
            initial_delay: config.initial_rebalance_delay,
            session_min: config.session_timeout_min,
            session_max: config.session_timeout_max,
            members_max: config.group_members_max,
            groups_max: config.groups_max,
        };
        let groups = Arc::new(Self { limits, registry: Mutex::default(), sooner: Notify::new() });
        groups.committed(committed);
        let clock = Arc::clone(&groups);
        tracker.spawn(async move {
            tokio::select! {
                () = clock.run() => {}
                () = stop.cancelled() => {}
            }
        });
        groups
    }

    /// How many groups there are, with or without members.
    pub(crate) fn count(&self) -> usize {
        hold(&self.registry).by_id.len()
    }

    /// Sleeps until the next due moment, or until one comes that is sooner.
    async fn run(&self) {
        loop {
            let next = hold(&self.registry).due.first().map(|(at, _)| *at);
            match next {
                None => self.sooner.notified().await,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => self.tick(Instant::now()),
                    () = self.sooner.notified() => {}
                },
            }
        }
    }

    fn tick(&self, now: Instant) {
        let mut registry = hold(&self.registry);
        while let Some((at, _)) = registry.due.first()
            && *at <= now
        {
            let Some((_, id)) = registry.due.pop_first() else { return };
            if let Some(group) = registry.by_id.get_mut(&id) {
                group.armed = None;
                group.tick(now);
            }
            self.settle(&mut registry, &id);
        }
    }

    /// After a change: forgets a group that is nothing any more, else notes when it is due.
    fn settle(&self, registry: &mut Registry, id: &str) {
        let Some(group) = registry.by_id.get_mut(id) else { return };
        let due = group.next_due();
        if let Some(due) = due
            && group.armed.is_none_or(|armed| due < armed)
        {
            if let Some(armed) = group.armed.replace(due) {
                registry.due.remove(&(armed, id.to_owned()));
            }
            registry.due.insert((due, id.to_owned()));
            if registry.due.first().is_some_and(|(at, _)| *at == due) {
                self.sooner.notify_one();
            }
        }
        if group.is_nothing() {
            if let Some(armed) = group.armed {
                registry.due.remove(&(armed, id.to_owned()));
            }
            registry.by_id.remove(id);
        }
    }

    pub(crate) fn join(
        &self,
        request: JoinGroupRequest,
    ) -> impl Future<Output = Result<JoinGroupResponse, UpstreamError>> + Send + 'static {
        self.join_now(request).wait()
    }

    fn join_now(&self, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let id = request.group_id.to_string();
        let refuse = |code| Reply::Now(join::refused(code, request.member_id.clone()));
        if id.is_empty() {
            return refuse(ResponseError::InvalidGroupId);
        }
        let session = Duration::from_millis(u64::try_from(request.session_timeout_ms).unwrap_or(0));
        if !(self.limits.session_min..=self.limits.session_max).contains(&session) {
            return refuse(ResponseError::InvalidSessionTimeout);
        }
        let mut registry = hold(&self.registry);
        if !registry.by_id.contains_key(&id) {
            // A member id without its group: the group, and who was in it, is from before a restart.
            if !request.member_id.is_empty() {
                return refuse(ResponseError::UnknownMemberId);
            }
            if registry.by_id.len() >= self.limits.groups_max {
                return refuse(ResponseError::CoordinatorNotAvailable);
            }
        }
        let group = registry.by_id.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        let reply = group.join(request, session, &self.limits, Instant::now());
        self.settle(&mut registry, &id);
        reply
    }

    pub(crate) fn sync(
        &self,
        request: SyncGroupRequest,
    ) -> impl Future<Output = Result<SyncGroupResponse, UpstreamError>> + Send + 'static {
        let id = request.group_id.to_string();
        let mut registry = hold(&self.registry);
        let reply = match registry.by_id.get_mut(&id) {
            None => Reply::Now(change::sync_refused(unknown(&id))),
            Some(group) => group.sync(request, Instant::now()),
        };
        self.settle(&mut registry, &id);
        drop(registry);
        reply.wait()
    }

    pub(crate) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let mut registry = hold(&self.registry);
        // A heartbeat only moves a moment back, which needs no new note.
        let result = match registry.by_id.get_mut(request.group_id.as_str()) {
            None => Err(unknown(&request.group_id)),
            Some(group) => group.heartbeat(request, Instant::now()),
        };
        HeartbeatResponse::default().with_error_code(result.err().map_or(0, |code| code.code()))
    }

    /// The old form names one member and has one code; the new form names several, each with its code.
    pub(crate) fn leave(&self, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let id = request.group_id.to_string();
        let old_form = request.members.is_empty();
        let members = if old_form {
            vec![MemberIdentity::default().with_member_id(request.member_id)]
        } else {
            request.members
        };
        let mut registry = hold(&self.registry);
        let now = Instant::now();
        let mut group = registry.by_id.get_mut(&id);
        let left: Vec<MemberResponse> = members
            .into_iter()
            .map(|member| {
                let result = match &mut group {
                    None => Err(unknown(&id)),
                    Some(group) => group.leave(&member.member_id, member.group_instance_id.as_deref(), now),
                };
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(result.err().map_or(0, |code| code.code()))
            })
            .collect();
        self.settle(&mut registry, &id);
        let response = LeaveGroupResponse::default();
        match left.first() {
            Some(only) if old_form => response.with_error_code(only.error_code),
            _ => response.with_members(left),
        }
    }

    /// Whether these offsets may be committed.
    pub(crate) fn may_commit(&self, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
        let id = request.group_id.as_str();
        let mut registry = hold(&self.registry);
        match registry.by_id.get_mut(id) {
            // A consumer that only stores offsets here names no generation.
            None if request.generation_id_or_member_epoch < 0 => {
                if id.is_empty() {
                    return Err(ResponseError::InvalidGroupId);
                }
                let full = registry.by_id.len() >= self.limits.groups_max;
                if full { Err(ResponseError::CoordinatorNotAvailable) } else { Ok(()) }
            }
            None => Err(ResponseError::IllegalGeneration),
            Some(group) => group.may_commit(request, Instant::now()),
        }
    }

    /// These offsets are durable.
    pub(crate) fn committed(&self, rows: Vec<CommittedRow>) {
        let mut registry = hold(&self.registry);
        for row in rows {
            let group = registry.by_id.entry(row.group.clone()).or_insert_with(|| Group::new(row.group));
            let committed =
                Committed { offset: row.offset, leader_epoch: row.leader_epoch, metadata: row.metadata };
            group.offsets.entry(row.topic).or_default().insert(row.partition, committed);
        }
    }

    /// Looks at a group's committed offsets by topic and partition; they are empty if there is no group.
    pub(crate) fn offsets<T>(&self, group: &str, look: impl FnOnce(&state::Offsets) -> T) -> T {
        let registry = hold(&self.registry);
        match registry.by_id.get(group) {
            Some(group) => look(&group.offsets),
            None => look(&state::Offsets::new()),
        }
    }
}

fn unknown(group: &str) -> ResponseError {
    if group.is_empty() { ResponseError::InvalidGroupId } else { ResponseError::UnknownMemberId }
}
