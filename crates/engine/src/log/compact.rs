//! Compaction: of each key the latest record stays, at its offset. Closed segments are written anew without the others.
//!
//! The crash story: a new generation is written beside the old one, synced with its index, and only then takes its
//! name; what it replaces is removed after that, and again on the next start if a crash came first. The offset up to
//! which the log is compacted is noted last; a pass that is done twice does no harm.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use shuniu_wire::batch::{Batch, Scratch, thin};

use super::index::Tally;
use super::partition::{Partition, hold};
use super::segment::{Scan, Segment, SegmentName};
use super::time::whole;
use crate::folder::{put_file, staged, sync_folder};
use crate::header::Header;
use crate::settings::Settings;

const FILE_NAME: &str = "compacted";
const WRITE_BYTES: usize = 1 << 20;

/// What maintenance remembers of a partition.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Up to here the log is compacted.
    compacted_to: i64,
}

/// The latest offset of each key, from some offset on. Keys are held as two hashes under keys of this process, so that
/// nobody can make two of them meet.
struct Latest {
    hashers: [RandomState; 2],
    offsets: HashMap<[u64; 2], i64>,
}

impl Latest {
    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// Whether a later record of this key is known.
    fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(&self.hash(key)).is_some_and(|latest| *latest > offset)
    }
}

/// What a pass works with.
struct Pass<'a> {
    partition: &'a Partition,
    latest: Latest,
    /// The first offset that `latest` does not cover.
    until: i64,
    now_ms: i64,
    delete_horizon: i64,
    decompressed_bytes_max: usize,
    /// The last offset of each producer's last batch: its header stays, as it tells of the producer's sequence.
    producers: HashMap<i64, i64>,
    /// The last offset of all that may be compacted. Its batch's header stays, so that there is something to read up
    /// to the end of the log.
    last_offset: i64,
    scratch: Scratch,
}

