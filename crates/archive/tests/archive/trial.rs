//! The one-machine deployment: engine, SQLite, folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{
    AuditLog, CheckpointRow, Checkpoints, LogReader, MemoryCheckpoints, Sequencer, SequencerOptions,
    TileFolder, drain_outbox,
};
use shuniu_engine::{Engine, EngineConfig};
use shuniu_ledger::{Hash, Suite};
use shuniu_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sequencer::signer;
use crate::support::{clock, note, options, text, until};

#[tokio::test]
async fn a_row_is_moved_only_from_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
    for row in [Arc::new(store) as Arc<dyn Checkpoints>, Arc::new(MemoryCheckpoints::default())] {
        let at = |tree_size: u64| CheckpointRow {
            tree_size,
            next_offset: tree_size as i64 + 1,
            root: Hash([tree_size as u8; 32]),
            note: format!("note {tree_size}"),
        };
        assert_eq!(row.current().await.unwrap(), None);
        assert!(!row.swap(3, at(4)).await.unwrap());
        assert!(row.swap(0, at(5)).await.unwrap());
        assert!(!row.swap(0, at(6)).await.unwrap());
        assert!(!row.swap(4, at(7)).await.unwrap());
        assert_eq!(row.current().await.unwrap(), Some(at(5)));
        assert!(row.swap(5, at(8)).await.unwrap());
        assert_eq!(row.current().await.unwrap(), Some(at(8)));
    }
}

/// Everything of one run of the hub.
async fn run(folder: &Path, boot: u8, entries: std::ops::Range<usize>) {
    let tracker = TaskTracker::new();
    let store = Store::open_file(&folder.join("directory.db")).await.unwrap();
    let engine =
        Engine::open(EngineConfig::new(folder.join("records")), clock(), tracker.clone()).await.unwrap();
    let engine = Arc::new(engine);
    let tiles = Arc::new(TileFolder::create(&folder.join("audit")).unwrap());
    let cancel = CancellationToken::new();
    let upstream = Arc::clone(&engine);
    let log =
        AuditLog::start(upstream, options(folder, boot), clock(), &tracker, cancel.clone()).await.unwrap();
    let row = Arc::new(store.clone());
    let options = SequencerOptions::default();
    let sequencer =
        Sequencer::new(Arc::clone(&engine) as _, row, tiles, signer(Suite::Sha256Ed25519), options);
    let state = sequencer.state();
    let sequencing = tracker.spawn(sequencer.run(cancel.clone()));

    let draft = serde_json::to_string(&note(&entries.start.to_string())).unwrap();
    for draft in [draft.as_str(), "{"] {
        store.outbox_add(draft).await.unwrap();
    }
    assert_eq!(drain_outbox(&store, &log).await.unwrap(), 2);
    assert_eq!(drain_outbox(&store, &log).await.unwrap(), 0);
    for number in entries.clone().skip(1) {
        log.append(note(&number.to_string())).await.unwrap();
    }
    let size = (entries.end + usize::from(boot)) as u64;
    until("all is sequenced", || state.borrow().tree_size == size).await;
    cancel.cancel();
    sequencing.await.unwrap().unwrap();
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_each_run_of_a_hub_goes_on_where_the_last_one_ended() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, 0..10).await;
    run(folder.path(), 2, 10..20).await;
    run(folder.path(), 3, 20..30).await;
    let tiles = TileFolder::open(&folder.path().join("audit"));
    let log = LogReader::open(tiles, signer(Suite::Sha256Ed25519).verifier().clone()).unwrap();
    let verified = log.verify_log(&mut |_| {}).unwrap();
    assert!(verified.chain_failures.is_empty());
    assert_eq!((verified.boots, verified.checkpoint.size), (3, 33));
    let texts: Vec<String> = log.entries(0).map(|found| text(&found.unwrap().entry).to_owned()).collect();
    let numbers: Vec<usize> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_with_the_record_store_closed_nothing_is_receipted() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = TaskTracker::new();
    let config = EngineConfig::new(folder.path().join("records"));
    let engine = Arc::new(Engine::open(config, clock(), tracker.clone()).await.unwrap());
    let cancel = CancellationToken::new();
    let upstream = Arc::clone(&engine);
    let log = AuditLog::start(upstream, options(folder.path(), 1), clock(), &tracker, cancel.clone())
        .await
        .unwrap();
    log.append(note("before")).await.unwrap();
    engine.close().await;
    let started = std::time::Instant::now();
    log.append(note("after")).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(500));
}
