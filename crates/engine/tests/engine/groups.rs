//! Consumer groups: what Kafka's coordinator answers, case by case.

use std::time::{Duration, Instant};

use shuniu_engine::EngineConfig;
use shuniu_wire::Request;
use shuniu_wire::messages::*;

use crate::member::{GROUP, Member};
use crate::support::*;

async fn hub(folder: &std::path::Path) -> Hub {
    let mut config = EngineConfig::new(folder.to_owned());
    config.session_timeout_min = Duration::from_millis(10);
    let hub = Hub::open_with(config, TestClock::new()).await.unwrap();
    hub.create("t", 6, &[]).await;
    hub
}

/// A member that is alone in its group and has its assignment.
async fn alone(hub: &Hub) -> Member {
    let mut member = Member::new(&hub.connection);
    member.join().await;
    assert_eq!(member.sync(&[(member.id.clone(), vec![7])]).await.assignment, vec![7]);
    member
}

/// A second member that has joined beside a first that was stable; both have synced, the first leads.
async fn two(hub: &Hub) -> (Member, Member) {
    let mut first = alone(hub).await;
    let mut second = Member::new(&hub.connection);
    second.join_once().await;
    let join = tokio::task::spawn({
        let mut second = second.clone();
        async move {
            second.join().await;
            second
        }
    });
    while first.heartbeat().await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let joined = first.join().await;
    assert_eq!((joined.members.len(), joined.leader.as_str()), (2, first.id.as_str()));
    second = join.await.unwrap();
    let shares = [(first.id.clone(), vec![1]), (second.id.clone(), vec![2])];
    let (a, b) = tokio::join!(second.sync(&[]), first.sync(&shares));
    assert_eq!((a.assignment.to_vec(), b.assignment.to_vec()), (vec![2], vec![1]));
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_an_id_is_given_one_and_must_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut member = Member::new(&hub.connection);
    let first = member.join_once().await;
    assert_eq!(first.error_code, ResponseError::MemberIdRequired.code());
    assert!(!first.member_id.is_empty());
    let joined = member.join_once().await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!((joined.leader.as_str(), joined.members.len()), (member.id.as_str(), 1));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_kafkas() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let code = |code: ResponseError| code.code();
    let mut stranger = Member::new(&hub.connection);
    stranger.id = "someone".to_owned();
    stranger.generation = 1;
    assert_eq!(stranger.join_once().await.error_code, code(ResponseError::UnknownMemberId));
    assert_eq!(stranger.heartbeat().await, code(ResponseError::UnknownMemberId));
    assert_eq!(stranger.sync(&[]).await.error_code, code(ResponseError::UnknownMemberId));
    assert_eq!(stranger.leave().await, code(ResponseError::UnknownMemberId));
    assert_eq!(stranger.commit("t", 0, 1).await, code(ResponseError::IllegalGeneration));
    let mut hasty = Member::new(&hub.connection);
    hasty.session_ms = 1;
    assert_eq!(hasty.join_once().await.error_code, code(ResponseError::InvalidSessionTimeout));
    let nameless = Member::new(&hub.connection).join_request().with_group_id(GroupId(text("")));
    let response: JoinGroupResponse = hub.call(nameless).await;
    assert_eq!(response.error_code, code(ResponseError::InvalidGroupId));

    let member = alone(&hub).await;
    assert_eq!(member.heartbeat().await, 0);
    let mut late = member.clone();
    late.generation = 0;
    assert_eq!(late.heartbeat().await, code(ResponseError::IllegalGeneration));
    assert_eq!(late.sync(&[]).await.error_code, code(ResponseError::IllegalGeneration));
    assert_eq!(late.commit("t", 0, 1).await, code(ResponseError::IllegalGeneration));
    assert_eq!(stranger.heartbeat().await, code(ResponseError::UnknownMemberId));
    assert_eq!(stranger.commit("t", 0, 1).await, code(ResponseError::UnknownMemberId));
    let mut simple = Member::new(&hub.connection);
    assert_eq!(simple.commit("t", 0, 1).await, code(ResponseError::UnknownMemberId), "the group has members");
    simple.protocols = vec![("sticky", Vec::new())];
    assert_eq!(simple.join_once().await.error_code, code(ResponseError::InconsistentGroupProtocol));
    assert_eq!(member.commit("t", 6, 1).await, code(ResponseError::UnknownTopicOrPartition));
    assert_eq!(member.commit("t", 5, 1).await, 0);
    assert_eq!(member.leave().await, 0);
    assert_eq!(member.heartbeat().await, code(ResponseError::UnknownMemberId));
    assert_eq!(simple.commit("t", 5, 9).await, 0, "the group is empty");
    assert_eq!(simple.committed("t", 5).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assignor_that_all_support_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut first = Member::new(&hub.connection);
    first.protocols = vec![("sticky", vec![1]), ("range", vec![2])];
    assert_eq!(first.join().await.protocol_name.as_deref(), Some("sticky"));
    first.sync(&[]).await;
    let mut second = Member::new(&hub.connection);
    second.join_once().await;
    let second = tokio::task::spawn(async move { second.join().await });
    while first.heartbeat().await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let joined = first.join().await;
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    let own = joined.members.iter().find(|member| member.member_id.as_str() == first.id).unwrap();
    assert_eq!(own.metadata, vec![2]);
    assert!(second.await.unwrap().members.is_empty(), "a follower is not told of the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_is_given_up_after_its_session_and_the_rest_rebalance() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut silent = Member::new(&hub.connection);
    silent.session_ms = 200;
    silent.join().await;
    silent.sync(&[]).await;
    let mut other = Member::new(&hub.connection);
    other.join_once().await;
    let begun = Instant::now();
    let joined = other.join().await;
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(100) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!((joined.members.len(), joined.leader.as_str()), (1, other.id.as_str()));
    assert_eq!(silent.heartbeat().await, ResponseError::UnknownMemberId.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_join_within_the_rebalance_timeout_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut slow = Member::new(&hub.connection);
    slow.rebalance_ms = 200;
    slow.join().await;
    slow.sync(&[]).await;
    let mut other = Member::new(&hub.connection);
    other.rebalance_ms = 200;
    other.join_once().await;
    let joining = tokio::task::spawn(async move { (other.join().await, other) });
    while !joining.is_finished() {
        // Alive, told to join, and not joining.
        slow.heartbeat().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (joined, mut other) = joining.await.unwrap();
    assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
    assert_eq!(slow.heartbeat().await, ResponseError::UnknownMemberId.code());
    // Nor may a leader that never sends its assignment hold the group up.
    slow.id.clear();
    slow.join_once().await;
    let joining = tokio::task::spawn(async move { (slow.join().await, slow) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    other.join().await;
    let (_, slow) = joining.await.unwrap();
    let answer = slow.sync(&[]).await;
    assert_eq!(answer.error_code, ResponseError::RebalanceInProgress.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_member_calls_the_others_to_join_and_its_pending_calls_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let (mut first, second) = two(&hub).await;
    assert_eq!(second.leave().await, 0);
    assert_eq!(first.heartbeat().await, ResponseError::RebalanceInProgress.code());
    assert_eq!(first.commit("t", 0, 3).await, 0, "what was done before the rebalance may be committed");
    assert_eq!(first.join().await.members.len(), 1);
    assert_eq!(first.generation, 3);
    assert_eq!(
        first.commit("t", 0, 4).await,
        ResponseError::RebalanceInProgress.code(),
        "before it has synced"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut first = Member::new(&hub.connection).named("one");
    assert_eq!(first.join_once().await.error_code, 0, "a static member needs no second round");
    first.sync(&[(first.id.clone(), vec![7])]).await;
    let mut again = Member::new(&hub.connection).named("one");
    let joined = again.join_once().await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_ne!(again.id, first.id);
    assert!(joined.members.is_empty(), "it syncs as a follower");
    assert_eq!(again.sync(&[]).await.assignment, vec![7], "and has what it had");
    let fenced = ResponseError::FencedInstanceId.code();
    assert_eq!(first.heartbeat().await, fenced);
    assert_eq!(first.sync(&[]).await.error_code, fenced);
    assert_eq!(first.commit("t", 0, 1).await, fenced);
    assert_eq!(first.join_once().await.error_code, fenced);
    assert_eq!(first.leave().await, fenced);
    assert_eq!(again.heartbeat().await, 0);
    let mut by_instance = again.clone();
    by_instance.id.clear();
    assert_eq!(by_instance.leave().await, 0, "an operator may remove it by its name alone");
    assert_eq!(again.heartbeat().await, ResponseError::UnknownMemberId.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_join_waits_for_others_where_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EngineConfig::new(folder.path().to_owned());
    config.initial_rebalance_delay = Duration::from_millis(300);
    let hub = Hub::open_with(config, TestClock::new()).await.unwrap();
    let begun = Instant::now();
    let joins: Vec<_> = (0..3)
        .map(|_| {
            let mut member = Member::new(&hub.connection);
            tokio::task::spawn(async move { member.join().await.generation_id })
        })
        .collect();
    for join in joins {
        assert_eq!(join.await.unwrap(), 1, "all are in the first generation");
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_committed_offsets_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let first = hub(folder.path()).await;
    let member = alone(&first).await;
    let commits: Vec<_> = (1..=50).map(|offset| member.commit("t", 2, offset)).collect();
    for commit in commits {
        assert_eq!(commit.await, 0);
    }
    assert_eq!(member.commit("t", 3, 7).await, 0);
    first.engine.close().await;
    drop(first);
    let hub = Hub::open(folder.path()).await;
    let mut again = Member::new(&hub.connection);
    assert_eq!((again.committed("t", 2).await, again.committed("t", 3).await), (50, 7));
    assert_eq!(again.committed("t", 0).await, -1);
    let all = OffsetFetchRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
    let all: OffsetFetchResponse = hub.call(all).await;
    assert_eq!(all.topics[0].partitions.len(), 2);
    assert_eq!(all.topics[0].partitions[0].metadata.as_deref(), Some("note"));
    // Members are not remembered: whoever was in the group joins anew.
    let mut old = member.clone();
    old.connection = hub.connection.clone();
    assert_eq!(old.heartbeat().await, ResponseError::UnknownMemberId.code());
    assert_eq!(old.commit("t", 2, 1).await, ResponseError::UnknownMemberId.code());
    again.join().await;
    assert_eq!(again.committed("t", 2).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_who_asks_for_an_offset_hears_of_commits_on_their_way() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let member = alone(&hub).await;
    for offset in 1..50 {
        // Both are submitted in this order before either is answered.
        let (code, committed) = tokio::join!(member.commit("t", 0, offset), member.committed("t", 0));
        assert_eq!((code, committed), (0, offset));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_waits_is_not_lost_when_its_caller_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path()).await;
    let mut first = alone(&hub).await;
    let mut second = Member::new(&hub.connection);
    second.join_once().await;
    drop(second.connection.call(Request::from(second.join_request())));
    assert_eq!(first.heartbeat().await, ResponseError::RebalanceInProgress.code());
    assert_eq!(first.join().await.members.len(), 2);
}
