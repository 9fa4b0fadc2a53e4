//! Groups: the same life of a member on both sides.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shuniu_wire::messages as m;
use shuniu_wire::messages::{ResponseError, StrBytes};
use shuniu_wire::{Request, Response};

use super::{Found, Sides, Topic, text};
use crate::raw::Raw;

/// A member's answers, and what its coordinator calls it.
struct Life<'a> {
    client: &'a mut Raw,
    topic: Topic,
    group: m::GroupId,
    member: StrBytes,
    /// Its generation, or its epoch.
    age: i32,
    answers: Vec<(&'static str, i16, Response)>,
}

impl<'a> Life<'a> {
    fn new(client: &'a mut Raw, topic: Topic, group: &str) -> Self {
        let group = m::GroupId(text(group));
        Self { client, topic, group, member: text(""), age: -1, answers: Vec::new() }
    }

    async fn ask(&mut self, step: &'static str, version: i16, request: impl Into<Request>) -> Response {
        let answer = self.client.ask(version, request).await;
        self.answers.push((step, version, answer.clone()));
        answer
    }

    fn commit(&self, partition: i32, age: i32) -> m::OffsetCommitRequest {
        use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(3)
            .with_committed_metadata(Some(text("the client's own")));
        let topic =
            OffsetCommitRequestTopic::default().with_name(self.topic.name()).with_partitions(vec![partition]);
        m::OffsetCommitRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.member.clone())
            .with_generation_id_or_member_epoch(age)
            .with_topics(vec![topic])
    }

    /// Offsets of partitions; of all that are committed, where none is named.
    fn committed(&self, version: i16, partitions: &[i32]) -> m::OffsetFetchRequest {
        use m::offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        };
        let (name, partitions) = (self.topic.name(), partitions.to_vec());
        let all = partitions.is_empty();
        if version < 8 {
            let topic = OffsetFetchRequestTopic::default().with_name(name).with_partition_indexes(partitions);
            return m::OffsetFetchRequest::default()
                .with_group_id(self.group.clone())
                .with_topics((!all).then(|| vec![topic]));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(name).with_partition_indexes(partitions);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group.clone())
            .with_topics((!all).then(|| vec![topic]));
        m::OffsetFetchRequest::default().with_groups(vec![group])
    }

    /// Commits and asks for what is committed, with a good age and with one that is wrong.
    async fn offsets(&mut self, of: i16) {
        let version = (2 + of).min(9);
        self.ask("commit", version, self.commit(0, self.age)).await;
        self.ask("commit in a partition that is not there", version, self.commit(99, self.age)).await;
        self.ask("commit of another age", version, self.commit(0, self.age + 7)).await;
        let version = (1 + of).min(9);
        self.ask("committed", version, self.committed(version, &[0])).await;
        self.ask("committed nowhere", version, self.committed(version, &[99])).await;
        if version >= 2 {
            self.ask("all committed", version, self.committed(version, &[])).await;
        }
    }
}

