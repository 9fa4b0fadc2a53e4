//! From the topic to tiles under a signed checkpoint.
//!
//! The order of leaves is the order of the topic, so tiles are a function of the topic alone, whoever makes them and
//! in whichever batches. Each round: tiles durable, then the row moved, then the checkpoint shown. A crash after any
//! step is cured by the next start, which does the same again: tiles that are there already have the same bytes; a row
//! that was moved has its tiles; a checkpoint that was not shown is shown.

mod error;

use std::sync::Arc;
use std::time::Duration;

use shuniu_broker::Upstream;
use shuniu_ledger::note::NoteSigner;
use shuniu_ledger::tile::{TILE_WIDTH, TileKind, TileName, leaves};
use shuniu_ledger::{Checkpoint, Hash, Suite, Tile, Tiler};
use shuniu_wire::batch::{BatchError, Scratch, batches};
use shuniu_wire::messages::ResponseError;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoints::{CheckpointRow, Checkpoints};
use crate::partition::{Partition, PartitionError};
use crate::tiles::{TileError, Tiles};
use crate::writer::chain_text;

pub use error::SequencerError;

/// How long one fetch waits for the first entry.
const IDLE: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Compressed: what a fetch brings is several times as much in memory.
const FETCH_BYTES_MAX: i32 = 2 << 20;
/// More waiting than this ends a round's gathering.
const GATHER_BYTES: i32 = 512 << 10;
/// A round that has so many leaves gathers no more: its tiles are to be durable in time.
const ROUND_LEAVES: usize = 8_192;
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// How the log is sequenced.
#[derive(Debug, Clone, Copy)]
pub struct SequencerOptions {
    /// How long a round gathers entries behind the first. With what writing takes, a checkpoint follows its oldest
    /// entry by that much.
    pub gather: Duration,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self { gather: Duration::from_millis(100) }
    }
}

/// How far the log is, for whoever follows it: an index reads the tiles between two of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sequenced {
    /// Leaves under the last checkpoint.
    pub tree_size: u64,
    /// The first offset of the topic that is not under it.
    pub next_offset: i64,
    /// Its root.
    pub root: Hash,
    /// Where the topic ended when it was last seen.
    pub end: i64,
    /// Whether a checkpoint of this run is shown to readers; before, the rest of this says nothing.
    pub shown: bool,
    /// Why it does not go on now; `None` while it does.
    pub trouble: Option<String>,
}

impl Sequenced {
    /// Records on the topic that are not under the checkpoint.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.next_offset)).unwrap_or(0)
    }
}

/// Makes tiles and checkpoints from the topic. Any number of replicas may run one; all make the same tiles.
pub struct Sequencer<T> {
    partition: Partition,
    checkpoints: Arc<dyn Checkpoints>,
    tiles: Arc<T>,
    signer: Arc<NoteSigner>,
    options: SequencerOptions,
    state: watch::Sender<Sequenced>,
}

/// The tree so far and the place in the topic.
struct Edge {
    tiler: Tiler,
    next_offset: i64,
}

impl<T: Tiles> Sequencer<T> {
    /// A sequencer of the log that `signer` is named after; its suite is the log's.
    pub fn new(
        upstream: Arc<dyn Upstream>,
        checkpoints: Arc<dyn Checkpoints>,
        tiles: Arc<T>,
        signer: Arc<NoteSigner>,
        options: SequencerOptions,
    ) -> Self {
        let partition = Partition::new(upstream, ANSWER_MAX);
        Self {
            partition,
            checkpoints,
            tiles,
            signer,
            options,
            state: watch::Sender::new(Sequenced::default()),
        }
    }

