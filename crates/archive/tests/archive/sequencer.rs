//! From topic to checkpoint, with a crash at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuniu_archive::{
    CheckpointFailure, CheckpointRow, Checkpoints, LogReader, MemoryCheckpoints, Sequencer, SequencerError,
    SequencerOptions, TileError, TileFolder, Tiles, Trimmer,
};
use shuniu_broker::BoxFuture;
use shuniu_broker::memory::{Failure, MemoryUpstream};
use shuniu_ledger::note::{NoteSigner, NoteVerifier};
use shuniu_ledger::tile::TileName;
use shuniu_ledger::{Checkpoint, Suite, Tile, Tiler};
use shuniu_model::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::support::{World, leaves, note, until};

pub(crate) fn signer(suite: Suite) -> Arc<NoteSigner> {
    Arc::new(NoteSigner::new(suite, &suite.origin("hub.example/audit"), &[7; 32]).unwrap())
}

fn quick() -> SequencerOptions {
    SequencerOptions { gather: Duration::from_millis(2) }
}

/// Sequences until the tree has that many leaves, then stops.
pub(crate) async fn sequence<T: Tiles>(
    store: &Arc<MemoryUpstream>,
    checkpoints: &Arc<dyn Checkpoints>,
    tiles: &Arc<T>,
    suite: Suite,
    size: u64,
) -> Result<(), SequencerError> {
    let cancel = CancellationToken::new();
    let upstream = Arc::clone(store);
    let sequencer =
        Sequencer::new(upstream, Arc::clone(checkpoints), Arc::clone(tiles), signer(suite), quick());
    let mut state = sequencer.state();
    let running = tokio::spawn(sequencer.run(cancel.clone()));
    let reached = async {
        while !state.borrow().shown || state.borrow().tree_size < size {
            if state.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    cancel.cancel();
    running.await.unwrap()
}

/// The checkpoint that is shown, held against the topic.
pub(crate) fn check(folder: &impl Tiles, store: &MemoryUpstream, suite: Suite) -> Checkpoint {
    let note = folder.checkpoint().unwrap().unwrap();
    let shown = Checkpoint::verified(&note, signer(suite).verifier()).unwrap();
    let leaves = leaves(store);
    let mut tiler = Tiler::empty(suite);
    let mut tiles = Vec::new();
    for leaf in leaves.iter().take(shown.size as usize) {
        tiler.push(leaf, &mut tiles).unwrap();
    }
    tiles.extend(tiler.partial());
    assert_eq!(tiler.root(), shown.root);
    for tile in tiles {
        assert_eq!(folder.read(tile.name).unwrap(), tile.bytes, "{}", tile.name);
    }
    shown
}

pub(crate) async fn append(world: &World, entries: std::ops::Range<usize>) {
    let drafts = entries.map(|number| note(&number.to_string())).collect();
    world.log.append_all(drafts).await.unwrap();
}

#[tokio::test]
async fn p5_the_tiles_are_the_topic_in_both_suites() {
    let world = World::new().await;
    for suite in Suite::ALL {
        let folder = Arc::new(TileFolder::create(&world.folder.path().join(suite.as_str())).unwrap());
        let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
        for _ in 0..4 {
            let before = leaves(&world.store).len();
            append(&world, before..before + 150).await;
            let size = leaves(&world.store).len() as u64;
            sequence(&world.store, &row, &folder, suite, size).await.unwrap();
            assert_eq!(check(&folder, &world.store, suite).size, size);
        }
    }
}

/// Fails in a chosen way at the n-th step, and at every step from then on, as a crash does.
pub(crate) struct Crashing<T> {
    pub(crate) inner: T,
    pub(crate) left: Arc<AtomicUsize>,
}

impl<T> Crashing<T> {
    fn step(&self) -> Result<(), TileError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Ok(());
        }
        let source = std::io::Error::other("crash");
        Err(TileError::Io { attempted: "live at", path: "here".into(), source })
    }
}

impl<T: Tiles> Tiles for Crashing<T> {
    fn read(&self, tile: TileName) -> Result<Vec<u8>, TileError> {
        self.inner.read(tile)
    }

    /// Each tile is a step: some of a round's may be there and others not.
    fn put(&self, tiles: &[Tile]) -> Result<(), TileError> {
        for tile in tiles {
            self.step()?;
            self.inner.put(std::slice::from_ref(tile))?;
        }
        self.step()
    }

    fn checkpoint(&self) -> Result<Option<String>, TileError> {
        self.inner.checkpoint()
    }

    fn public_key(&self) -> Result<Option<String>, TileError> {
        self.inner.public_key()
    }

    fn publish_key(&self, key: &NoteVerifier) -> Result<(), TileError> {
        self.inner.publish_key(key)
    }

