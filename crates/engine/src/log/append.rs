//! Appending: validation, sequences, offsets, one write and one fsync for all that waits.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use shuniu_wire::messages::ResponseError;
use tokio::sync::oneshot;

use super::index::{NO_TIMESTAMP, Tally};
use super::partition::{Append, Partition, Placed, Refused, hold};
use super::producers::{Producer, Producers, Verdict};
use super::segment::{Segment, SegmentName};
use super::time;
use crate::folder::sync_folder;
use crate::header::{Header, PREFIX_BYTES, prefix, with_append_time, with_latest_time};
use crate::settings::Settings;

/// A segment's offsets span at most this, so that an index entry holds any of them.
const SEGMENT_OFFSETS_MAX: i64 = u32::MAX as i64;
/// Linux takes at most 1,024 slices in one call; a batch needs two.
const SLICES_MAX: usize = 1_024;

/// The one that appends. Its log is durable up to the view's end whenever nobody holds it.
pub(crate) struct Writer {
    pub(super) name: SegmentName,
    pub(super) file: Arc<File>,
    /// The durable bytes of the active segment: the next batch begins here.
    pub(super) bytes: u64,
    pub(super) next_offset: i64,
    pub(super) producers: Producers,
    /// Set when the disk failed in a way after which nothing can be promised. Only reopening helps: an fsync that
    /// failed once may report success next time without having written anything.
    pub(super) broken: Option<String>,
}

/// Batches that go to disk together.
struct Round {
    chunks: Vec<([u8; PREFIX_BYTES], Bytes)>,
    headers: Vec<Header>,
    bytes: u64,
    next_offset: i64,
    leader_epoch: i32,
    changed: HashMap<i64, Producer>,
    answers: Vec<(oneshot::Sender<Result<Placed, Refused>>, Placed)>,
}

impl Round {
    fn new(next_offset: i64, leader_epoch: i32) -> Self {
        Self {
            chunks: Vec::new(),
            headers: Vec::new(),
            bytes: 0,
            next_offset,
            leader_epoch,
            changed: HashMap::new(),
            answers: Vec::new(),
        }
    }

    /// Takes one Produce in whole or not at all.
    fn take(
        &mut self,
        producers: &Producers,
        batches: Vec<(Header, Bytes)>,
        settings: &Settings,
        now_ms: i64,
    ) -> Result<Placed, Refused> {
        let before = (self.chunks.len(), self.bytes, self.next_offset);
        let changed_before = (batches.len() > 1).then(|| self.changed.clone());
        let mut placed = None;
        for (header, batch) in batches {
            match self.take_batch(producers, header, batch, settings, now_ms) {
                Ok(batch_placed) => placed = placed.or(Some(batch_placed)),
                Err(refused) => {
                    self.chunks.truncate(before.0);
                    self.headers.truncate(before.0);
                    self.bytes = before.1;
                    self.next_offset = before.2;
                    // A refused batch itself changes nothing, so one alone needs no copy.
                    if let Some(changed) = changed_before {
                        self.changed = changed;
                    }
                    return Err(refused);
                }
            }
        }
        placed.ok_or_else(|| Refused::new(ResponseError::InvalidRecord, "no record batch"))
    }

    fn take_batch(
        &mut self,
        producers: &Producers,
        mut header: Header,
        mut batch: Bytes,
        settings: &Settings,
        now_ms: i64,
    ) -> Result<Placed, Refused> {
        let append_time_ms = if settings.append_time { now_ms } else { -1 };
        let verdict = producers
            .judge(&mut self.changed, &header, self.next_offset, now_ms, append_time_ms)
            .map_err(|code| {
            let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
            Refused::new(code, format!("producer {id} epoch {epoch} sequence {sequence}"))
        })?;
        if let Verdict::Repeated { first_offset, append_time_ms } = verdict {
            return Ok(Placed { base_offset: first_offset, append_time_ms });
        }
        let invalid = || Refused::new(ResponseError::InvalidRecord, "the batch does not fit into a log");
        if settings.append_time {
            let stamped = with_append_time(&batch, header.attributes, now_ms).ok_or_else(invalid)?;
            batch = Bytes::from(stamped);
            header.max_timestamp = now_ms;
        }
        let base_offset = self.next_offset;
        header.base_offset = base_offset;
        let next_offset = header.last_offset().checked_add(1).ok_or_else(invalid)?;
        let prefix = prefix(base_offset, header.bytes, self.leader_epoch).ok_or_else(invalid)?;
        self.chunks.push((prefix, batch.slice(PREFIX_BYTES..)));
        self.headers.push(header);
        self.bytes += header.bytes as u64;
        self.next_offset = next_offset;
        Ok(Placed { base_offset, append_time_ms })
    }
}

