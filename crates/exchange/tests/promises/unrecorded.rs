//! Records that stand on a topic and not on the audit log: what a hub leaves that dies between the two. Their producer may
//! send them again, or another hub may find them.

use std::time::Duration;

use bytes::Bytes;
use shuniu_archive::LogReader;
use shuniu_broker::memory::Failure;
use shuniu_exchange::{Covered, RecoverError};
use shuniu_ledger::Action;
use shuniu_wire::messages::ResponseError;

use crate::REGISTER;
use crate::world::{Built, World, batch_of, citizen, person, put};

const PRODUCER: i64 = 4_711;
const TOPIC: &str = "population";

fn row(schema: u32, n: u32) -> Built {
    put(&citizen(n), person(schema, &citizen(n), "张三", Some("500103")), Vec::new())
}

/// A batch of the producer, three records from a sequence on.
fn batch(schema: u32, sequence: i32) -> Bytes {
    let first = u32::try_from(sequence).unwrap();
    batch_of((PRODUCER, 0, sequence), &[0, 1, 2].map(|n| row(schema, first + n)))
}

fn covered(log: &LogReader) -> Covered {
    let mut covered = Covered::default();
    covered.advance(log).unwrap();
    covered
}

/// Appends batches of the producer, and many of others behind them, without entries.
async fn appended(world: &World, schema: u32, batches: i32) {
    for number in 0..batches {
        world.append_bytes_unrecorded(TOPIC, batch(schema, 3 * number)).await;
    }
    for n in 0..100 {
        world.append_unrecorded(TOPIC, &[row(schema, 100 + n)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_batch_that_is_answered_with_its_first_offset_has_its_entry_before() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, TOPIC).await;
    appended(&world, schema, 2).await;
    let answer = world.publish_bytes(REGISTER, TOPIC, batch(schema, 3)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 3));
    let published = &world.drafts(Action::Published)[0];
    assert_eq!((published.ranges[0].first(), published.ranges[0].last()), (3, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_batch_whose_place_the_store_has_forgotten_is_acknowledged_with_its_entry_and_its_offset() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, TOPIC).await;
    // As it is recorded where nothing went wrong.
    assert_eq!(world.publish_bytes(REGISTER, TOPIC, batch(schema, 0)).await.base_offset, 0);
    world.append_bytes_unrecorded(TOPIC, batch(schema, 3)).await;
    for n in 0..100 {
        world.append_unrecorded(TOPIC, &[row(schema, 100 + n)]).await;
    }
    // Answered DUPLICATE_SEQUENCE_NUMBER.
    world.records.forget_places();
    for (sequence, offset) in [(0, 0), (3, 3)] {
        let answer = world.publish_bytes(REGISTER, TOPIC, batch(schema, sequence)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, offset), "{answer:?}");
    }
    // Answered OUT_OF_ORDER_SEQUENCE_NUMBER.
    world.records.forget_producers();
    let answer = world.publish_bytes(REGISTER, TOPIC, batch(schema, 3)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 3), "{answer:?}");
    let published = world.drafts(Action::Published);
    assert_eq!(published.len(), 4);
    assert_eq!(published[1], published[0], "it is the entry that the usual way writes");
    assert_eq!(published[2].ranges[0].offsets().collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(published[2].subjects.as_ref().unwrap().iter().count(), 3, "a trace finds them");
    assert_eq!(published[3], published[2]);
    // It stands there once.
    assert_eq!(world.records.stored(TOPIC, 0).len(), 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_batch_whose_place_is_not_found_is_not_acknowledged() {
    const RETRIABLE: i16 = ResponseError::KafkaStorageError.code();
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, TOPIC).await;
    appended(&world, schema, 3).await;
    world.records.forget_places();
    // Other records under the sequence of those that are there.
    let other = batch_of((PRODUCER, 0, 3), &[7, 8, 9].map(|n| row(schema, n)));
    assert_eq!(world.publish_bytes(REGISTER, TOPIC, other).await.error_code, RETRIABLE);
    // Not on every in-sync replica: it may be lost yet.
    world.records.show_until(TOPIC, 0, Some(3));
    assert_eq!(world.publish_bytes(REGISTER, TOPIC, batch(schema, 3)).await.error_code, RETRIABLE);
    world.records.show_until(TOPIC, 0, None);
    // Without an entry.
    world.audit.fail(Failure::Full);
    assert_eq!(world.publish_bytes(REGISTER, TOPIC, batch(schema, 3)).await.error_code, RETRIABLE);
    assert!(world.drafts(Action::Published).is_empty());
    world.audit.fail(Failure::None);
    // Gone from the partition.
    world.records.forget_before(TOPIC, 0, 6);
    assert_eq!(world.publish_bytes(REGISTER, TOPIC, batch(schema, 3)).await.error_code, RETRIABLE);
    // A batch that was never there leaves a gap, which its producer must hear of.
    world.records.forget_producers();
    let ahead = world.publish_bytes(REGISTER, TOPIC, batch(schema, 12)).await;
    assert_eq!(ahead.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    let published = world.drafts(Action::Published);
    assert!(published.iter().all(|draft| draft.ranges[0].last() == 5), "{published:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_whoever_repeats_batches_again_and_again_makes_no_endless_search() {
    const MIB: usize = 1 << 20;
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, TOPIC).await;
    appended(&world, schema, 2).await;
    // More than one search reads.
    let long = batch_of((-1, -1, -1), &[Built { value: Some(noise(900_000)), ..row(schema, 1) }]);
    for _ in 0..50 {
        world.append_bytes_unrecorded(TOPIC, long.clone()).await;
    }
    world.records.forget_places();
    let began = std::time::Instant::now();
    let repeat = async || world.publish_bytes(REGISTER, TOPIC, batch(schema, 0)).await.error_code;
    assert_eq!(repeat().await, ResponseError::KafkaStorageError.code());
    let once = world.records.bytes_fetched();
    assert!((31 * MIB..34 * MIB).contains(&once), "{once}");
    for _ in 0..20 {
        assert_eq!(repeat().await, ResponseError::KafkaStorageError.code());
    }
    let all = world.records.bytes_fetched();
    // A minute's worth at once, and no more over time.
    let over_time = 4 * MIB * (1 + usize::try_from(began.elapsed().as_secs()).unwrap());
    assert!((239 * MIB..243 * MIB + over_time).contains(&all), "{all}");
    // Who publishes something new is held up by none of it.
    assert_eq!(world.publish(REGISTER, TOPIC, &[row(schema, 5)]).await.error_code, 0);
}

/// Bytes that no codec makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_leader_that_is_behind_does_not_make_records_pass_for_compacted() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, TOPIC).await;
    world.append_unrecorded(TOPIC, &[row(schema, 1), row(schema, 2)]).await;
    world.append_unrecorded(TOPIC, &[row(schema, 3), row(schema, 4), row(schema, 5)]).await;
    let ends = world.exchange.ends().await.unwrap();
    let nothing = Covered::default();
    // Another leads, and does not know yet how far the others are.
    world.records.show_until(TOPIC, 0, Some(2));
    let error = world.exchange.recover(&nothing, &ends).await.unwrap_err();
    assert!(error.to_string().contains("looked at again later"), "{error}");
    let recovered = world.drafts(Action::Recovered);
    assert!(recovered.iter().all(|draft| draft.compacted.is_empty()), "{recovered:?}");
    // It hears of it meanwhile.
    let log = tempfile::tempdir().unwrap();
    let known = covered(&world.sequenced(log.path()).await);
    let heard = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.records.show_until(TOPIC, 0, None);
    };
    let (recovering, ()) = tokio::join!(world.exchange.recover(&known, &ends), heard);
    assert_eq!(recovering.unwrap(), 3);
    let recovered = world.drafts(Action::Recovered);
    assert!(recovered.iter().all(|draft| draft.compacted.is_empty()), "{recovered:?}");
    let offsets: Vec<_> = recovered.iter().flat_map(|draft| draft.ranges[0].offsets()).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_records_that_a_crash_left_without_an_entry_get_one_at_the_next_start() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = |n| row(schema, n);
    world.publish(REGISTER, "population", &[row(1), row(2)]).await;
    // As a hub leaves it that dies between the record store's answer and the audit log's.
    world.append_unrecorded("population", &[row(3), row(4), row(5)]).await;
    let log = tempfile::tempdir().unwrap();
    let ends = world.exchange.ends().await.unwrap();
    let before = covered(&world.sequenced(log.path()).await);
    assert_eq!(world.exchange.recover(&before, &ends).await.unwrap(), 3);
    let recovered = world.drafts(Action::Recovered);
    assert_eq!(recovered.len(), 1);
    assert_eq!((recovered[0].ranges[0].first(), recovered[0].ranges[0].last()), (2, 4));
    assert_eq!(recovered[0].schemas, [schema]);
    assert_eq!(recovered[0].subjects.as_ref().unwrap().iter().count(), 3, "a trace finds them");
    // Nothing is left to recover, and what is published meanwhile is not recovered too.
    world.publish(REGISTER, "population", &[row(6)]).await;
    let after = covered(&world.sequenced(log.path()).await);
    assert_eq!(world.exchange.recover(&after, &ends).await.unwrap(), 0);
    world.exchange.nothing_lost(&after, &world.exchange.ends().await.unwrap()).unwrap();
    // Where the topic ends before what is on the log, records are gone, and that is said.
    let lost = world.exchange.nothing_lost(&after, &ends);
    assert!(matches!(lost, Err(RecoverError::Lost { end: 5, last: 5, .. })), "{lost:?}");
}
