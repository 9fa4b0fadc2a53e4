//! Limits of grants, and the memory for answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shuniu_exchange::{RegistryRefused, Settings};
use shuniu_ledger::Action;
use shuniu_model::{Clock, Timestamp};
use tokio_util::task::TaskTracker;

use crate::world::{
    Built, FETCH_VERSION, World, caller, deletion, fetch, fetch_all, fetch_request, seen, taken,
};

const PUBLISHER: &str = "civil-affairs";
const HALL: &str = "hall-yuzhong";

/// A clock that stands until it is told to go on.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000_000)))
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Arc::new(move || Timestamp::from_micros(hand.0.load(Ordering::SeqCst)))
    }

    fn go_on(&self, millis: i64) {
        self.0.fetch_add(millis * 1_000, Ordering::SeqCst);
    }
}

fn limited(limits: &'static str) -> impl Fn(String) -> String {
    move |text| {
        let id = "id = \"yuzhong-division\"";
        text.replace(id, &format!("{id}\nlimits = {{ {limits} }}"))
    }
}

/// Publishes batches of as many records each.
async fn publish(world: &World, batches: &[usize]) {
    for records in batches {
        let records = vec![Built { headers: Vec::new(), ..deletion("500103", Vec::new()) }; *records];
        assert_eq!(world.publish(PUBLISHER, "division", &records).await.error_code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_over_its_limit_is_answered_empty_with_the_time_to_wait_and_no_entry() {
    let hand = Hand::new();
    let world =
        World::start_with(Settings::default(), hand.clock(), limited("records_per_second = 100")).await;
    publish(&world, &[150, 150, 150]).await;
    let session = world.session(HALL).await;
    // No more batches than the limit allows for now, and a batch is never cut.
    assert_eq!(seen(&fetch(&session, "division", 0, 0).await).len(), 150);
    assert_eq!(world.drafts(Action::Delivered).len(), 1);
    // Fifty over: half a second, on every connection of the system, and whatever they would wait.
    for session in [session, world.session(HALL).await] {
        let answer = fetch_all(&session, &[("division", 150)], 20_000).await;
        assert_eq!((answer.throttle_time_ms, answer.error_code, answer.responses.len()), (501, 0, 0));
    }
    assert_eq!(world.drafts(Action::Delivered).len(), 1, "an empty answer is no delivery");
    hand.go_on(501);
    let session = world.session(HALL).await;
    assert_eq!(seen(&fetch(&session, "division", 150, 0).await).len(), 150);
    // A debt that takes longer is told a second at a time.
    hand.go_on(1_500);
    assert_eq!(seen(&fetch(&session, "division", 300, 0).await).len(), 150);
    let again = fetch_all(&session, &[("division", 450)], 0).await;
    assert_eq!(again.throttle_time_ms, 1_000);
    // Nobody else is held up.
    assert_eq!(seen(&world.fetch(PUBLISHER, "division", 0, 0).await).len(), 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_over_a_limit_are_told_a_second_at_a_time() {
    let hand = Hand::new();
    let world = World::start_with(Settings::default(), hand.clock(), limited("bytes_per_second = 20")).await;
    publish(&world, &[1, 1]).await;
    let session = world.session(HALL).await;
    let first = fetch(&session, "division", 0, 0).await;
    // The first batch is given however large; the second has no room.
    assert_eq!(seen(&first).len(), 1);
    assert!(first.records.unwrap().len() > 60);
    for _ in 0..2 {
        assert_eq!(fetch_all(&session, &[("division", 1)], 0).await.throttle_time_ms, 1_000);
        hand.go_on(1_000);
    }
    hand.go_on(3_000);
    assert_eq!(seen(&fetch(&session, "division", 1, 0).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_same_records_again_cannot_flood_the_audit_log() {
    let hand = Hand::new();
    let settings = Settings { deliveries_per_second: 1, ..Settings::default() };
    let world = World::start_with(settings, hand.clock(), |text| text).await;
    publish(&world, &[1]).await;
    let (one, other) = (world.session(HALL).await, world.session(HALL).await);
    for _ in 0..100 {
        fetch_all(&one, &[("division", 0)], 0).await;
        fetch_all(&other, &[("division", 0)], 0).await;
    }
    assert_eq!(world.drafts(Action::Delivered).len(), 60, "a minute's worth at once");
    for _ in 0..10 {
        hand.go_on(1_001);
        for _ in 0..10 {
            fetch_all(&one, &[("division", 0)], 0).await;
        }
    }
    let entries = world.drafts(Action::Delivered).len();
    assert!((70..=71).contains(&entries), "and then one a second: {entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_over_its_limit_does_not_hold_up_another_of_the_same_fetch() {
    let hand = Hand::new();
    let world = World::start_with(Settings::default(), hand.clock(), limited("records_per_second = 1")).await;
    publish(&world, &[5]).await;
    let session = world.session(HALL).await;
    assert_eq!(seen(&fetch(&session, "division", 0, 0).await).len(), 5);
    publish(&world, &[5]).await;
    let answer = fetch_all(&session, &[("division", 5), ("population", 0)], 0).await;
    assert_eq!(answer.throttle_time_ms, 0);
    // Every partition is answered, and clients are not told that they are at the end.
    let mut ends: Vec<_> = answer
        .responses
        .iter()
        .map(|topic| {
            let data = &topic.partitions[0];
            let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
            (topic.topic.to_string(), data.error_code, data.high_watermark, data.last_stable_offset, bytes)
        })
        .collect();
    ends.sort();
    assert_eq!(ends[0], ("division".to_owned(), 0, 10, 10, 0));
    assert_eq!((ends[1].0.as_str(), ends[1].1, ends[1].2), ("population", 0, 0));
    // A refused topic is told at once, also when all others are over their limits.
    let refused = fetch_all(&session, &[("division", 5), ("legal-person", 0)], 0).await;
    assert_eq!((refused.throttle_time_ms, refused.responses.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_asks_for_schemas_too_often_is_told_when_to_come_back() {
    let hand = Hand::new();
    let settings = Settings { registry_requests_per_second: 1, ..Settings::default() };
    let world = World::start_with(settings, hand.clock(), |text| text).await;
    let mut served = 0;
    let refused = loop {
        match world.exchange.registry(&caller(HALL)).await {
            Ok(_) => served += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(served, 60);
    assert!(matches!(refused, RegistryRefused::Throttled(_)), "{refused}");
    assert_eq!(refused.retry_after_seconds(), Some(1));
    assert!(world.exchange.registry(&caller("hall-jiangbei")).await.is_ok());
    hand.go_on(1_001);
    assert!(world.exchange.registry(&caller(HALL)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_answers_that_nobody_takes_keep_no_memory_from_other_systems() {
    let settings =
        Settings { answers_bytes_max: 8 << 20, answers_bytes_per_system_max: 4 << 20, ..Settings::default() };
    let world = World::start_with(settings, Hand::new().clock(), |text| text).await;
    // One uncompressed batch of almost a megabyte; its answer is as large.
    let records = vec![Built { headers: Vec::new(), ..deletion(&"x".repeat(1_000), Vec::new()) }; 950];
    let sent = crate::world::batch_in(shuniu_wire::batch::Compression::None, &records);
    assert_eq!(world.publish_bytes(PUBLISHER, "division", sent).await.error_code, 0);
    let session = world.session(HALL).await;
    let mut untaken = Vec::new();
    loop {
        let answer =
            session.fetch(fetch_request(&[("division", 0)], 0), FETCH_VERSION, 7, &|_| None).await.unwrap();
        if !answer.throttle().is_zero() {
            let told = taken(answer).await;
            assert!(told.throttle_time_ms > 0 && told.responses.is_empty(), "{told:?}");
            break;
        }
        untaken.push(answer);
        assert!(untaken.len() < 10, "answers take memory without bound");
    }
    // Another system is served meanwhile, and a fetch that waits for records takes nothing.
    assert_eq!(seen(&world.fetch(PUBLISHER, "division", 0, 0).await).len(), 950);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let exchange = Arc::clone(&world.exchange);
            async move {
                let session = exchange.session(caller(PUBLISHER), crate::world::NODE).await.unwrap();
                fetch(&session, "division", 950, 20_000).await
            }
        })
        .collect();
    let waiting = TaskTracker::new().spawn(futures_util::future::join_all(waiting));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(seen(&world.fetch(PUBLISHER, "division", 0, 0).await).len(), 950);
    publish(&world, &[1]).await;
    let woken = waiting.await.unwrap();
    assert!(woken.iter().all(|data| seen(data).len() == 1), "each got the record that it waited for");
    // What was taken or dropped is there for the next.
    untaken.clear();
    assert_eq!(seen(&fetch(&session, "division", 0, 0).await).len(), 951);
}
