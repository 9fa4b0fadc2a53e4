//! The write path.

use std::time::{Duration, Instant};

use shuniu_broker::memory::Failure;
use shuniu_ledger::{Actor, Outcome};
use shuniu_model::SystemId;

use crate::support::{
    APPEND_MAX, World, entries, leaves, note, open, options, refusal, refusal_of, text, until,
};

#[tokio::test]
async fn p3_a_receipt_is_given_only_for_what_is_on_the_topic() {
    let world = World::new().await;
    for number in 0..20 {
        let receipt = world.log.append(note(&number.to_string())).await.unwrap();
        let held = entries(&world.store);
        assert_eq!(held.last().unwrap().id, receipt.id);
        assert_eq!(receipt.offset, Some(number));
    }
}

#[tokio::test]
async fn all_callers_of_the_moment_share_batches_and_keep_their_order() {
    let world = World::new().await;
    let appends = (0..500).map(|number| {
        let log = world.log.clone();
        async move { log.append(note(&number.to_string())).await.unwrap() }
    });
    futures_util::future::join_all(appends).await;
    let held = entries(&world.store);
    assert_eq!(
        held.iter().map(text).collect::<Vec<_>>(),
        (0..500).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert!(world.store.stored(shuniu_archive::AUDIT_TOPIC, 0).len() < 50);
}

#[tokio::test]
async fn p3_while_the_log_is_down_nothing_is_receipted_and_it_recovers_by_itself() {
    let world = World::new().await;
    world.log.append(note("before")).await.unwrap();
    for failure in [Failure::Full, Failure::Down, Failure::AnswersLost, Failure::Hangs] {
        world.store.fail(failure);
        let started = Instant::now();
        world.log.append(note("under way")).await.unwrap_err();
        assert!(started.elapsed() < APPEND_MAX + Duration::from_millis(200), "{failure:?}");
        until("down is known", || world.log.down().is_some()).await;
        let started = Instant::now();
        world.log.append(note("later")).await.unwrap_err();
        assert!(started.elapsed() < APPEND_MAX / 2, "{failure:?}");
        world.store.fail(Failure::None);
        until("the log is up", || world.log.down().is_none()).await;
        world.log.append(note("after")).await.unwrap();
    }
    let held = entries(&world.store);
    let texts: Vec<_> = held.iter().map(text).collect();
    // What was under way is written late, once; what came later was never taken in.
    assert_eq!(texts, [["before"].as_slice(), ["under way", "after"].repeat(4).as_slice()].concat());
}

#[tokio::test]
async fn a_full_disk_is_said_at_once() {
    let world = World::new().await;
    world.store.fail(Failure::Full);
    let started = Instant::now();
    assert!(world.log.append(note("x")).await.unwrap_err().to_string().contains("no space left"));
    assert!(started.elapsed() < APPEND_MAX / 2);
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_stands_once() {
    let world = World::new().await;
    for round in 0..5 {
        world.store.fail(Failure::AnswersLost);
        let append = world.log.append(note(&round.to_string()));
        let cure = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.store.fail(Failure::None);
        };
        let (receipt, ()) = tokio::join!(append, cure);
        receipt.unwrap();
    }
    assert_eq!(entries(&world.store).len(), 5);
}

#[tokio::test]
async fn a_store_that_forgot_the_producer_is_asked_what_it_has() {
    let world = World::new().await;
    world.log.append(note("0")).await.unwrap();
    // Forgotten between two appends: the second is not there, and is written by another producer.
    world.store.forget_producers();
    world.log.append(note("1")).await.unwrap();
    // Forgotten while an answer is lost: it is there, and is not written again.
    world.store.fail(Failure::AnswersLost);
    let append = world.log.append(note("2"));
    let forget = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        world.store.forget_producers();
        world.store.fail(Failure::None);
    };
    let (receipt, ()) = tokio::join!(append, forget);
    receipt.unwrap();
    world.log.append(note("3")).await.unwrap();
    assert_eq!(entries(&world.store).iter().map(text).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn an_entry_that_does_not_fit_leaves_no_gap() {
    let world = World::new().await;
    let mut long = note("long");
    long.target = Some("x".repeat(70_000));
    world.log.append_all(vec![note("never"), long]).await.unwrap_err();
    world.log.append(note("after")).await.unwrap();
    assert_eq!(entries(&world.store).iter().map(text).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test]
async fn many_drafts_of_one_caller_are_several_batches() {
    let world = World::new().await;
    let mut drafts = vec![note("x"); 40];
    drafts.iter_mut().for_each(|draft| draft.target = Some("y".repeat(60_000)));
    let receipts = world.log.append_all(drafts).await.unwrap();
    assert_eq!(receipts.len(), 40);
    assert_eq!(receipts[39].id.sequence, 39);
    assert_eq!(entries(&world.store).len(), 40);
    assert!(world.store.stored(shuniu_archive::AUDIT_TOPIC, 0).len() > 1);
}

#[tokio::test]
async fn equal_refusals_are_the_first_and_one_counted_entry() {
    let world = World::new().await;
    for port in 0..1_000 {
        world.log.refuse(refusal("fetch population", port));
    }
    world.log.refuse(refusal("fetch legal-person", 1));
    until("both are counted", || leaves(&world.store).len() == 3).await;
    let held = entries(&world.store);
    let told: Vec<_> = held
        .iter()
        .map(|entry| (entry.draft.target.as_deref().unwrap(), entry.draft.count.unwrap()))
        .collect();
    assert_eq!(told, [("fetch population", 1), ("fetch legal-person", 1), ("fetch population", 999)]);
    assert!(held.iter().all(|entry| entry.draft.outcome == Outcome::Refused));
    assert!(held[2].draft.since.unwrap() <= held[2].time.as_micros());
}

#[tokio::test]
async fn a_flood_of_different_refusals_is_bounded() {
    let world = World::new().await;
    for number in 0..20_000 {
        world.log.refuse(refusal(&format!("fetch {number}"), 1));
        if number % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let store = world.close().await;
    let held = entries(&store);
    assert!(held.len() < 6_000, "{}", held.len());
    assert_eq!(held.iter().map(|entry| entry.draft.count.unwrap()).sum::<u64>(), 20_000);
}

#[tokio::test]
async fn p7_a_flood_of_invented_names_hides_no_probe_of_its_own_or_of_another_system() {
    let world = World::new().await;
    let system = |name: &str| Actor::system(None, SystemId::parse(name).unwrap(), "1");
    for number in 0..20_000 {
        let asked = format!("metadata invented-{number}");
        world.log.refuse(refusal_of(system("flooder"), &asked, "unknown-resource", 1));
        if number % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    for name in ["flooder", "other"] {
        world.log.refuse(refusal_of(system(name), "metadata population", "no-grant", 1));
        world.log.refuse(refusal_of(system(name), "metadata legal-person", "no-grant", 1));
    }
    let store = world.close().await;
    let held = entries(&store);
    let of = |name: &str, target: &str| {
        let system = SystemId::parse(name).unwrap();
        held.iter()
            .filter(|entry| {
                entry.draft.actor.system.as_ref() == Some(&system)
                    && entry.draft.target.as_deref() == Some(target)
            })
            .count()
    };
    for name in ["flooder", "other"] {
        assert_eq!((of(name, "metadata population"), of(name, "metadata legal-person")), (1, 1), "{name}");
    }
    assert!(held.iter().all(|entry| entry.draft.actor.system.is_some()), "no entry is nobody's");
    assert!(held.len() < 500, "{}", held.len());
    assert_eq!(held.iter().map(|entry| entry.draft.count.unwrap()).sum::<u64>(), 20_004);
}

#[tokio::test]
async fn p7_refusals_while_the_log_is_down_are_spooled_and_written_when_it_is_up() {
    let world = World::new().await;
    world.store.fail(Failure::Full);
    for number in 0..100 {
        world.log.refuse(refusal(&format!("fetch {number}"), 1));
    }
    let spool = world.folder.path().join("refusals");
    until("they are spooled", || std::fs::metadata(&spool).unwrap().len() > 3_000).await;
    assert!(std::fs::metadata(&spool).unwrap().len() <= 4_000);
    world.store.fail(Failure::None);
    let count = || entries(&world.store).iter().map(|entry| entry.draft.count.unwrap()).sum::<u64>();
    until("all are written", || count() >= 100).await;
    until("the spool is empty", || std::fs::metadata(&spool).unwrap().len() == 0).await;
    let store = world.close().await;
    assert_eq!(entries(&store).iter().map(|entry| entry.draft.count.unwrap()).sum::<u64>(), 100);
}

#[tokio::test]
async fn p7_a_refusal_that_the_writer_has_when_the_log_goes_down_stands_there_once() {
    for failure in [Failure::Full, Failure::Down, Failure::AnswersLost, Failure::Hangs] {
        let world = World::new().await;
        let spool = world.folder.path().join("refusals");
        let spooled = || std::fs::metadata(&spool).unwrap().len();
        world.store.fail(failure);
        world.log.refuse(refusal("fetch a", 1));
        until("the first is spooled", || spooled() > 0).await;
        let first = spooled();
        world.log.refuse(refusal("fetch b", 1));
        until("the second is spooled", || spooled() > first).await;
        world.store.fail(Failure::None);
        until("the spool is empty", || spooled() == 0).await;
        world.log.refuse(refusal("fetch c", 1));
        let store = world.close().await;
        let held = entries(&store);
        let told: Vec<_> = held.iter().map(|entry| entry.draft.target.as_deref().unwrap()).collect();
        assert_eq!(told, ["fetch a", "fetch b", "fetch c"], "{failure:?}");
    }
}

#[tokio::test]
async fn p7_a_hub_that_ends_while_the_log_comes_back_writes_each_refusal_once() {
    for wait_ms in [0, 5, 50, 150, 250, 400] {
        let world = World::new().await;
        let (folder, spool) = (world.folder.path().to_owned(), world.folder.path().join("refusals"));
        world.store.fail(Failure::Full);
        world.log.refuse(refusal("fetch a", 1));
        until("it is spooled", || std::fs::metadata(&spool).unwrap().len() > 0).await;
        world.store.fail(Failure::None);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        world.cancel.cancel();
        world.tracker.close();
        world.tracker.wait().await;
        let (_log, tracker, cancel) = open(&world.store, options(&folder, 2)).await;
        until("the spool is empty", || std::fs::metadata(&spool).unwrap().len() == 0).await;
        cancel.cancel();
        tracker.close();
        tracker.wait().await;
        assert_eq!(entries(&world.store).len(), 1, "after {wait_ms} ms");
    }
}

#[tokio::test]
async fn what_an_earlier_run_spooled_is_written_by_the_next() {
    let world = World::new().await;
    world.store.fail(Failure::Full);
    world.log.refuse(refusal("fetch a", 1));
    let spool = world.folder.path().join("refusals");
    until("it is spooled", || std::fs::metadata(&spool).unwrap().len() > 0).await;
    world.cancel.cancel();
    world.tracker.close();
    world.tracker.wait().await;
    // A crash in the middle of a line.
    let mut cut = std::fs::read(&spool).unwrap();
    cut.extend_from_slice(b"{\"action\":\"ref");
    std::fs::write(&spool, cut).unwrap();
    world.store.fail(Failure::None);
    let (_log, _tracker, _cancel) = open(&world.store, options(world.folder.path(), 2)).await;
    until("it is written", || entries(&world.store).iter().any(|entry| entry.draft.since.is_some())).await;
}