/// Waits until the group's coordinator has read what it keeps.
async fn loaded(client: &mut Raw, group: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let group = m::GroupId(text(group));
        let request = m::HeartbeatRequest::default().with_group_id(group).with_member_id(text("nobody"));
        let answer: m::HeartbeatResponse = client.get(4, request).await;
        if ResponseError::try_from_code(answer.error_code) == Some(ResponseError::UnknownMemberId) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until groups can be coordinated at all.
async fn coordinated(client: &mut Raw) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let request = m::FindCoordinatorRequest::default().with_key(text("any"));
        let answer: m::FindCoordinatorResponse = client.get(3, request).await;
        if answer.error_code == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn compare(found: &mut Found, bare: Life<'_>, whole: Life<'_>) {
    let words: Vec<_> = [&bare.member, &whole.member]
        .into_iter()
        .filter(|it| !it.is_empty())
        .map(|it| (it.as_str(), "*"))
        .collect();
    assert_eq!(bare.answers.len(), whole.answers.len());
    for ((step, version, bare), (_, _, whole)) in bare.answers.iter().zip(&whole.answers) {
        found.compare("whole", step, *version, bare, whole, &words);
    }
}

/// Groups whose members share among themselves.
pub(super) async fn classic(sides: &mut Sides, found: &mut Found) {
    coordinated(&mut sides.bare).await;
    coordinated(&mut sides.whole).await;
    for version in 0..=9 {
        let group = format!("classic-{version}");
        loaded(&mut sides.bare, &group).await;
        loaded(&mut sides.whole, &group).await;
        let mut bare = Life::new(&mut sides.bare, sides.topic, &group);
        classic_life(&mut bare, version).await;
        let mut whole = Life::new(&mut sides.whole, sides.topic, &group);
        classic_life(&mut whole, version).await;
        compare(found, bare, whole);
    }
}

fn join(life: &Life<'_>) -> m::JoinGroupRequest {
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"metadata"));
    m::JoinGroupRequest::default()
        .with_group_id(life.group.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(life.member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

async fn classic_life(life: &mut Life<'_>, v: i16) {
    let at = v.min(5);
    let find = if at < 4 {
        m::FindCoordinatorRequest::default().with_key(life.group.0.clone())
    } else {
        m::FindCoordinatorRequest::default().with_coordinator_keys(vec![life.group.0.clone()])
    };
    life.ask("coordinator", at, find).await;
    life.ask("join for too short", v, join(life).with_session_timeout_ms(1)).await;
    life.ask("join under no name", v, join(life).with_group_id(m::GroupId(text("")))).await;
    life.ask("join as nobody known", v, join(life).with_member_id(text("nobody"))).await;
    let Response::JoinGroup(answer) = life.ask("join", v, join(life)).await else { panic!("not a join") };
    life.member = answer.member_id;
    if v >= 4 {
        let Response::JoinGroup(answer) = life.ask("join again", v, join(life)).await else {
            panic!("not a join")
        };
        life.age = answer.generation_id;
    } else {
        life.age = answer.generation_id;
    }
    let share = m::sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(life.member.clone())
        .with_assignment(Bytes::from_static(b"all of it"));
    let mut sync = m::SyncGroupRequest::default()
        .with_group_id(life.group.clone())
        .with_member_id(life.member.clone())
        .with_generation_id(life.age)
        .with_assignments(vec![share]);
    if v >= 5 {
        sync = sync.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    life.ask("sync", v.min(5), sync.clone()).await;
    life.ask("sync of another age", v.min(5), sync.with_generation_id(life.age + 7)).await;
    let beat = m::HeartbeatRequest::default()
        .with_group_id(life.group.clone())
        .with_member_id(life.member.clone())
        .with_generation_id(life.age);
    life.ask("heartbeat", v.min(4), beat.clone()).await;
    life.ask("heartbeat of another age", v.min(4), beat.clone().with_generation_id(life.age + 7)).await;
    life.ask("heartbeat of nobody known", v.min(4), beat.with_member_id(text("nobody"))).await;
    life.offsets(v).await;
    let leave = |member: StrBytes| {
        let request = m::LeaveGroupRequest::default().with_group_id(life.group.clone());
        if v < 3 {
            return request.with_member_id(member);
        }
        let member = m::leave_group_request::MemberIdentity::default().with_member_id(member);
        request.with_members(vec![member])
    };
    let (stranger, own) = (leave(text("nobody")), leave(life.member.clone()));
    life.ask("leave as nobody known", v.min(5), stranger).await;
    life.ask("leave", v.min(5), own).await;
}

/// Groups whose coordinator assigns.
pub(super) async fn newer(sides: &mut Sides, found: &mut Found) {
    for version in 0..=1 {
        let group = format!("newer-{version}");
        loaded(&mut sides.bare, &group).await;
        loaded(&mut sides.whole, &group).await;
        let mut bare = Life::new(&mut sides.bare, sides.topic, &group);
        newer_life(&mut bare, version).await;
        let mut whole = Life::new(&mut sides.whole, sides.topic, &group);
        newer_life(&mut whole, version).await;
        compare(found, bare, whole);
    }
}

async fn newer_life(life: &mut Life<'_>, v: i16) {
    // From version 1 on members name themselves.
    life.member = text(if v == 0 { "" } else { "named-by-itself" });
    let join = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(life.group.clone())
        .with_member_id(life.member.clone())
        .with_rebalance_timeout_ms(10_000)
        .with_topic_partitions(Some(Vec::new()));
    let join = |names: &[Topic]| {
        join.clone().with_subscribed_topic_names(Some(names.iter().map(|it| it.name()).collect()))
    };
    let topic = life.topic;
    life.ask("newer: join under no name", v, join(&[topic]).with_group_id(m::GroupId(text("")))).await;
    life.ask("newer: join without a time", v, join(&[topic]).with_rebalance_timeout_ms(-1)).await;
    life.ask(
        "newer: join by an assignor that is none",
        v,
        join(&[topic]).with_server_assignor(Some(text("none"))),
    )
    .await;
    if v >= 1 {
        let pattern = |pattern| join(&[]).with_subscribed_topic_regex(Some(text(pattern)));
        life.ask("newer: join by a pattern that is none", v, pattern("(")).await;
    }
    let Response::ConsumerGroupHeartbeat(answer) = life.ask("newer: join", v, join(&[topic])).await else {
        panic!("not a heartbeat")
    };
    life.member = answer.member_id.unwrap();
    life.age = answer.member_epoch;
    let beat = m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(life.group.clone())
        .with_member_id(life.member.clone())
        .with_member_epoch(life.age);
    life.ask("newer: heartbeat", v, beat.clone()).await;
    life.ask("newer: heartbeat of another age", v, beat.clone().with_member_epoch(life.age + 7)).await;
    life.ask("newer: heartbeat of nobody known", v, beat.clone().with_member_id(text("nobody"))).await;
    life.offsets(7).await;
    life.ask("newer: leave", v, beat.with_member_epoch(-1)).await;
}