impl Writer {
    pub(super) fn append_all(&mut self, partition: &Partition, waiting: VecDeque<Append>) {
        let settings = partition.settings.now();
        let now_ms = partition.context.now_ms();
        let mut round = Round::new(self.next_offset, partition.epochs.now());
        for Append { records, answer } in waiting {
            let decompressed_bytes_max = partition.context.config.decompressed_bytes_max;
            let batches = match validated(&records, &settings, decompressed_bytes_max) {
                Ok(batches) => batches,
                Err(refused) => {
                    send(answer, Err(refused));
                    continue;
                }
            };
            let offsets = batches.iter().map(|(header, _)| i64::from(header.last_offset_delta) + 1).sum();
            if self.must_close(&round, records.len() as u64, offsets, &settings) {
                // What is not durable in the old segment goes first: a segment is closed whole.
                self.commit(
                    partition,
                    std::mem::replace(&mut round, Round::new(0, partition.epochs.now())),
                    now_ms,
                );
                round.next_offset = self.next_offset;
                if self.broken.is_none()
                    && let Err(error) = self.close_segment(partition)
                {
                    tracing::error!(topic = %partition.topic, partition = partition.index, %error,
                        "cannot begin a new segment");
                    send(answer, Err(storage(&error)));
                    continue;
                }
            }
            match round.take(&self.producers, batches, &settings, now_ms) {
                Ok(placed) => round.answers.push((answer, placed)),
                Err(refused) => send(answer, Err(refused)),
            }
        }
        self.commit(partition, round, now_ms);
    }

    fn must_close(&self, round: &Round, bytes: u64, offsets: i64, settings: &Settings) -> bool {
        let present = self.bytes + round.bytes;
        present > 0
            && (present.saturating_add(bytes) > settings.segment_bytes
                || round.next_offset.saturating_add(offsets).saturating_sub(self.name.base)
                    > SEGMENT_OFFSETS_MAX)
    }

    /// Writes and syncs the round, notes its end, then shows it to readers, then answers. In this order: what a reader
    /// has seen or a producer was told survives any crash, and is known to have been there.
    fn commit(&mut self, partition: &Partition, round: Round, now_ms: i64) {
        if let Some(broken) = &self.broken {
            let refused = Refused::new(ResponseError::KafkaStorageError, broken.clone());
            return round.answer(Some(&refused));
        }
        if !round.chunks.is_empty() {
            if let Err(error) = self.write(partition, &round) {
                tracing::error!(topic = %partition.topic, partition = partition.index, %error,
                    "cannot append; nothing was acknowledged");
                return round.answer(Some(&storage(&error)));
            }
            self.bytes += round.bytes;
            self.next_offset = round.next_offset;
            if let Err(error) = hold(&partition.mark).note_end(self.next_offset) {
                // The records are durable all the same; an older note is a lower bound.
                tracing::warn!(topic = %partition.topic, partition = partition.index, %error,
                    "cannot note how far a log is durable");
            }
            let began = partition.show(|view| {
                round.headers.iter().for_each(|header| view.active.push(header));
                let empty = view.first_append_ms.is_none();
                view.first_append_ms.get_or_insert(now_ms);
                empty
            });
            if began {
                // It has an age from now on, at which it is closed.
                partition.context.maintenance.notify_one();
            }
        }
        let changed = round.answers_and(partition);
        self.producers.commit(changed, partition.context.config.producers_max);
    }

