//! Going on with a log whose record store was restored from a backup: what its topic lacks is put behind it from tiles
//! that were kept elsewhere, so that the log goes on where it was, and not where the backup was.

use std::sync::Arc;
use std::time::Duration;

use shuniu_broker::Upstream;
use shuniu_ledger::{Action, Entry, Hash, Suite};
use shuniu_wire::batch::{BatchBuilder, BatchError, BuiltRecord, Compression};
use shuniu_wire::messages::ResponseError;
use tokio::sync::mpsc;

use crate::checkpoints::CheckpointRow;
use crate::partition::{Partition, PartitionError};
use crate::reader::{Found, LogReader, VerifyError};
use crate::sequencer::each_leaf;

const ANSWER_MAX: Duration = Duration::from_secs(10);
const FETCH_BYTES_MAX: i32 = 2 << 20;
/// Leaves of one batch: below any topic's limit.
const BATCH_BYTES: usize = 256 << 10;
/// Batches read ahead of the topic.
const BATCHES_AHEAD: usize = 4;
/// Entries about the directory that are named.
const CHANGES_MAX: usize = 1_000;

/// Why a log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The topic gave no good answer.
    #[error("cannot read or write the log's topic")]
    Partition(#[from] PartitionError),
    /// A batch on the topic cannot be read.
    #[error("cannot read an entry on the log's topic")]
    Batch(#[from] BatchError),
    /// The topic does not reach to the checkpoint.
    #[error(
        "the log's topic holds offsets {start} to {end}, and its checkpoint stands before offset {expected}"
    )]
    Apart {
        /// The topic's first offset.
        start: i64,
        /// The offset after its last.
        end: i64,
        /// Where the checkpoint stands.
        expected: i64,
    },
    /// The tiles cannot be read, or do not go with the checkpoint.
    #[error("the newer tiles do not hold")]
    Newer(#[source] Box<VerifyError>),
    /// The tiles have another entry than the topic: they are of another history.
    #[error(
        "entry {index} of the newer tiles is not the one at offset {offset} of the topic: they are of another history"
    )]
    Another {
        /// Of the entry.
        index: u64,
        /// On the topic.
        offset: i64,
    },
    /// A thread was ended.
    #[error("the reading of the newer tiles was ended")]
    Ended,
}

/// Where a log stands whose record store was restored.
#[derive(Debug)]
pub struct Resumed {
    /// Entries on its topic and before: the log goes on from here.
    pub size: u64,
    /// Entries that were put behind the topic from the newer tiles.
    pub appended: u64,
    /// Where the newer tiles' checkpoint stands on the topic; `None` where there are none that are newer.
    pub row: Option<CheckpointRow>,
    /// Entries after the earlier checkpoint that tell of changes of the directory; the first 1,000.
    pub changes: Vec<Found>,
}

/// An entry that is on the topic.
struct Known {
    offset: i64,
    hash: Hash,
}

/// Looks at what the topic holds behind `row`, and puts behind it what `newer`, if given, has beyond that. The tiles of
/// `newer` should have been verified; that they go with `row` and with the topic is looked at here. No hub may run.
///
/// # Errors
/// See [`ResumeError`]. Nothing was appended, but for [`ResumeError::Partition`].
pub async fn resume(
    upstream: Arc<dyn Upstream>,
    suite: Suite,
    row: &CheckpointRow,
    newer: Option<(Arc<LogReader>, String)>,
) -> Result<Resumed, ResumeError> {
    let mut partition = Partition::new(upstream, ANSWER_MAX);
    let mut changes = Vec::new();
    let known = known(&mut partition, suite, row, &mut changes).await?;
    let size = row.tree_size + known.len() as u64;
    let Some((newer, note)) = newer.filter(|(newer, _)| newer.checkpoint().size > row.tree_size) else {
        return Ok(Resumed { size, appended: 0, row: None, changes });
    };
    let (tree_size, root) = (newer.checkpoint().size, newer.checkpoint().root);
    let on_topic = tree_size.checked_sub(row.tree_size + 1).and_then(|last| usize::try_from(last).ok());
    let on_topic = on_topic.and_then(|last| known.get(last)).map(|known| known.offset + 1);
    let (sender, mut missing) = mpsc::channel(BATCHES_AHEAD);
    let earlier = row.clone();
    let read = tokio::task::spawn_blocking(move || read(&newer, &earlier, &known, &sender));
    let mut appended = 0;
    while let Some(leaves) = missing.recv().await {
        append(&mut partition, &leaves).await?;
        appended += leaves.len() as u64;
        changes.extend(leaves.into_iter().filter(|found| tells_of_a_change(&found.entry)));
        changes.truncate(CHANGES_MAX);
    }
    read.await.map_err(|_| ResumeError::Ended)??;
    let next_offset = match on_topic {
        Some(next_offset) => next_offset,
        None => partition.end().await?,
    };
    let row = CheckpointRow { tree_size, next_offset, root, note };
    Ok(Resumed { size: size.max(tree_size), appended, row: Some(row), changes })
}

