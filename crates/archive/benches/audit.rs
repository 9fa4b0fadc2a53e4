//! How fast the audit log is, on the one-machine deployment: engine, SQLite, tiles in a folder, every fsync done.
//!
//! Prints a line a figure: `figure NAME VALUE UNIT goal GOAL met|short`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench prints, reads the clock and fails by panicking"
)]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shuniu_archive::{AuditLog, AuditOptions, LogReader, Sequenced, Sequencer, SequencerOptions, TileFolder};
use shuniu_engine::{Engine, EngineConfig};
use shuniu_ledger::note::NoteSigner;
use shuniu_ledger::{Actor, BootId, Delivery, Draft, OffsetRange, Suite};
use shuniu_model::identifier::Uscc;
use shuniu_model::{Clock, GrantId, ItemName, Mode, ResourceName, SystemId, Timestamp, TopicId, ViewDigest};
use shuniu_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Callers that each wait for their entry before the next, as connections do.
const CALLERS: u64 = 1_000;
const ENTRIES: u64 = 200_000;
const ORIGIN: &str = "bench.example/audit";
/// Entries a second while the latency is measured.
const PACED_PER_SECOND: u64 = 2_000;
const PACED_SECONDS: u64 = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let suite = Suite::Sha256Ed25519;
        println!("# one fsync of 4 KiB appended takes {:.2} ms (p50) on this disk", fsync_milliseconds());
        throughput(suite, "audit_leaves_sequenced").await;
        latency(suite, "audit_entry_to_checkpoint_p99").await;
    });
}

/// What the disk costs, to read the figures by: where it is fast, so are they.
fn fsync_milliseconds() -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            file.write_all(&[0; 4_096]).unwrap();
            let started = Instant::now();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    milliseconds(&mut times, 0.5)
}

/// A hub's audit log on a fresh folder.
struct Hub {
    log: AuditLog,
    state: watch::Receiver<Sequenced>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    engine: Arc<Engine>,
}

