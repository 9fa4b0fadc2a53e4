//! A process that is killed while it records and sequences.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{AuditLog, LogReader, Sequencer, SequencerOptions, TileFolder, Tiles as _};
use shuniu_engine::{Engine, EngineConfig};
use shuniu_ledger::{EntryId, Suite};
use shuniu_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sequencer::signer;
use crate::support::{clock, note, options, until};

const FOLDER: &str = "SHUNIU_TEST_AUDIT_FOLDER";
const ROUNDS: u8 = 6;

/// What runs in the process that is killed: callers that say aloud what they got a receipt for. Started by the test
/// below alone, which names the folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the process that another test kills"]
async fn recording_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let boot: u8 = std::fs::read_to_string(folder.join("boot")).unwrap().parse().unwrap();
    let (log, _sequencing) = hub(&folder, boot).await;
    let callers = (0..8).map(|caller| {
        let log = log.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let receipt = log.append(note(&format!("{caller} {number}"))).await.unwrap();
                println!("\nreceipt {}", receipt.id);
            }
        })
    });
    futures_util::future::join_all(callers.collect::<Vec<_>>()).await;
}

async fn hub(folder: &Path, boot: u8) -> (AuditLog, tokio::sync::watch::Receiver<shuniu_archive::Sequenced>) {
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let config = EngineConfig::new(folder.join("records"));
    let engine = Arc::new(Engine::open(config, clock(), tracker.clone()).await.unwrap());
    let upstream = Arc::clone(&engine);
    let log =
        AuditLog::start(upstream, options(folder, boot), clock(), &tracker, cancel.clone()).await.unwrap();
    let store = Arc::new(Store::open_file(&folder.join("directory.db")).await.unwrap());
    let tiles = Arc::new(TileFolder::create(&folder.join("audit")).unwrap());
    let options = SequencerOptions { gather: Duration::from_millis(5) };
    let sequencer = Sequencer::new(engine, store, tiles, signer(Suite::Sha256Ed25519), options);
    let state = sequencer.state();
    tokio::spawn(sequencer.run(cancel));
    (log, state)
}

/// Runs the process for a while, kills it, and gives what it had receipts for.
fn run_and_kill(folder: &Path, boot: u8) -> Vec<EntryId> {
    std::fs::write(folder.join("boot"), boot.to_string()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::recording_process", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut told = Vec::new();
    // Killed at a different point of its work each time, in the middle of it.
    let enough = 40 + usize::from(boot) * 97;
    for line in out.lines() {
        // The kill may cut the last line.
        if let Some(id) = line.unwrap().strip_prefix("receipt ").and_then(|id| id.parse().ok()) {
            told.push(id);
        }
        if told.len() == enough {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told.len() >= enough, "the process ended by itself");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_an_entry_with_a_receipt_is_in_the_log_across_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = BTreeSet::new();
    for boot in 1..=ROUNDS {
        let path = folder.path().to_owned();
        told.extend(tokio::task::spawn_blocking(move || run_and_kill(&path, boot)).await.unwrap());
        let shown = TileFolder::open(&folder.path().join("audit"));
        // Whatever was shown at that moment holds.
        if shown.checkpoint().unwrap().is_some() {
            verify(folder.path());
        }
    }
    let (log, state) = hub(folder.path(), ROUNDS + 1).await;
    let last = log.append(note("last")).await.unwrap();
    until("all is sequenced", || state.borrow().next_offset > last.offset.unwrap()).await;
    let held = verify(folder.path());
    assert!(told.len() > 1_000);
    assert!(told.is_subset(&held));
}

/// Verifies the whole log, chains and all, and gives its entries.
fn verify(folder: &Path) -> BTreeSet<EntryId> {
    let tiles = TileFolder::open(&folder.join("audit"));
    let log = LogReader::open(tiles, signer(Suite::Sha256Ed25519).verifier().clone()).unwrap();
    let verified = log.verify_log(&mut |_| {}).unwrap();
    assert!(verified.chain_failures.is_empty(), "{:?}", verified.chain_failures);
    log.entries(0).map(|found| found.unwrap().entry.id).collect()
}