    fn write(&mut self, partition: &Partition, round: &Round) -> io::Result<()> {
        if let Err(error) = write_all(&self.file, self.bytes, &round.chunks) {
            // The disk is full, say. What was written of it goes, and the next attempt may succeed.
            if let Err(cut) = self.file.set_len(self.bytes) {
                self.broken = Some(format!("a failed append could not be cut off: {cut}"));
            }
            return Err(error);
        }
        let synced = self.file.sync_data();
        #[cfg(test)]
        let synced = if partition.sync_fails.load(std::sync::atomic::Ordering::Relaxed) {
            Err(io::Error::other("injected"))
        } else {
            synced
        };
        #[cfg(not(test))]
        let _ = partition;
        if let Err(error) = synced {
            self.broken = Some(format!("the disk failed ({error}); the partition must be reopened"));
            // Best effort: what nobody was told of should not come back on reopening.
            if let Err(error) = self.file.set_len(self.bytes) {
                tracing::warn!(%error, "cannot cut off what could not be synced");
            }
            return Err(error);
        }
        Ok(())
    }

    /// The last offset of each producer's last batch.
    pub(super) fn last_offsets(&self) -> HashMap<i64, i64> {
        self.producers.last_offsets()
    }

    /// Closes the active segment and begins the next. Everything in it is durable. If any step fails, the active
    /// segment simply stays active.
    pub(crate) fn close_segment(&mut self, partition: &Partition) -> io::Result<()> {
        if let Some(broken) = &self.broken {
            return Err(io::Error::other(broken.clone()));
        }
        let context = &partition.context;
        self.producers.expire(context.now_ms(), context.config.producer_idle_max);
        let tally = partition.seen(|view| view.active.clone());
        let segment = Segment::close(self.name, &partition.folder, &tally)?;
        // The snapshot first: a log file without one makes the next start read every batch.
        self.producers.write(&producers_path(&partition.folder, self.next_offset))?;
        let name = SegmentName { base: self.next_offset, generation: 0 };
        let file = match create_log(name, &partition.folder) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                // The active segment goes on past this offset: a file of the next one must not stay beside it.
                if let Err(left) = std::fs::remove_file(name.log(&partition.folder))
                    && left.kind() != io::ErrorKind::NotFound
                {
                    self.broken =
                        Some(format!("a segment that was begun in vain could not be removed: {left}"));
                }
                return Err(error);
            }
        };
        // Best effort, as everywhere: the log itself says as much once it has another segment.
        if let Err(error) = hold(&partition.mark).sync() {
            tracing::warn!(topic = %partition.topic, partition = partition.index, %error,
                "cannot sync the note of how far a log is durable");
        }
        let old = partition.show(|view| {
            view.closed.push(Arc::new(segment));
            view.active_name = name;
            view.active = Tally::new(name.base);
            view.active_file = Arc::clone(&file);
            view.first_append_ms = None;
            self.name
        });
        remove_producers_before(&partition.folder, old.base);
        self.name = name;
        self.file = file;
        self.bytes = 0;
        context.maintenance.notify_one();
        Ok(())
    }
}

impl Round {
    fn answer(self, refused: Option<&Refused>) {
        for (answer, placed) in self.answers {
            send(answer, refused.map_or(Ok(placed), |refused| Err(refused.clone())));
        }
    }

    /// Answers everyone and wakes the readers; returns what is to be remembered of producers.
    fn answers_and(mut self, partition: &Partition) -> HashMap<i64, Producer> {
        let changed = std::mem::take(&mut self.changed);
        let grown = !self.chunks.is_empty();
        self.answer(None);
        if grown {
            partition.waiters.wake();
        }
        changed
    }
}