    fn publish(&self, note: &str) -> Result<(), TileError> {
        self.step()?;
        self.inner.publish(note)?;
        self.step()
    }

    fn prune(&self, full: &[TileName]) {
        if self.step().is_ok() {
            self.inner.prune(full);
        }
    }
}

struct CrashingRow {
    inner: Arc<MemoryCheckpoints>,
    left: Arc<AtomicUsize>,
}

impl Checkpoints for CrashingRow {
    fn current(&self) -> BoxFuture<'_, Result<Option<CheckpointRow>, CheckpointFailure>> {
        self.inner.current()
    }

    fn swap(&self, expected_size: u64, row: CheckpointRow) -> BoxFuture<'_, Result<bool, CheckpointFailure>> {
        let step = || {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left.map(drop).map_err(|_| CheckpointFailure("crash".into()))
        };
        Box::pin(async move {
            step()?;
            let swapped = self.inner.swap(expected_size, row).await?;
            // Moved, but nobody is told.
            step()?;
            Ok(swapped)
        })
    }
}

#[tokio::test]
async fn p5_a_crash_at_any_step_is_cured_by_the_next_start() {
    let suite = Suite::Sha256Ed25519;
    let mut crashed = 0;
    for steps in 0..16 {
        let world = World::new().await;
        append(&world, 0..250).await;
        let path = world.folder.path().join(format!("crash-{steps}"));
        let folder = Arc::new(TileFolder::create(&path).unwrap());
        let row = Arc::new(MemoryCheckpoints::default());
        // 250 leaves are there; the crash hits what comes on top, a full tile among it.
        let plain: Arc<dyn Checkpoints> = Arc::clone(&row) as _;
        let first = Arc::new(TileFolder::open(&path));
        sequence(&world.store, &plain, &first, suite, 250).await.unwrap();
        append(&world, 250..300).await;

        let left = Arc::new(AtomicUsize::new(steps));
        let crashing = Arc::new(Crashing { inner: TileFolder::open(&path), left: Arc::clone(&left) });
        let crashing_row: Arc<dyn Checkpoints> =
            Arc::new(CrashingRow { inner: Arc::clone(&row), left: Arc::clone(&left) });
        let cancel = CancellationToken::new();
        let upstream = Arc::clone(&world.store);
        let sequencer = Sequencer::new(upstream, crashing_row, crashing, signer(suite), quick());
        let state = sequencer.state();
        let running = tokio::spawn(sequencer.run(cancel.clone()));
        until("the crash or the end", || state.borrow().trouble.is_some() || state.borrow().tree_size == 300)
            .await;
        crashed += usize::from(left.load(Ordering::SeqCst) == 0);
        cancel.cancel();
        running.await.unwrap().unwrap();

        // Whatever is shown meanwhile holds.
        check(&folder, &world.store, suite);
        sequence(&world.store, &plain, &folder, suite, 300).await.unwrap();
        assert_eq!(check(&folder, &world.store, suite).size, 300, "{steps} steps");
    }
    // Each step of the round was the last one once; then there were more steps than the round has.
    assert!((8..16).contains(&crashed), "{crashed}");
}