/// What stands on the topic behind the row.
async fn known(
    partition: &mut Partition,
    suite: Suite,
    row: &CheckpointRow,
    changes: &mut Vec<Found>,
) -> Result<Vec<Known>, ResumeError> {
    let (start, end) = (partition.start().await?, partition.end().await?);
    let mut next = row.next_offset;
    if !(start..=end).contains(&next) {
        return Err(ResumeError::Apart { start, end, expected: next });
    }
    let mut known = Vec::new();
    while next < end {
        let fetched = partition.fetch(next, Duration::ZERO, 1, FETCH_BYTES_MAX).await?;
        let after = each_leaf(&fetched.records, next, &mut |offset, leaf| {
            let index = row.tree_size + known.len() as u64;
            known.push(Known { offset, hash: suite.leaf_hash(leaf) });
            let found = Entry::from_leaf(leaf).map(|entry| Found { index, leaf: leaf.to_vec(), entry });
            let change = found.ok().filter(|found| tells_of_a_change(&found.entry));
            changes.extend(change.filter(|_| changes.len() < CHANGES_MAX));
        })?;
        if after <= next {
            return Err(PartitionError::Answer.into());
        }
        next = after;
    }
    Ok(known)
}

/// Holds the tiles against what is known, and gives on what is beyond.
fn read(
    newer: &LogReader,
    row: &CheckpointRow,
    known: &[Known],
    sender: &mpsc::Sender<Vec<Found>>,
) -> Result<(), ResumeError> {
    let failed = |error| ResumeError::Newer(Box::new(error));
    newer.verify_growth(&row.note).map_err(failed)?;
    let suite = newer.key().suite();
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    for found in newer.entries(row.tree_size) {
        let found = found.map_err(failed)?;
        let place = usize::try_from(found.index - row.tree_size).ok();
        if let Some(known) = place.and_then(|place| known.get(place)) {
            if known.hash != suite.leaf_hash(&found.leaf) {
                return Err(ResumeError::Another { index: found.index, offset: known.offset });
            }
            continue;
        }
        bytes += found.leaf.len();
        leaves.push(found);
        if bytes >= BATCH_BYTES {
            // Nobody takes them any more: the topic refused, and says so itself.
            if sender.blocking_send(std::mem::take(&mut leaves)).is_err() {
                return Ok(());
            }
            bytes = 0;
        }
    }
    if !leaves.is_empty() {
        sender.blocking_send(leaves).ok();
    }
    Ok(())
}

async fn append(partition: &mut Partition, leaves: &[Found]) -> Result<(), PartitionError> {
    let mut builder = BatchBuilder::new(Compression::Lz4);
    for found in leaves {
        let (timestamp, value) = (found.entry.time.as_millis(), Some(found.leaf.as_slice()));
        builder.push(&BuiltRecord { timestamp, key: None, value, headers: &[] });
    }
    let too_large = |_| PartitionError::Refused { error: ResponseError::MessageTooLarge };
    partition.produce(builder.build().map_err(too_large)?).await.map(drop)
}

fn tells_of_a_change(entry: &Entry) -> bool {
    matches!(entry.draft.action, Action::Granted | Action::Changed | Action::Revoked)
}

#[cfg(test)]
mod tests {
    use shuniu_broker::NodeId;
    use shuniu_broker::memory::MemoryUpstream;
    use shuniu_ledger::note::NoteSigner;
    use shuniu_ledger::{Actor, BootId, Checkpoint, Draft, EntryId, Tiler};
    use shuniu_model::Timestamp;

    use super::*;
    use crate::folder::TileFolder;
    use crate::tiles::Tiles as _;

    const SUITE: Suite = Suite::Sha256Ed25519;

    fn signer() -> NoteSigner {
        NoteSigner::new(SUITE, &SUITE.origin("test.example/audit"), &[7; 32]).unwrap()
    }

