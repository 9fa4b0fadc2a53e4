//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shuniu_archive::{AUDIT_TOPIC, AuditLog, AuditOptions};
use shuniu_broker::NodeId;
use shuniu_broker::memory::MemoryUpstream;
use shuniu_ledger::{Actor, BootId, Draft, Entry, Hash, Refusal, Suite};
use shuniu_model::{Clock, Timestamp};
use shuniu_wire::batch::{Scratch, batches};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A log over a store in memory.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryUpstream>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
    pub(crate) log: AuditLog,
}

pub(crate) const APPEND_MAX: Duration = Duration::from_millis(300);

pub(crate) fn options(folder: &Path, boot: u8) -> AuditOptions {
    AuditOptions {
        boot: BootId([boot; 16]),
        suite: Suite::Sha256Ed25519,
        append_max: APPEND_MAX,
        refusals_merged: Duration::from_millis(400),
        spool: folder.join("refusals"),
        spool_bytes_max: 4_000,
        replication: 1,
    }
}

/// A clock that ticks a millisecond at each look.
pub(crate) fn clock() -> Clock {
    let micros = AtomicI64::new(1_764_000_000_000_000);
    Arc::new(move || Timestamp::from_micros(micros.fetch_add(1_000, Ordering::Relaxed)))
}

impl World {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(MemoryUpstream::new(NodeId(1)));
        let folder = tempfile::tempdir().unwrap();
        let (log, tracker, cancel) = open(&store, options(folder.path(), 1)).await;
        Self { store, folder, tracker, cancel, log }
    }

    /// Ends the log in order.
    pub(crate) async fn close(self) -> Arc<MemoryUpstream> {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.store
    }
}

pub(crate) async fn open(
    store: &Arc<MemoryUpstream>,
    options: AuditOptions,
) -> (AuditLog, TaskTracker, CancellationToken) {
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let upstream = Arc::clone(store);
    let log = AuditLog::start(upstream, options, clock(), &tracker, cancel.clone()).await.unwrap();
    (log, tracker, cancel)
}

pub(crate) fn note(text: &str) -> Draft {
    Draft::administered(Actor::hub(), "test", text)
}

pub(crate) fn refusal(text: &str, port: u16) -> Draft {
    refusal_of(Actor::unknown(), text, "no-grant", port)
}

pub(crate) fn refusal_of(actor: Actor, text: &str, code: &str, port: u16) -> Draft {
    let refusal = Refusal {
        asked: text.to_owned(),
        code: code.to_owned(),
        detail: String::new(),
        resource: None,
        grant: None,
    };
    Draft::refused(actor, refusal).from_source(([10, 0, 0, 1], port).into())
}

/// What stands in an entry made by [`note`].
pub(crate) fn text(entry: &Entry) -> &str {
    &entry.draft.reason.as_ref().unwrap().detail
}

/// The leaves on the topic.
pub(crate) fn leaves(store: &MemoryUpstream) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    for bytes in store.stored(AUDIT_TOPIC, 0) {
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            for record in batch.records(&mut Scratch::default(), 1 << 26).unwrap() {
                leaves.push(record.unwrap().value.unwrap().to_vec());
            }
        }
    }
    leaves
}

/// The entries on the topic, each boot's chain held to be whole.
pub(crate) fn entries(store: &MemoryUpstream) -> Vec<Entry> {
    let mut chains = std::collections::HashMap::<BootId, (u64, Hash)>::new();
    let mut entries = Vec::new();
    for leaf in leaves(store) {
        let entry = Entry::from_leaf(&leaf).unwrap();
        let (sequence, previous) = chains.entry(entry.id.boot).or_default();
        assert_eq!(
            (entry.id.sequence, entry.previous),
            (*sequence, *previous),
            "the chain has a gap or a double"
        );
        *sequence += 1;
        *previous = Suite::Sha256Ed25519.leaf_hash(&leaf);
        entries.push(entry);
    }
    entries
}

/// Waits until something holds, for at most ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
