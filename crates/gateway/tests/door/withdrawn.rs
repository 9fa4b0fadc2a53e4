//! P6 at this door: what is withdrawn stops on connections that are open already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shuniu_wire::messages::{FetchResponse, MetadataRequest, MetadataResponse};
use tokio::io::AsyncReadExt;

use crate::client::{Client, LONG, Open};
use crate::records::{fetch, large_answers, publish_megabytes, whole_permit};
use crate::world::{Believes, Claim, World, second_after_begin, seconds_after_begin};

/// The policy is asked for every 250 ms; P6 promises a second.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_silent_connection_is_reset_when_its_certificate_is_revoked() {
    let open = Open::new().await;
    let certificate = open.world.authority.issue(&Claim::of("hall"));
    let mut hall = open.client_with(&certificate).await;
    let mut other = open.client("hall").await;
    let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    let _: MetadataResponse = other.ask(9, MetadataRequest::default().with_topics(None)).await;
    open.world.revoke_certificate(&certificate.serial).await;
    let revoked = Instant::now();
    let error = hall.frame().await.unwrap_err();
    assert!(revoked.elapsed() < STOPPED_WITHIN, "{:?}", revoked.elapsed());
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // The same system with another certificate goes on.
    let _: MetadataResponse = other.ask(9, MetadataRequest::default().with_topics(None)).await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_an_open_connection_is_reset_when_its_certificate_ends() {
    let begin = Instant::now();
    let open = Open::new().await;
    let claim = Claim { last_second: Some(second_after_begin(3)), ..Claim::of("hall") };
    let mut hall = open.client_with(&open.world.authority.issue(&claim)).await;
    let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    let error = hall.frame().await.unwrap_err();
    let lasted = begin.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(5)).contains(&lasted), "{lasted:?}");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_an_open_connection_is_reset_when_its_authority_is_no_longer_trusted() {
    let open = Open::new().await;
    let mut hall = open.client("hall").await;
    let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    // Trusted still: nothing happens to it.
    open.world.trust.send_replace(Arc::new(Believes(true)));
    let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    open.world.trust.send_replace(Arc::new(Believes(false)));
    let distrusted = Instant::now();
    let error = hall.frame().await.unwrap_err();
    assert!(distrusted.elapsed() < STOPPED_WITHIN, "{:?}", distrusted.elapsed());
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_fetch_that_waits_is_answered_without_records_when_its_grant_is_revoked() {
    let open = Open::new().await;
    let mut hall = open.client("hall").await;
    let (api, id) = hall.send(12, fetch("shop", 0, 20_000)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.world.revoke_grant("hall-shop").await;
    let revoked = Instant::now();
    let response: FetchResponse = hall.answer(api, 12, id).await;
    assert!(revoked.elapsed() < STOPPED_WITHIN, "{:?}", revoked.elapsed());
    assert_eq!(response.responses[0].partitions[0].error_code, 29);
    open.world.close().await;
}

/// Publishes some megabytes, and gives a client an answer under way that it has begun to take.
async fn answer_under_way(open: &Open) -> Client {
    publish_megabytes(open, "permit", 14).await;
    let mut hall = open.client("hall").await;
    hall.send(12, fetch("permit", 0, 1_000)).await;
    assert!(hall.stream.read_i32().await.unwrap() > 10_000_000);
    hall
}

/// The answer was reset although its client took nothing since, and most of it never comes.
async fn was_cut(hall: &mut Client) {
    let error = hall.stream.get_ref().0.take_error().unwrap();
    assert_eq!(error.map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionReset));
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = tokio::time::timeout(LONG, hall.stream.read(&mut buffer)).await.unwrap() {
        taken += read;
    }
    assert!(taken < 13_000_000, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_response_under_way_is_cut_by_a_reset_when_its_grant_is_revoked() {
    let open = Open::of(World::with(large_answers(), &whole_permit("2099-12-31")).await, |_| {}).await;
    let mut hall = answer_under_way(&open).await;
    open.world.revoke_grant("hall-permit").await;
    tokio::time::sleep(STOPPED_WITHIN).await;
    was_cut(&mut hall).await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_response_under_way_is_cut_by_a_reset_when_its_grant_ends() {
    let grant = whole_permit(&seconds_after_begin(8));
    let begin = Instant::now();
    let open = Open::of(World::with(large_answers(), &grant).await, |_| {}).await;
    let mut hall = answer_under_way(&open).await;
    assert!(begin.elapsed() < Duration::from_secs(7), "this machine is too slow for this test");
    tokio::time::sleep(Duration::from_secs(9).saturating_sub(begin.elapsed())).await;
    was_cut(&mut hall).await;
    open.world.close().await;
}