    /// Entries of one boot; `other` are of another history.
    fn entries(count: u64, other: bool) -> Vec<Found> {
        let mut previous = Hash::ZERO;
        let made = (0..count).map(|sequence| {
            let text = if other && sequence > 2 { "other" } else { "one" };
            let draft = Draft::changed(Actor::hub(), "test", text);
            let id = EntryId { boot: BootId([1; 16]), sequence };
            let time = Timestamp::from_micros(1_764_000_000_000_000 + i64::try_from(sequence).unwrap());
            let entry = Entry { id, time, previous, draft };
            let leaf = entry.leaf().unwrap();
            previous = SUITE.leaf_hash(&leaf);
            Found { index: sequence, leaf, entry }
        });
        made.collect()
    }

    /// The tiles of these entries, and the row of their checkpoint on a topic that begins with them.
    fn log(folder: &std::path::Path, entries: &[Found]) -> (Arc<LogReader>, CheckpointRow) {
        let tiles = TileFolder::create(folder).unwrap();
        let (mut tiler, mut made) = (Tiler::empty(SUITE), Vec::new());
        entries.iter().for_each(|found| tiler.push(&found.leaf, &mut made).unwrap());
        made.extend(tiler.partial());
        tiles.put(&made).unwrap();
        let origin = signer().verifier().name().to_owned();
        let note = Checkpoint { origin, size: tiler.size(), root: tiler.root() }.signed(&signer()).unwrap();
        tiles.publish(&note).unwrap();
        let next_offset = i64::try_from(tiler.size()).unwrap();
        let row = CheckpointRow { tree_size: tiler.size(), next_offset, root: tiler.root(), note };
        (Arc::new(LogReader::open(tiles, signer().verifier().clone()).unwrap()), row)
    }

    async fn topic(entries: &[Found]) -> (Arc<MemoryUpstream>, Partition) {
        let store = Arc::new(MemoryUpstream::new(NodeId(1)));
        let mut partition = Partition::new(store.clone(), ANSWER_MAX);
        partition.ensure(1).await.unwrap();
        append(&mut partition, entries).await.unwrap();
        (store, partition)
    }

    #[tokio::test]
    async fn what_the_topic_lacks_is_taken_from_newer_tiles_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let all = entries(700, false);
        let (_, row) = log(&folder.path().join("backup"), &all[..5]);
        let (newer, newest) = log(&folder.path().join("newer"), &all);
        // The backup's topic reaches further than its checkpoint.
        let (store, mut partition) = topic(&all[..9]).await;
        let given = Some((Arc::clone(&newer), newest.note.clone()));
        let resumed = resume(store.clone(), SUITE, &row, given.clone()).await.unwrap();
        assert_eq!((resumed.size, resumed.appended), (700, 691));
        assert_eq!(resumed.row, Some(newest.clone()));
        assert_eq!(resumed.changes.len(), 695);
        assert_eq!(partition.end().await.unwrap(), 700);
        // Once more, and nothing is missing.
        let resumed = resume(store.clone(), SUITE, &row, given).await.unwrap();
        assert_eq!((resumed.size, resumed.appended, resumed.row), (700, 0, Some(newest)));
        let resumed = resume(store.clone(), SUITE, &row, None).await.unwrap();
        assert_eq!((resumed.size, resumed.appended, resumed.row), (700, 0, None));
        let (older, _) = log(&folder.path().join("older"), &all[..3]);
        let resumed = resume(store, SUITE, &row, Some((older, String::new()))).await.unwrap();
        assert_eq!((resumed.size, resumed.appended, resumed.row), (700, 0, None));
        // Newer than the checkpoint, and older than the topic.
        let (between, row_between) = log(&folder.path().join("between"), &all[..7]);
        let (store, _) = topic(&all[..9]).await;
        let resumed = resume(store, SUITE, &row, Some((between, row_between.note.clone()))).await.unwrap();
        assert_eq!((resumed.size, resumed.appended, resumed.row), (9, 0, Some(row_between)));
    }

    #[tokio::test]
    async fn p5_tiles_of_another_history_are_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (all, other) = (entries(20, false), entries(20, true));
        let (_, row) = log(&folder.path().join("backup"), &all[..5]);
        let (newer, newest) = log(&folder.path().join("other"), &other);
        let (store, mut partition) = topic(&all[..9]).await;
        let error = resume(store.clone(), SUITE, &row, Some((newer, newest.note))).await.unwrap_err();
        assert!(matches!(error, ResumeError::Newer(_)), "{error}");
        // They part behind the checkpoint.
        let (_, row) = log(&folder.path().join("early"), &all[..2]);
        let (newer, newest) = log(&folder.path().join("later"), &other);
        let error = resume(store, SUITE, &row, Some((newer, newest.note))).await.unwrap_err();
        assert!(matches!(error, ResumeError::Another { index: 3, offset: 3 }), "{error}");
        assert_eq!(partition.end().await.unwrap(), 9, "nothing was appended");
    }
}