    /// How far the log is, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Sequenced> {
        self.state.subscribe()
    }

    /// Sequences until cancelled, and then what the topic holds at that moment. The topic must exist: the log makes it
    /// when it is opened. A shutdown cancels when nothing is written any more: then every entry is under a checkpoint.
    ///
    /// # Errors
    /// When the log's history is in doubt; what only fails for now is tried again for as long as it takes, but not once
    /// cancelled: the next start takes what is left.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), SequencerError> {
        let mut edge = None;
        let mut retry = RETRY_FIRST;
        while !cancel.is_cancelled() {
            let Err(error) = self.round(&mut edge, &cancel).await else {
                retry = RETRY_FIRST;
                self.state.send_if_modified(|state| state.trouble.take().is_some());
                continue;
            };
            let text = chain_text(&error);
            self.state.send_modify(|state| state.trouble = Some(text.clone()));
            if !error.is_passing() {
                tracing::error!(error = text, "the audit log's sequencer stops: its history is in doubt");
                return Err(error);
            }
            tracing::warn!(error = text, "a round of the audit log's sequencer failed and is tried again");
            // What was done of the round is found again from the row.
            edge = None;
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.rest(retry) => {}
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
        match self.finish(edge, &cancel).await {
            Err(error) if error.is_passing() => {
                let error = chain_text(&error);
                tracing::warn!(
                    error,
                    "the audit log's last entries are not under a checkpoint: the next start takes them"
                );
                Ok(())
            }
            ended => ended,
        }
    }

    /// A pause after trouble. Meanwhile what waits grows, and whoever looks should see it.
    async fn rest(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
        // The topic may be the trouble; then the last count stands.
        if let Ok(end) = self.partition.end().await {
            self.note_end(end);
        }
    }

    fn note_end(&self, end: i64) {
        self.state.send_if_modified(|state| std::mem::replace(&mut state.end, end) != end);
    }

    /// Takes what the topic holds now, and no more: other replicas may go on writing.
    async fn finish(
        &mut self,
        mut edge: Option<Edge>,
        cancel: &CancellationToken,
    ) -> Result<(), SequencerError> {
        let end = self.partition.end().await?;
        while edge.as_ref().is_none_or(|edge| edge.next_offset < end) {
            self.round(&mut edge, cancel).await?;
        }
        Ok(())
    }

    /// Recovers if there is no edge yet, then takes what the topic has to the next checkpoint. Ended at any point it
    /// leaves what a crash would.
    async fn round(
        &mut self,
        held: &mut Option<Edge>,
        cancel: &CancellationToken,
    ) -> Result<(), SequencerError> {
        let edge = match held.take() {
            Some(edge) => edge,
            None => match self.recover().await? {
                Some(edge) => edge,
                // Another replica was faster: its row is read.
                None => return Ok(()),
            },
        };
        let (gathered, next_offset) = self.gather(edge.next_offset, cancel).await?;
        if gathered.is_empty() {
            *held = Some(Edge { next_offset, ..edge });
            return Ok(());
        }
        let size_before = edge.tiler.size();
        let (tiler, note, full) = self.write_tiles(edge.tiler, gathered).await?;
        let row = CheckpointRow { tree_size: tiler.size(), next_offset, root: tiler.root(), note };
        // Tiles are durable: from here on the row may say so.
        if !self.checkpoints.swap(size_before, row.clone()).await? {
            // Another replica was faster. Its row is read; our tiles are the same as its own.
            return Ok(());
        }
        // The row is moved: a crash from here on recovers forward, and shows the checkpoint then.
        self.publish(&row, full).await?;
        *held = Some(Edge { tiler, next_offset });
        Ok(())
    }

    /// The edge that the row says, its root derived again from the tiles and its last leaf held against the topic.
    /// `None` when another replica has moved the row meanwhile.
    async fn recover(&mut self) -> Result<Option<Edge>, SequencerError> {
        let Some(row) = self.checkpoints.current().await? else { return self.begin().await };
        let stated = Checkpoint::verified(&row.note, self.signer.verifier())?;
        if (stated.size, stated.root) != (row.tree_size, row.root) {
            return Err(SequencerError::NoteOfAnother { size: row.tree_size });
        }
        let (tiles, suite, size) = (Arc::clone(&self.tiles), self.suite(), row.tree_size);
        let restored = blocking(move || {
            let tiler =
                Tiler::restore(suite, size, |tile| tiles.read(tile)).map_err(SequencerError::Restore)?;
            let last = last_leaf(tiles.as_ref(), size)?;
            Ok::<_, SequencerError>((tiler, last))
        });
        let (tiler, last) = restored.await??;
        if tiler.root() != row.root {
            return Err(SequencerError::Root { size, expected: row.root, found: tiler.root() });
        }
        if let Some(last) = last {
            self.compare_last(&last, size, row.next_offset).await?;
        }
        self.publish(&row, Vec::new()).await?;
        Ok(Some(Edge { tiler, next_offset: row.next_offset }))
    }

    /// The checkpoint of the empty tree: whoever verifies a new log finds that it has no entry, not that it has no
    /// checkpoint.
    async fn begin(&self) -> Result<Option<Edge>, SequencerError> {
        let tiler = Tiler::empty(self.suite());
        let note = checkpoint_of(&tiler, &self.signer)?;
        let row = CheckpointRow { tree_size: 0, next_offset: 0, root: tiler.root(), note };
        if !self.checkpoints.swap(0, row.clone()).await? {
            return Ok(None);
        }
        self.publish(&row, Vec::new()).await?;
        Ok(Some(Edge { tiler, next_offset: 0 }))
    }

    async fn compare_last(&mut self, last: &[u8], size: u64, next_offset: i64) -> Result<(), SequencerError> {
        let offset = next_offset - 1;
        let fetched = match self.partition.fetch(offset, Duration::ZERO, 1, FETCH_BYTES_MAX).await {
            Ok(fetched) => fetched,
            Err(PartitionError::Refused { error: ResponseError::OffsetOutOfRange }) => {
                // Sequenced records leave the topic after a while; then there is nothing to compare.
                let end = self.partition.end().await?;
                return if end < next_offset {
                    Err(SequencerError::Behind { expected: next_offset })
                } else {
                    Ok(())
                };
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = None;
        each_leaf(&fetched.records, offset, &mut |at, leaf| {
            if at == offset {
                found = Some(leaf == last);
            }
        })?;
        match found {
            Some(true) => Ok(()),
            Some(false) => Err(SequencerError::LastLeaf { index: size - 1, offset }),
            // Brokers that only follow the leader answer fetches too, and may know less; the end is the leader's word.
            None if self.partition.end().await? > offset => Err(SequencerError::NotGivenYet { offset }),
            None => Err(SequencerError::Behind { expected: next_offset }),
        }
    }

    /// The next leaves, and the offset behind them. Waits for the first, then a moment for more; once cancelled it
    /// takes what is there.
    async fn gather(
        &mut self,
        from: i64,
        cancel: &CancellationToken,
    ) -> Result<(Vec<Vec<u8>>, i64), SequencerError> {
        let mut gathered = Vec::new();
        let wait = if cancel.is_cancelled() { Duration::ZERO } else { IDLE };
        let mut next = tokio::select! {
            biased;
            fetched = self.fetch(from, wait, 1, &mut gathered) => fetched?,
            // Only the wait for an answer is given up, and nothing was taken from it yet.
            () = cancel.cancelled(), if !wait.is_zero() => return Ok((Vec::new(), from)),
        };
        let until = Instant::now() + self.options.gather;
        while !gathered.is_empty() && gathered.len() < ROUND_LEAVES && !cancel.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // More than a round's worth ends the wait early.
            next = tokio::select! {
                biased;
                fetched = self.fetch(next, left, GATHER_BYTES, &mut gathered) => fetched?,
                () = cancel.cancelled() => break,
            };
        }
        Ok((gathered, next))
    }

    async fn fetch(
        &mut self,
        from: i64,
        wait: Duration,
        bytes_min: i32,
        gathered: &mut Vec<Vec<u8>>,
    ) -> Result<i64, SequencerError> {
        let fetched = match self.partition.fetch(from, wait, bytes_min, FETCH_BYTES_MAX).await {
            Ok(fetched) => fetched,
            Err(PartitionError::Refused { error: ResponseError::OffsetOutOfRange }) => {
                let found = self.partition.start().await?;
                return Err(if found > from {
                    SequencerError::Gap { expected: from, found }
                } else {
                    SequencerError::Behind { expected: from }
                });
            }
            Err(error) => return Err(error.into()),
        };
        if fetched.log_start > from {
            return Err(SequencerError::Gap { expected: from, found: fetched.log_start });
        }
        self.note_end(fetched.end);
        let next = each_leaf(&fetched.records, from, &mut |_, leaf| gathered.push(leaf.to_vec()))?;
        Ok(next.max(from))
    }

    /// Appends the leaves and makes all their tiles durable; the tree, its note, and which tiles are full now.
    async fn write_tiles(
        &self,
        mut tiler: Tiler,
        gathered: Vec<Vec<u8>>,
    ) -> Result<(Tiler, String, Vec<TileName>), SequencerError> {
        let tiles = Arc::clone(&self.tiles);
        let signer = Arc::clone(&self.signer);
        let written = blocking(move || {
            let mut grown: Vec<Tile> = Vec::new();
            for leaf in &gathered {
                tiler.push(leaf, &mut grown)?;
            }
            let full = grown.iter().map(|tile| tile.name).collect();
            grown.extend(tiler.partial());
            tiles.put(&grown).map_err(SequencerError::Tiles)?;
            let note = checkpoint_of(&tiler, &signer)?;
            Ok::<_, SequencerError>((tiler, note, full))
        });
        written.await?
    }

    async fn publish(&self, row: &CheckpointRow, full: Vec<TileName>) -> Result<(), SequencerError> {
        let (tiles, note) = (Arc::clone(&self.tiles), row.note.clone());
        let published = blocking(move || {
            tiles.publish(&note)?;
            tiles.prune(&full);
            Ok::<_, TileError>(())
        });
        published.await?.map_err(SequencerError::Tiles)?;
        self.state.send_modify(|state| {
            state.tree_size = row.tree_size;
            state.next_offset = row.next_offset;
            state.root = row.root;
            state.shown = true;
        });
        Ok(())
    }

    fn suite(&self) -> Suite {
        self.signer.verifier().suite()
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, SequencerError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SequencerError::Ended)
}