impl Hub {
    async fn open(folder: &Path, suite: Suite) -> Self {
        let clock: Clock = Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
        });
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let config = EngineConfig::new(folder.join("records"));
        let engine = Arc::new(Engine::open(config, Arc::clone(&clock), tracker.clone()).await.unwrap());
        let options = AuditOptions {
            boot: BootId([1; 16]),
            suite,
            append_max: Duration::from_secs(5),
            refusals_merged: Duration::from_secs(10),
            spool: folder.join("refusals"),
            spool_bytes_max: 1 << 20,
            replication: 1,
        };
        let upstream = Arc::clone(&engine);
        let log = AuditLog::start(upstream, options, clock, &tracker, cancel.clone()).await.unwrap();
        let store = Arc::new(Store::open_file(&folder.join("directory.db")).await.unwrap());
        let tiles = Arc::new(TileFolder::create(&folder.join("audit")).unwrap());
        let signer = NoteSigner::new(suite, &suite.origin(ORIGIN), &[7; 32]).unwrap();
        let options = SequencerOptions::default();
        let sequencer = Sequencer::new(Arc::clone(&engine) as _, store, tiles, Arc::new(signer), options);
        let state = sequencer.state();
        tracker.spawn(sequencer.run(cancel.clone()));
        Self { log, state, cancel, tracker, engine }
    }

    async fn sequenced(&self, tree_size: u64) {
        self.state.clone().wait_for(|state| state.tree_size >= tree_size).await.unwrap();
    }

    async fn close(self) {
        self.cancel.cancel();
        self.engine.close().await;
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// From the first append to the checkpoint over the last entry.
async fn throughput(suite: Suite, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), suite).await;
    let started = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let log = hub.log.clone();
        hub.tracker.spawn(async move {
            for number in 0..ENTRIES / CALLERS {
                log.append(delivered(caller, number)).await.unwrap();
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let appended = started.elapsed();
    hub.sequenced(ENTRIES).await;
    let sequenced = started.elapsed();
    let per_second = |took: Duration| ENTRIES as f64 / took.as_secs_f64();
    println!("# {ENTRIES} entries appended at {:.0}/s by {CALLERS} callers", per_second(appended));
    figure(name, per_second(sequenced), "leaves/s", 20_000.0, |value, goal| value >= goal);
    hub.close().await;
    let signer = NoteSigner::new(suite, &suite.origin(ORIGIN), &[7; 32]).unwrap();
    let log =
        LogReader::open(TileFolder::open(&folder.path().join("audit")), signer.verifier().clone()).unwrap();
    let started = Instant::now();
    assert!(log.verify_log(&mut |_| {}).unwrap().chain_failures.is_empty());
    println!("# {ENTRIES} entries verified at {:.0}/s", per_second(started.elapsed()));
}

/// From the call of an append to the checkpoint over its entry, at a steady pace.
async fn latency(suite: Suite, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), suite).await;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut waiting = Vec::new();
    for number in 0..PACED_PER_SECOND * PACED_SECONDS / 2 {
        tick.tick().await;
        for caller in 0..2 {
            let (log, mut state) = (hub.log.clone(), hub.state.clone());
            let called = Instant::now();
            waiting.push(hub.tracker.spawn(async move {
                let receipt = log.append(delivered(caller, number)).await.unwrap();
                let durable = called.elapsed();
                let next = receipt.offset.unwrap();
                state.wait_for(|state| state.next_offset > next).await.unwrap();
                (durable, called.elapsed())
            }));
        }
    }
    let (mut durable, mut checkpoint) = (Vec::new(), Vec::new());
    for task in waiting {
        let (appended, signed) = task.await.unwrap();
        durable.push(appended);
        checkpoint.push(signed);
    }
    println!(
        "# {PACED_PER_SECOND} entries/s: durable p50 {:.1} ms, p99 {:.1} ms; under a checkpoint p50 {:.0} ms, most {:.0} ms",
        milliseconds(&mut durable, 0.5),
        milliseconds(&mut durable, 0.99),
        milliseconds(&mut checkpoint, 0.5),
        milliseconds(&mut checkpoint, 1.0),
    );
    figure(name, milliseconds(&mut checkpoint, 0.99), "ms", 1_000.0, |value, goal| value <= goal);
    hub.close().await;
}

fn milliseconds(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within a list that fits memory"
    )]
    let place = ((times.len() - 1) as f64 * share) as usize;
    times.get(place).unwrap().as_secs_f64() * 1_000.0
}

fn figure(name: &str, value: f64, unit: &str, goal: f64, met: impl Fn(f64, f64) -> bool) {
    let verdict = if met(value, goal) { "met" } else { "short" };
    println!("figure {name} {value:.0} {unit} goal {goal:.0} {verdict}");
}

/// The entry of one fetch: what most of a log consists of.
fn delivered(caller: u64, number: u64) -> Draft {
    let organisation = Uscc::parse("11100000000013338W").ok();
    let system = SystemId::parse("hall-yuzhong").unwrap();
    let items = ["address", "birth_date", "division", "ethnic", "id_no", "name", "sex", "status"];
    let first = i64::try_from(number * 100).unwrap();
    let delivery = Delivery {
        resource: ResourceName::parse("population").unwrap(),
        topic: TopicId([5; 16]),
        grant: GrantId::parse(&format!("hall-yuzhong-population-{caller}")).unwrap(),
        view: ViewDigest([3; 32]),
        mode: Mode::Subscribe,
        schemas: vec![12],
        items: items.iter().map(|item| ItemName::parse(item).unwrap()).collect(),
        ranges: OffsetRange::dense(3, first, first + 99).into_iter().collect(),
        bytes: 30_000,
        sha256: [4; 32],
        purpose: "居民服务大厅户籍业务办理".to_owned(),
    };
    Draft::delivered(Actor::system(organisation, system, "0a1b2c"), delivery)
        .from_source(([10, 0, 0, 1], 40_000).into())
}