/// Takes a Produce's records apart and checks what can be checked without the log.
fn validated(
    records: &Bytes,
    settings: &Settings,
    decompressed_bytes_max: usize,
) -> Result<Vec<(Header, Bytes)>, Refused> {
    let invalid = |message: &str| Refused::new(ResponseError::InvalidRecord, message);
    let corrupt = |message: &str| Refused::new(ResponseError::CorruptMessage, message);
    let mut batches = Vec::with_capacity(1);
    let mut at = 0;
    while at < records.len() {
        let rest = records.slice(at..);
        let mut header =
            Header::parse(&rest).ok_or_else(|| corrupt("the batch is shorter than its header"))?;
        if header.magic != 2 {
            let message = "only record batches of version 2 are kept";
            return Err(Refused::new(ResponseError::UnsupportedForMessageFormat, message));
        }
        if header.bytes > rest.len() {
            return Err(corrupt("the batch is cut off"));
        }
        if header.bytes > settings.batch_bytes_max {
            let message = format!("the batch is over max.message.bytes ({})", settings.batch_bytes_max);
            return Err(Refused::new(ResponseError::MessageTooLarge, message));
        }
        let mut batch = rest.slice(..header.bytes);
        if !header.crc_holds(&batch) {
            return Err(corrupt("the checksum does not hold"));
        }
        if header.records < 1 || header.last_offset_delta != header.records - 1 {
            return Err(invalid("the batch's record count and last offset do not agree"));
        }
        if header.is_control() {
            return Err(invalid("clients may not write control batches"));
        }
        if header.is_transactional() {
            let message = "there are no transactions here";
            return Err(Refused::new(ResponseError::InvalidTxnState, message));
        }
        if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
            return Err(invalid("an idempotent batch has an epoch and a sequence"));
        }
        at += header.bytes;
        // Sarama states none, whatever the times of its records. A search by time believes the batch, so that it is
        // told what they are, as Kafka's leader does.
        if header.max_timestamp == NO_TIMESTAMP && !settings.append_time {
            let unreadable = || invalid("the batch's records cannot be read");
            let latest = time::latest(&batch, decompressed_bytes_max).map_err(|_| unreadable())?;
            if latest > NO_TIMESTAMP {
                let stated = with_latest_time(&batch, header.attributes, latest).ok_or_else(unreadable)?;
                (header.max_timestamp, batch) = (latest, Bytes::from(stated));
            }
        }
        batches.push((header, batch));
    }
    if batches.is_empty() {
        return Err(invalid("no record batch"));
    }
    Ok(batches)
}

fn write_all(file: &File, mut position: u64, chunks: &[([u8; PREFIX_BYTES], Bytes)]) -> io::Result<()> {
    for chunks in chunks.chunks(SLICES_MAX / 2) {
        let mut slices: Vec<IoSlice<'_>> = chunks
            .iter()
            .flat_map(|(prefix, rest)| [IoSlice::new(prefix.as_slice()), IoSlice::new(rest.as_ref())])
            .collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            let written = match rustix::io::pwritev(file, slices, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            position += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
    }
    Ok(())
}

/// A new log file, there for good.
pub(super) fn create_log(name: SegmentName, folder: &Path) -> io::Result<File> {
    let path = name.log(folder);
    // Truncated: a file of this name can only be left over from a start of this segment that failed.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    sync_folder(folder)?;
    Ok(file)
}

/// Where the producers' state as of this offset is.
pub(super) fn producers_path(folder: &Path, offset: i64) -> std::path::PathBuf {
    folder.join(format!("{offset:020}.producers"))
}

/// Removes snapshots that are older than the last two.
fn remove_producers_before(folder: &Path, base: i64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let offset = name.to_str().and_then(|name| name.strip_suffix(".producers"));
        if offset.and_then(|offset| offset.parse::<i64>().ok()).is_some_and(|offset| offset < base) {
            // It is in nobody's way if it stays.
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

fn storage(error: &io::Error) -> Refused {
    Refused::new(ResponseError::KafkaStorageError, format!("the record store cannot write: {error}"))
}

fn send(answer: oneshot::Sender<Result<Placed, Refused>>, result: Result<Placed, Refused>) {
    // A client that is gone does not read its answer; its records stay.
    drop(answer.send(result));
}