impl Upkeep {
    pub(super) fn load(folder: &Path) -> io::Result<Self> {
        match fs::read_to_string(folder.join(FILE_NAME)) {
            // Without a good note everything is taken as not compacted, which is only slower.
            Ok(text) => Ok(Self { compacted_to: text.trim().parse().unwrap_or(0) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { compacted_to: 0 }),
            Err(error) => Err(error),
        }
    }

    /// When a pass is due; at once if not after `now_ms`.
    pub(super) fn due_ms(&self, partition: &Partition, settings: &Settings, now_ms: i64) -> Option<i64> {
        if !settings.compact {
            return None;
        }
        partition.seen(|view| {
            let free_at =
                |segment: &Segment| segment.max_timestamp.saturating_add(settings.compaction_lag_min_ms);
            let (mut clean, mut dirty, mut oldest_dirty_ms) = (0_u64, 0_u64, None);
            let mut next = None;
            for segment in &view.closed {
                if free_at(segment) > now_ms {
                    next = Some(free_at(segment));
                    break;
                }
                if segment.delete_horizon <= now_ms {
                    return Some(now_ms);
                }
                next = next.into_iter().chain(horizon_of(segment)).min();
                if segment.end > self.compacted_to {
                    dirty = dirty.saturating_add(segment.bytes);
                    oldest_dirty_ms = oldest_dirty_ms.or(Some(segment.max_timestamp));
                } else {
                    clean = clean.saturating_add(segment.bytes);
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a share of bytes need not be exact")]
            let share = dirty as f64 / (clean.saturating_add(dirty).max(1)) as f64;
            let overdue_at = oldest_dirty_ms.map(|ms| ms.saturating_add(settings.compaction_lag_max_ms));
            if dirty > 0 && (share >= settings.dirty_share_min || overdue_at.is_some_and(|at| at <= now_ms)) {
                return Some(now_ms);
            }
            next.into_iter().chain(overdue_at.filter(|_| dirty > 0)).min()
        })
    }

    /// One pass: as many keys as fit into memory. If that was not all, another pass is due.
    pub(super) fn compact(
        &mut self,
        partition: &Partition,
        settings: &Settings,
        now_ms: i64,
    ) -> io::Result<()> {
        let config = &partition.context.config;
        let free = |segment: &&Arc<Segment>| {
            segment.max_timestamp.saturating_add(settings.compaction_lag_min_ms) <= now_ms
        };
        let segments: Vec<Arc<Segment>> =
            partition.seen(|view| view.closed.iter().take_while(free).cloned().collect());
        let Some(end) = segments.last().map(|segment| segment.end) else { return Ok(()) };
        let mut scratch = Scratch::default();
        let (latest, until) = self.latest_offsets(partition, &segments, end, &mut scratch)?;
        let mut pass = Pass {
            partition,
            latest,
            until,
            now_ms,
            delete_horizon: now_ms.saturating_add(settings.delete_retention_ms),
            decompressed_bytes_max: config.decompressed_bytes_max,
            producers: hold(&partition.writer).last_offsets(),
            last_offset: end - 1,
            scratch,
        };
        let touched: Vec<Arc<Segment>> =
            segments.into_iter().filter(|segment| segment.name.base < until).collect();
        for group in groups(&touched, settings.segment_bytes) {
            pass.rewrite(group)?;
        }
        put_file(&partition.folder.join(FILE_NAME), until.to_string().as_bytes())?;
        self.compacted_to = until;
        tracing::info!(topic = %partition.topic, partition = partition.index, until, "a log was compacted");
        Ok(())
    }

    /// The latest offset of each key that is not compacted yet, up to the bound on keys; and the offset that this
    /// reaches to.
    fn latest_offsets(
        &self,
        partition: &Partition,
        segments: &[Arc<Segment>],
        end: i64,
        scratch: &mut Scratch,
    ) -> io::Result<(Latest, i64)> {
        let config = &partition.context.config;
        let mut latest =
            Latest { hashers: [RandomState::new(), RandomState::new()], offsets: HashMap::new() };
        for segment in segments.iter().filter(|segment| segment.end > self.compacted_to) {
            let file = segment.open_log()?;
            let from = segment.position_of_offset(self.compacted_to)?;
            let mut scan = Scan::new(&file, from, segment.bytes);
            while let Some((header, bytes)) = scan.next_batch()? {
                if header.last_offset() < self.compacted_to || header.is_control() {
                    continue;
                }
                // A batch is taken whole, so that the bound is held to within one batch.
                if latest.offsets.len() >= config.compaction_keys_max {
                    return Ok((latest, header.base_offset));
                }
                let batch = whole(bytes)?;
                let Ok(records) = batch.records(scratch, config.decompressed_bytes_max) else { continue };
                for record in records.flatten() {
                    if let Some(key) = record.key {
                        let hash = latest.hash(key);
                        latest.offsets.insert(hash, record.offset);
                    }
                }
            }
        }
        Ok((latest, end))
    }
}

impl Pass<'_> {
    /// Writes neighbouring segments anew as one.
    fn rewrite(&mut self, group: &[Arc<Segment>]) -> io::Result<()> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let folder = &self.partition.folder;
        let name = SegmentName { base: first.name.base, generation: first.name.generation.saturating_add(1) };
        let path = name.log(folder);
        let staged = staged(&path);
        let file = File::create(&staged)?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, &file);
        let mut tally = Tally::new(name.base);
        for segment in group {
            let log = segment.open_log()?;
            let mut scan = Scan::new(&log, 0, segment.bytes);
            while let Some((header, bytes)) = scan.next_batch()? {
                if let Some((batch, has_tombstones)) = self.thinned(&header, &whole(bytes)?) {
                    out.write_all(&batch)?;
                    let header = Header::parse(&batch).ok_or(io::ErrorKind::InvalidData)?;
                    let horizon = tally.delete_horizon;
                    tally.push(&header);
                    if !has_tombstones {
                        // The mark of a horizon stays in the header; nothing waits for it any more.
                        tally.delete_horizon = horizon;
                    }
                }
            }
            if scan.position() < segment.bytes {
                let what = format!("no record batch at byte {} of {}", scan.position(), segment.bytes);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        out.flush()?;
        drop(out);
        let bytes_before: u64 = group.iter().map(|segment| segment.bytes).sum();
        let horizon_before = group.iter().map(|segment| segment.delete_horizon).min();
        if group.len() == 1 && tally.bytes == bytes_before && Some(tally.delete_horizon) == horizon_before {
            // Nothing went: the old file is as good.
            return fs::remove_file(&staged);
        }
        tally.end = last.end;
        file.sync_data()?;
        let segment = Arc::new(Segment::close(name, folder, &tally)?);
        // The index is there for good before the log takes its name; a log without one would be read in whole.
        sync_folder(folder)?;
        fs::rename(&staged, &path)?;
        sync_folder(folder)?;
        self.partition.show(|view| {
            let replaced =
                |segment: &Arc<Segment>| (first.name.base..=last.name.base).contains(&segment.name.base);
            let at = view.closed.partition_point(|segment| segment.name.base < first.name.base);
            view.closed.retain(|segment| !replaced(segment));
            view.closed.insert(at, segment);
        });
        for segment in group {
            segment.name.remove(folder);
        }
        Ok(())
    }

    /// What is left of a batch, and whether there are tombstones in it; `None` if nothing is worth keeping.
    fn thinned(&mut self, header: &Header, batch: &Batch) -> Option<(Bytes, bool)> {
        if header.is_control() {
            return Some((batch.bytes().clone(), false));
        }
        let expired = header.delete_horizon().is_some_and(|at| at <= self.now_ms);
        let (latest, tombstones) = (&self.latest, Cell::new(false));
        let mut keep = |record: &shuniu_wire::batch::Record<'_>| {
            let Some(key) = record.key else { return true };
            let gone = record.value.is_none() && expired;
            let kept = !gone && !latest.supersedes(key, record.offset);
            tombstones.set(tombstones.get() || (kept && record.value.is_none()));
            kept
        };
        let bytes_max = self.decompressed_bytes_max;
        let mut thinned = thin(batch, None, bytes_max, &mut self.scratch, &mut keep);
        // A tombstone's time begins when everything before it is compacted.
        if tombstones.get() && header.delete_horizon().is_none() && header.last_offset() < self.until {
            thinned = thin(batch, Some(self.delete_horizon), bytes_max, &mut self.scratch, &mut keep);
        }
        match thinned {
            Ok(thinned) => {
                let empty = Header::parse(&thinned).is_some_and(|header| header.records == 0);
                let tells = self.producers.get(&header.producer_id) == Some(&header.last_offset())
                    || header.last_offset() == self.last_offset;
                (!empty || tells).then_some((thinned, tombstones.get()))
            }
            Err(error) => {
                tracing::warn!(topic = %self.partition.topic, partition = self.partition.index,
                    offset = header.base_offset, %error, "a batch cannot be read; compaction leaves it as it is");
                Some((batch.bytes().clone(), false))
            }
        }
    }
}

fn horizon_of(segment: &Segment) -> Option<i64> {
    (segment.delete_horizon != super::index::NO_HORIZON).then_some(segment.delete_horizon)
}

/// Neighbours that fit into one segment together, by what they hold now.
fn groups(segments: &[Arc<Segment>], segment_bytes: u64) -> Vec<&[Arc<Segment>]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let mut bytes = 0_u64;
        let fits = |segment: &&Arc<Segment>| {
            bytes = bytes.saturating_add(segment.bytes);
            bytes <= segment_bytes && segment.end.saturating_sub(first.name.base) <= i64::from(u32::MAX)
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, left) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        groups.push(group);
        rest = left;
    }
    groups
}
