//! Six members join and leave while they consume: each record is consumed and committed exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shuniu_engine::EngineConfig;
use shuniu_wire::Request;
use shuniu_wire::messages::{FetchResponse, JoinGroupResponse, ResponseError};

use crate::member::{Member, owned, share};
use crate::support::*;

const PARTITIONS: u8 = 6;
const RECORDS: i64 = 200;

#[derive(Default)]
struct Seen {
    /// Partition and offset of what was consumed and then committed.
    committed: Mutex<Vec<(u8, i64)>>,
    rebalances: AtomicUsize,
    all_done: AtomicBool,
}

struct Consumer {
    member: Member,
    cooperative: bool,
    /// What it owns, and where it is in it.
    positions: BTreeMap<u8, i64>,
    seen: Arc<Seen>,
}

impl Consumer {
    async fn rejoin(&mut self) {
        loop {
            if !self.cooperative {
                self.positions.clear();
            }
            let held: Vec<u8> = self.positions.keys().copied().collect();
            self.member.protocols = vec![("test", held)];
            let before = self.member.id.clone();
            let joined = self.member.join().await;
            if self.member.id != before {
                // Given up in between: what it held may be somebody else's by now.
                self.positions.clear();
            }
            self.seen.rebalances.fetch_add(1, Ordering::Relaxed);
            let shares = self.shares(&joined);
            let synced = self.member.sync(&shares).await;
            match ResponseError::try_from_code(synced.error_code) {
                None => {
                    if self.take(&synced.assignment).await {
                        return;
                    }
                }
                Some(
                    ResponseError::RebalanceInProgress
                    | ResponseError::UnknownMemberId
                    | ResponseError::IllegalGeneration,
                ) => {}
                Some(code) => panic!("sync: {code:?}"),
            }
        }
    }

    fn shares(&self, joined: &JoinGroupResponse) -> Vec<(String, Vec<u8>)> {
        if joined.leader.as_str() != self.member.id || joined.members.is_empty() {
            return Vec::new();
        }
        share(&owned(joined), PARTITIONS, self.cooperative)
    }

    /// False if something had to be given up, which others can have only after another rebalance.
    async fn take(&mut self, assignment: &[u8]) -> bool {
        let assigned: BTreeSet<u8> = assignment.iter().copied().collect();
        let held = self.positions.len();
        self.positions.retain(|partition, _| assigned.contains(partition));
        let gave_up = self.positions.len() < held;
        for partition in assigned {
            if !self.positions.contains_key(&partition) {
                let offset = self.member.committed("t", i32::from(partition)).await.max(0);
                self.positions.insert(partition, offset);
            }
        }
        !(self.cooperative && gave_up)
    }

    /// Consumes until everything is done, or `until`.
    async fn run(&mut self, until: Instant) {
        self.rejoin().await;
        while !self.seen.all_done.load(Ordering::Relaxed) && Instant::now() < until {
            match ResponseError::try_from_code(self.member.heartbeat().await) {
                None => {}
                Some(ResponseError::RebalanceInProgress) => {
                    self.consume().await;
                    self.rejoin().await;
                }
                Some(ResponseError::UnknownMemberId | ResponseError::IllegalGeneration) => {
                    self.positions.clear();
                    self.rejoin().await;
                }
                Some(code) => panic!("heartbeat: {code:?}"),
            }
            self.consume().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn consume(&mut self) {
        for (partition, position) in &mut self.positions {
            let request = fetch("t", i32::from(*partition), *position, 0, 150);
            let response = self.member.connection.call(Request::from(request)).await.unwrap();
            let response = FetchResponse::try_from(response).unwrap();
            let data = &response.responses[0].partitions[0];
            let (records, _) = decode(data.records.as_ref().unwrap());
            let fresh: Vec<i64> =
                records.iter().map(|record| record.offset).filter(|offset| offset >= position).collect();
            let Some(last) = fresh.last() else { continue };
            if self.member.commit("t", i32::from(*partition), last + 1).await == 0 {
                *position = last + 1;
                let mut committed = self.seen.committed.lock().unwrap();
                committed.extend(fresh.into_iter().map(|offset| (*partition, offset)));
                let all = RECORDS as usize * usize::from(PARTITIONS);
                self.seen.all_done.store(committed.len() >= all, Ordering::Relaxed);
            }
        }
    }
}

async fn churn(cooperative: bool, instances: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EngineConfig::new(folder.path().to_owned());
    config.session_timeout_min = Duration::from_millis(10);
    let hub = Hub::open_with(config, TestClock::new()).await.unwrap();
    hub.create("t", i32::from(PARTITIONS), &[]).await;
    let seen = Arc::new(Seen::default());
    let consumers: Vec<_> = (0..6_u64)
        .map(|n| {
            let (connection, seen) = (Arc::clone(&hub.connection), Arc::clone(&seen));
            tokio::task::spawn(async move {
                let mut life = 0_u64;
                while !seen.all_done.load(Ordering::Relaxed) {
                    life += 1;
                    let mut member = Member::new(&connection);
                    member.session_ms = 150;
                    member.rebalance_ms = 2_000;
                    if instances {
                        member = member.named(&format!("instance-{n}"));
                    }
                    let mut consumer =
                        Consumer { member, cooperative, positions: BTreeMap::new(), seen: Arc::clone(&seen) };
                    // Lives of different lengths; every third ends without a word.
                    let length = Duration::from_millis(150 + (n * 37 + life * 53) % 250);
                    consumer.run(Instant::now() + length).await;
                    if !(n + life).is_multiple_of(3) {
                        consumer.member.leave().await;
                    }
                }
            })
        })
        .collect();
    for n in 0..RECORDS {
        for partition in 0..PARTITIONS {
            let value = format!("{partition}-{n}");
            hub.produce("t", i32::from(partition), Batch::of(&[&value]).bytes()).await;
        }
    }
    let begun = Instant::now();
    for consumer in consumers {
        let left = Duration::from_secs(60).saturating_sub(begun.elapsed());
        tokio::time::timeout(left, consumer).await.expect("the group does not get on").unwrap();
    }
    let committed = seen.committed.lock().unwrap().clone();
    let distinct: BTreeSet<(u8, i64)> = committed.iter().copied().collect();
    assert_eq!(distinct.len(), committed.len(), "none twice");
    let all = (0..PARTITIONS).flat_map(|partition| (0..RECORDS).map(move |offset| (partition, offset)));
    assert_eq!(distinct, all.collect(), "none lost");
    assert!(seen.rebalances.load(Ordering::Relaxed) > 12, "there was churn");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_six_members_joining_and_leaving_lose_nothing_and_repeat_nothing_eager() {
    churn(false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_six_members_joining_and_leaving_lose_nothing_and_repeat_nothing_cooperative() {
    churn(true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_six_members_joining_and_leaving_lose_nothing_and_repeat_nothing_static() {
    churn(false, true).await;
}
