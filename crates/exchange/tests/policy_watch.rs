//! How the policy in force is followed, and what becomes of it when the database falls silent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../tests/src/postgres.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "shared with other packages; each uses what it needs"
)]
mod postgres;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use shuniu_exchange::PolicyWatch;
use shuniu_model::{Clock, Timestamp};
use shuniu_store::{Change, Database, DatabaseSettings, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

async fn start() -> (tempfile::TempDir, Store, PolicyWatch, CancellationToken) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
    let clock: Clock = Arc::new(|| Timestamp::from_micros(1_800_000_000_000_000));
    let cancel = CancellationToken::new();
    let watch = PolicyWatch::start(store.clone(), clock, &TaskTracker::new(), cancel.clone()).await.unwrap();
    (folder, store, watch, cancel)
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_what_another_process_writes_is_in_force_within_a_second() {
    let (folder, _store, watch, cancel) = start().await;
    let before = watch.snapshot().version();
    let mut changes = watch.changes();
    let elsewhere = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
    let revoke = Change::RevokeCertificate { serial: "ab12".into(), reason: "lost".into() };
    elsewhere.write(&[revoke], &[]).await.unwrap();
    let written = Instant::now();
    changes.changed().await.unwrap();
    assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
    assert_eq!(watch.snapshot().version(), before + 1);
    assert!(watch.snapshot().is_revoked("ab12"));
    cancel.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_policy_that_cannot_be_confirmed_first_pauses_and_then_refuses() {
    let (_folder, store, watch, cancel) = start().await;
    assert!(watch.is_fresh());
    assert!(watch.fresh().await.is_ok());
    store.close().await;
    let silent = Instant::now();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(!watch.is_fresh());
    // It waits for the database as long as that may still come back, and no longer.
    let stale = watch.fresh().await.unwrap_err();
    assert!(stale.to_string().contains("could not be confirmed"), "{stale}");
    let waited = silent.elapsed();
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(12), "{waited:?}");
    // From now on the answer is immediate.
    let asked = Instant::now();
    assert!(watch.fresh().await.is_err());
    assert!(asked.elapsed() < Duration::from_millis(500));
    cancel.cancel();
}

/// For what must happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_replica_whose_postgresql_hangs_or_dies_pauses_and_goes_on_when_it_is_back() {
    let Some(server) = postgres::Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    let database = Database::postgres(&server.database("policy"), DatabaseSettings::default()).unwrap();
    Store::migrate(database.clone()).await.unwrap();
    let store = Store::open(database.clone()).await.unwrap();
    let elsewhere = Store::open(database).await.unwrap();
    let write = async |serial: &str| {
        let revoke = Change::RevokeCertificate { serial: serial.into(), reason: "lost".into() };
        while elsewhere.write(std::slice::from_ref(&revoke), &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // This replica's clock is thirty years ahead, and jumps.
    let own = Arc::new(AtomicI64::new(2_700_000_000_000_000));
    let clock: Clock = {
        let own = Arc::clone(&own);
        Arc::new(move || Timestamp::from_micros(own.load(Ordering::Relaxed)))
    };
    let cancel = CancellationToken::new();
    let watch = PolicyWatch::start(store, clock, &TaskTracker::new(), cancel.clone()).await.unwrap();

    let before = watch.now();
    own.store(0, Ordering::Relaxed);
    let after = watch.now();
    assert!(before <= after && after.as_micros() < 2_600_000_000_000_000, "{before} {after}");
    assert!(after.as_micros() > 1_600_000_000_000_000, "the database's time, not this replica's: {after}");

    write("1").await;
    until("what another replica writes is in force", || watch.snapshot().is_revoked("1")).await;
    server.hang();
    until("a server that hangs pauses deliveries", || !watch.is_fresh()).await;
    let hung = watch.now();
    assert!(hung >= after, "time goes on without the database");
    server.go_on();
    until("the policy is confirmed again", || watch.is_fresh()).await;
    write("2").await;
    until("and followed", || watch.snapshot().is_revoked("2")).await;
    server.kill();
    until("a server that died pauses deliveries", || !watch.is_fresh()).await;
    server.restart();
    until("the policy is confirmed again", || watch.is_fresh()).await;
    write("3").await;
    until("and followed", || watch.snapshot().is_revoked("3")).await;
    cancel.cancel();
}
