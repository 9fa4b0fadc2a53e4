//! How the policy in force is followed, and what becomes of it when the database falls silent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use shuniu_exchange::PolicyWatch;
use shuniu_model::{Clock, Timestamp};
use shuniu_store::{Change, Store};
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