/// The tree's head, signed.
fn checkpoint_of(tiler: &Tiler, signer: &NoteSigner) -> Result<String, SequencerError> {
    let origin = signer.verifier().name().to_owned();
    let checkpoint = Checkpoint { origin, size: tiler.size(), root: tiler.root() };
    Ok(checkpoint.signed(signer)?)
}

/// The last leaf of the tree; `None` of an empty one.
fn last_leaf(tiles: &impl Tiles, size: u64) -> Result<Option<Vec<u8>>, SequencerError> {
    let Some(last) = size.checked_sub(1) else { return Ok(None) };
    let Some(tile) = TileName::in_tree(TileKind::Entries, last / u64::from(TILE_WIDTH), size) else {
        return Ok(None);
    };
    let bundle = tiles.read(tile).map_err(SequencerError::Tiles)?;
    Ok(leaves(&bundle).last().and_then(Result::ok).map(<[u8]>::to_vec))
}

/// Gives each record from `from` on to `take`; the offset behind the last batch. Control batches and records without a
/// value, which the log never writes, make no leaf.
pub(crate) fn each_leaf(
    records: &bytes::Bytes,
    from: i64,
    take: &mut dyn FnMut(i64, &[u8]),
) -> Result<i64, BatchError> {
    let mut scratch = Scratch::default();
    let mut next = from;
    for batch in batches(records) {
        let batch = batch?;
        batch.verify_crc()?;
        next = next.max(batch.header().last_offset().saturating_add(1));
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(&mut scratch, DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            if let (true, Some(value)) = (record.offset >= from, record.value) {
                take(record.offset, value);
            }
        }
    }
    Ok(next)
}