#[tokio::test]
async fn two_sequencers_make_one_log() {
    let world = World::new().await;
    let suite = Suite::Sha256Ed25519;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let writing = async {
        for round in 0..20 {
            append(&world, round * 40..round * 40 + 40).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let one = sequence(&world.store, &row, &folder, suite, 800);
    let two = sequence(&world.store, &row, &folder, suite, 800);
    let ((), one, two) = tokio::join!(writing, one, two);
    one.unwrap();
    two.unwrap();
    let row = row.current().await.unwrap().unwrap();
    assert_eq!((row.tree_size, row.next_offset), (800, 800));
    until("the last is shown", || check(&folder, &world.store, suite).size == 800).await;
}

#[test]
fn a_replica_that_was_held_up_does_not_show_an_old_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let tiles = TileFolder::create(folder.path()).unwrap();
    for (size, shown) in [(9, 9), (10, 10), (9, 10), (100, 100), (99, 100)] {
        tiles.publish(&format!("log\n{size}\nroot\n")).unwrap();
        assert_eq!(tiles.checkpoint().unwrap().unwrap(), format!("log\n{shown}\nroot\n"));
    }
}

#[tokio::test]
async fn p5_a_changed_history_stops_the_sequencer() {
    let suite = Suite::Sha256Ed25519;
    let file = "tile/entries/000.p/40";
    for change in ["tile", "hash", "row", "topic", "record"] {
        let world = World::new().await;
        let path = world.folder.path().join("tiles");
        let folder = Arc::new(TileFolder::create(&path).unwrap());
        let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
        append(&world, 0..40).await;
        sequence(&world.store, &row, &folder, suite, 40).await.unwrap();
        let held = row.current().await.unwrap().unwrap();
        let mut store = Arc::clone(&world.store);
        let flip = |file: &str, at: usize| {
            let mut bytes = std::fs::read(path.join(file)).unwrap();
            bytes[at] ^= 1;
            std::fs::write(path.join(file), bytes).unwrap();
        };
        match change {
            // The last leaf: the record on the topic is another.
            "tile" => {
                let length = std::fs::metadata(path.join(file)).unwrap().len() as usize;
                flip(file, length - 1);
            }
            "hash" => flip("tile/0/000.p/40", 5),
            "row" => {
                let changed = CheckpointRow { root: suite.leaf_hash(b"x"), ..held };
                assert!(row.swap(40, changed).await.unwrap());
            }
            "topic" => store = World::new().await.close().await,
            _ => {
                let other = World::new().await;
                append(&other, 1..41).await;
                store = other.close().await;
            }
        }
        let error = sequence(&store, &row, &folder, suite, 80).await.unwrap_err();
        let fits = match change {
            "tile" | "record" => matches!(error, SequencerError::LastLeaf { index: 39, offset: 39 }),
            "hash" => matches!(error, SequencerError::Root { size: 40, .. }),
            "row" => matches!(error, SequencerError::NoteOfAnother { size: 40 }),
            _ => matches!(error, SequencerError::Behind { expected: 40 }),
        };
        assert!(fits, "{change}: {error}");
    }
}

#[tokio::test]
async fn p5_other_bytes_in_the_place_of_a_tile_stop_the_sequencer() {
    let world = World::new().await;
    let path = world.folder.path().join("tiles");
    let folder = Arc::new(TileFolder::create(&path).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    std::fs::create_dir_all(path.join("tile/0/000.p")).unwrap();
    std::fs::write(path.join("tile/0/000.p/3"), [9; 96]).unwrap();
    append(&world, 0..3).await;
    let error = sequence(&world.store, &row, &folder, Suite::Sha256Ed25519, 3).await.unwrap_err();
    assert!(matches!(error, SequencerError::Tiles(TileError::Different { at: 0, .. })), "{error}");
    assert_eq!(row.current().await.unwrap().unwrap().tree_size, 0);
}

#[tokio::test]
async fn a_new_log_shows_the_checkpoint_of_the_empty_tree() {
    let world = World::new().await;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let suite = Suite::Sha256Ed25519;
    // The second start finds it there.
    for _ in 0..2 {
        sequence(&world.store, &row, &folder, suite, 0).await.unwrap();
        let shown = check(&folder, &world.store, suite);
        assert_eq!((shown.size, shown.root), (0, suite.empty_root()));
        assert_eq!(row.current().await.unwrap().unwrap().note, folder.checkpoint().unwrap().unwrap());
        let log = LogReader::open(TileFolder::open(folder.path()), signer(suite).verifier().clone()).unwrap();
        let verified = log.verify_log(&mut |_| {}).unwrap();
        assert_eq!((verified.checkpoint.size, verified.times), (0, None));
    }
    let empty = folder.checkpoint().unwrap().unwrap();
    append(&world, 0..3).await;
    sequence(&world.store, &row, &folder, suite, 3).await.unwrap();
    let log = LogReader::open(TileFolder::open(folder.path()), signer(suite).verifier().clone()).unwrap();
    assert_eq!(log.verify_growth(&empty).unwrap().size, 0);
}

#[tokio::test]
async fn a_sequencer_that_is_told_to_end_takes_what_the_topic_holds_first() {
    for told in ["before it begins", "while it waits"] {
        let world = World::new().await;
        let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
        let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
        let suite = Suite::Sha256Ed25519;
        let upstream = Arc::clone(&world.store);
        // Far longer than this test may take: only being told ends the gathering.
        let options = SequencerOptions { gather: Duration::from_secs(600) };
        let sequencer = Sequencer::new(upstream, row, Arc::clone(&folder), signer(suite), options);
        let mut state = sequencer.state();
        let cancel = CancellationToken::new();
        let running = if told == "while it waits" {
            let running = tokio::spawn(sequencer.run(cancel.clone()));
            state.wait_for(|state| state.shown).await.unwrap();
            append(&world, 0..9_000).await;
            cancel.cancel();
            running
        } else {
            append(&world, 0..9_000).await;
            cancel.cancel();
            tokio::spawn(sequencer.run(cancel.clone()))
        };
        running.await.unwrap().unwrap();
        assert_eq!(check(&folder, &world.store, suite).size, 9_000, "{told}");
    }
}

#[tokio::test]
async fn a_sequencer_that_is_told_to_end_does_not_wait_for_a_store_that_is_down() {
    let world = World::new().await;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    append(&world, 0..3).await;
    world.store.fail(Failure::Down);
    let upstream = Arc::clone(&world.store);
    let sequencer = Sequencer::new(upstream, row, folder, signer(Suite::Sha256Ed25519), quick());
    let cancel = CancellationToken::new();
    cancel.cancel();
    sequencer.run(cancel).await.unwrap();
}

#[tokio::test]
async fn entries_that_left_the_topic_unsequenced_stop_the_sequencer() {
    let world = World::new().await;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    append(&world, 0..10).await;
    sequence(&world.store, &row, &folder, Suite::Sha256Ed25519, 10).await.unwrap();
    append(&world, 10..20).await;
    append(&world, 20..30).await;
    world.store.forget_before(shuniu_archive::AUDIT_TOPIC, 0, 10);
    sequence(&world.store, &row, &folder, Suite::Sha256Ed25519, 30).await.unwrap();
    append(&world, 30..40).await;
    append(&world, 40..50).await;
    world.store.forget_before(shuniu_archive::AUDIT_TOPIC, 0, 40);
    let error = sequence(&world.store, &row, &folder, Suite::Sha256Ed25519, 50).await.unwrap_err();
    assert!(matches!(error, SequencerError::Gap { expected: 30, found: 40 }), "{error}");
}

#[tokio::test]
async fn only_what_is_under_a_checkpoint_for_seven_days_leaves_the_topic() {
    let world = World::new().await;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let suite = Suite::Sha256Ed25519;
    for number in 0..10 {
        append(&world, number..number + 1).await;
    }
    let upstream = Arc::clone(&world.store);
    let sequencer = Sequencer::new(upstream, Arc::clone(&row), Arc::clone(&folder), signer(suite), quick());
    let mut state = sequencer.state();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(sequencer.run(cancel.clone()));
    state.wait_for(|state| state.tree_size == 10).await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // No sequencer runs: these wait, however old they become.
    for number in 10..20 {
        append(&world, number..number + 1).await;
    }
    let after_ms = |days: i64| {
        let clock: Clock =
            Arc::new(move || Timestamp::from_micros(1_764_000_000_000_000 + days * 86_400_000_000));
        Trimmer::new(Arc::clone(&world.store) as _, state.clone(), clock)
    };
    after_ms(6).trim().await.unwrap();
    assert_eq!(leaves(&world.store).len(), 20);
    after_ms(400).trim().await.unwrap();
    // The last of them stays: the next start compares it.
    assert_eq!(leaves(&world.store).len(), 11);
    sequence(&world.store, &row, &folder, suite, 20).await.unwrap();
    let log = LogReader::open(TileFolder::open(folder.path()), signer(suite).verifier().clone()).unwrap();
    assert_eq!(log.verify_log(&mut |_| {}).unwrap().checkpoint.size, 20);
}

#[tokio::test]
async fn what_waits_is_counted_while_tiles_cannot_be_written() {
    let world = World::new().await;
    let path = world.folder.path().join("tiles");
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let left = Arc::new(AtomicUsize::new(2));
    let crashing = Arc::new(Crashing { inner: TileFolder::create(&path).unwrap(), left });
    let upstream = Arc::clone(&world.store);
    let sequencer = Sequencer::new(upstream, row, crashing, signer(Suite::Sha256Ed25519), quick());
    let mut state = sequencer.state();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(sequencer.run(cancel.clone()));
    state.wait_for(|state| state.shown).await.unwrap();
    append(&world, 0..7).await;
    until("the trouble", || state.borrow().trouble.is_some()).await;
    append(&world, 7..9).await;
    until("nine wait", || state.borrow().waiting() == 9).await;
    cancel.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_checkpoint_follows_its_entry_within_half_a_second() {
    let world = World::new().await;
    let folder = Arc::new(TileFolder::create(&world.folder.path().join("tiles")).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let cancel = CancellationToken::new();
    let upstream = Arc::clone(&world.store);
    let options = SequencerOptions::default();
    let sequencer = Sequencer::new(upstream, row, folder, signer(Suite::Sha256Ed25519), options);
    let state = sequencer.state();
    let running = tokio::spawn(sequencer.run(cancel.clone()));
    let mut waits = Vec::new();
    for number in 0..11 {
        append(&world, number..number + 1).await;
        let started = std::time::Instant::now();
        until("its checkpoint", || state.borrow().tree_size > number as u64).await;
        waits.push(started.elapsed());
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
    // The middle one: a machine that does other things at once may hold a single one up.
    waits.sort_unstable();
    assert!(waits[5] < Duration::from_millis(500), "{waits:?}");
}
