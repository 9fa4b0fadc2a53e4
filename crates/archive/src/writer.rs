//! The one task that writes the log's topic.
//!
//! One batch is under way at a time; all who call meanwhile make the next. A batch that has failed in a way that leaves
//! open whether it was written is sent again as it is, with the same producer sequence, until the store says that it has
//! it. So the boot's chain has neither a gap nor a double, whatever the store does meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_broker::{Upstream, UpstreamError};
use shuniu_ledger::{BootId, Draft, Entry, EntryId, Hash, Suite};
use shuniu_model::{Clock, Timestamp};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, Scratch, batches};
use shuniu_wire::messages::ResponseError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::{AuditOptions, AuditUnavailable, Receipt};
use crate::meter;
use crate::partition::{Partition, PartitionError, Producer};

/// Below Kafka's default for a batch, 1 MiB, before compression.
const BATCH_BYTES_MAX: usize = 900_000;
/// More entries than this are another batch.
const BATCH_ENTRIES_MAX: usize = 10_000;
const RETRY_FIRST: Duration = Duration::from_millis(20);
/// For the topic to have a leader at the start.
const READY_MAX: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// What reading back may take from the topic at once.
const READ_BYTES_MAX: i32 = 4 << 20;
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Drafts of one caller, each split into parts that fit.
pub(crate) struct Job {
    pub(crate) parts: Vec<Vec<Draft>>,
    /// Whether the caller waits until it is known what became of them, while the log is down too.
    pub(crate) patient: bool,
    pub(crate) reply: oneshot::Sender<Result<Vec<Receipt>, AuditUnavailable>>,
}

pub(crate) struct Writer {
    partition: Partition,
    clock: Clock,
    boot: BootId,
    suite: Suite,
    append_max: Duration,
    jobs: mpsc::Receiver<Job>,
    down: watch::Sender<Option<String>>,
    /// Of the boot's next entry.
    sequence: u64,
    previous: Hash,
    producer: Producer,
    /// Of the producer's next record; wraps as Kafka's does.
    producer_sequence: i32,
    /// Nothing of this boot that is not acknowledged stands before this offset.
    acknowledged_end: i64,
}

/// Entries on their way, and who waits for them.
struct Pending {
    leaves: Vec<(Vec<u8>, i64)>,
    first: EntryId,
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// How many entries each draft of the caller became.
    entries: Vec<u64>,
    patient: bool,
    /// `None` once the caller was told that the log is down.
    reply: Option<oneshot::Sender<Result<Vec<Receipt>, AuditUnavailable>>>,
}

impl Writer {
    pub(crate) async fn open(
        upstream: Arc<dyn Upstream>,
        options: &AuditOptions,
        clock: Clock,
        jobs: mpsc::Receiver<Job>,
        down: watch::Sender<Option<String>>,
    ) -> Result<Self, PartitionError> {
        let mut partition = Partition::new(upstream, options.append_max);
        partition.ensure(options.replication).await?;
        let started = Instant::now();
        let (producer, acknowledged_end) = loop {
            match begin(&mut partition).await {
                // A topic that was made just now has no leader for a moment.
                Err(error) if error.is_unready() && started.elapsed() < READY_MAX => {
                    tokio::time::sleep(RETRY_FIRST).await;
                }
                begun => break begun?,
            }
        };
        Ok(Self {
            partition,
            clock,
            boot: options.boot,
            suite: options.suite,
            append_max: options.append_max,
            jobs,
            down,
            sequence: 0,
            previous: Hash::ZERO,
            producer,
            producer_sequence: 0,
            acknowledged_end,
        })
    }

    /// Writes until cancelled and nothing waits any more.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let job = tokio::select! {
                biased;
                job = self.jobs.recv() => job,
                () = cancel.cancelled() => {
                    self.jobs.close();
                    self.jobs.recv().await
                }
            };
            let Some(job) = job else { return };
            let mut pending = self.begin();
            self.take(job, &mut pending);
            while pending.leaves.len() < BATCH_ENTRIES_MAX
                && pending.bytes() < BATCH_BYTES_MAX
                && let Ok(job) = self.jobs.try_recv()
            {
                self.take(job, &mut pending);
            }
            if !self.write(pending, &cancel).await {
                return;
            }
        }
    }

    fn begin(&self) -> Pending {
        let first = EntryId { boot: self.boot, sequence: self.sequence };
        Pending { leaves: Vec::new(), first, waiting: Vec::new() }
    }

    /// Gives a caller's drafts their place in the boot's chain. A draft that makes no leaf leaves no trace in it.
    fn take(&mut self, job: Job, pending: &mut Pending) {
        let now = (self.clock)();
        let (sequence, previous, before) = (self.sequence, self.previous, pending.leaves.len());
        let mut entries = Vec::with_capacity(job.parts.len());
        for parts in job.parts {
            entries.push(parts.len() as u64);
            for draft in parts {
                if let Err(error) = self.chain(draft, now, pending) {
                    (self.sequence, self.previous) = (sequence, previous);
                    pending.leaves.truncate(before);
                    let refused = AuditUnavailable { reason: error.to_string() };
                    // Nobody may be left to hear it.
                    job.reply.send(Err(refused)).ok();
                    return;
                }
            }
        }
        pending.waiting.push(Waiting { entries, patient: job.patient, reply: Some(job.reply) });
    }

    fn chain(
        &mut self,
        draft: Draft,
        now: Timestamp,
        pending: &mut Pending,
    ) -> Result<(), shuniu_ledger::LeafError> {
        let id = EntryId { boot: self.boot, sequence: self.sequence };
        let leaf = Entry { id, time: now, previous: self.previous, draft }.leaf()?;
        self.previous = self.suite.leaf_hash(&leaf);
        self.sequence += 1;
        pending.leaves.push((leaf, now.as_millis()));
        Ok(())
    }

    /// Brings the entries onto the topic, however long it takes; false when cancelled while the store is down.
    async fn write(&mut self, mut pending: Pending, cancel: &CancellationToken) -> bool {
        let mut rest = std::mem::take(&mut pending.leaves).into_iter().peekable();
        let mut offsets = Vec::new();
        let mut sequence = pending.first.sequence;
        let started = Instant::now();
        // A single caller may bring more than one batch holds.
        while rest.peek().is_some() {
            let mut leaves = Vec::new();
            let mut bytes = 0;
            while let Some((leaf, _)) = rest.peek()
                && (leaves.is_empty() || bytes + leaf.len() <= BATCH_BYTES_MAX)
            {
                bytes += leaf.len();
                leaves.extend(rest.next());
            }
            let entries = leaves.len();
            let id = EntryId { boot: self.boot, sequence };
            let Some(offset) = self.write_batch(&leaves, id, started, &mut pending.waiting, cancel).await
            else {
                return false;
            };
            offsets.push(offset);
            sequence += entries as u64;
        }
        self.down.send_if_modified(|down| down.take().is_some());
        // Between two batches another replica's may stand: then only the ids are known, not the offsets.
        let offset = if let [offset] = offsets.as_slice() { *offset } else { None };
        pending.acknowledge(offset);
        true
    }

    /// Sends one batch until the store has it; its offset, if the store says. `None` when cancelled.
    async fn write_batch(
        &mut self,
        leaves: &[(Vec<u8>, i64)],
        first: EntryId,
        started: Instant,
        waiting: &mut [Waiting],
        cancel: &CancellationToken,
    ) -> Option<Option<i64>> {
        let mut retry = RETRY_FIRST;
        let mut batch = None;
        loop {
            let attempt = match &batch {
                Some(batch) => Ok(Bytes::clone(batch)),
                None => self.build(leaves),
            };
            let outcome = match attempt {
                Ok(built) => {
                    batch = Some(built.clone());
                    self.partition.produce(built).await
                }
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(offset) => return Some(self.acknowledged(leaves.len(), offset)),
                // The store no longer knows this producer: whether it has the batch is for the topic to say.
                Err(PartitionError::Refused { error }) if is_producer_lost(error) => {
                    match self.find(first).await {
                        Ok(Some(offset)) => return Some(self.acknowledged(leaves.len(), offset)),
                        Ok(None) => match self.partition.init_producer().await {
                            Ok(producer) => {
                                (self.producer, self.producer_sequence) = (producer, 0);
                                batch = None;
                                continue;
                            }
                            Err(error) => error,
                        },
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if is_final(&error) || started.elapsed() >= self.append_max {
                self.refuse_all(&error, waiting);
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = cancel.cancelled() => {
                    tracing::error!(entry = %first, "the audit log is down at shutdown: its last entries are not written");
                    return None;
                }
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn acknowledged(&mut self, records: usize, offset: i64) -> Option<i64> {
        meter::written(records);
        let records = i32::try_from(records).unwrap_or(i32::MAX);
        // Kafka's sequences count from 0 to i32::MAX and begin again.
        self.producer_sequence = self.producer_sequence.wrapping_add(records) & i32::MAX;
        let offset = (offset >= 0).then_some(offset)?;
        self.acknowledged_end = offset.saturating_add(i64::from(records));
        Some(offset)
    }

    fn build(&self, leaves: &[(Vec<u8>, i64)]) -> Result<Bytes, PartitionError> {
        let mut builder = BatchBuilder::new(Compression::Lz4).producer(
            self.producer.id,
            self.producer.epoch,
            self.producer_sequence,
        );
        for (leaf, timestamp) in leaves {
            let value = Some(leaf.as_slice());
            builder.push(&BuiltRecord { timestamp: *timestamp, key: None, value, headers: &[] });
        }
        builder.build().map_err(|_| PartitionError::Refused { error: ResponseError::MessageTooLarge })
    }

    /// Looks for an entry of this boot behind what is acknowledged.
    async fn find(&mut self, wanted: EntryId) -> Result<Option<i64>, PartitionError> {
        let end = self.partition.end().await?;
        let mut at = self.acknowledged_end;
        let mut scratch = Scratch::default();
        while at < end {
            let fetched = self.partition.fetch(at, Duration::ZERO, 1, READ_BYTES_MAX).await?;
            let mut moved = false;
            for batch in batches(&fetched.records) {
                let batch = batch.map_err(|_| PartitionError::Answer)?;
                let after = batch.header().last_offset().saturating_add(1);
                moved |= after > at;
                at = at.max(after);
                let records = batch
                    .records(&mut scratch, DECOMPRESSED_BYTES_MAX)
                    .map_err(|_| PartitionError::Answer)?;
                for record in records {
                    let record = record.map_err(|_| PartitionError::Answer)?;
                    let entry = record.value.and_then(|leaf| Entry::from_leaf(leaf).ok());
                    if entry.is_some_and(|entry| entry.id == wanted) {
                        return Ok(Some(record.offset));
                    }
                }
            }
            if !moved {
                return Err(PartitionError::Answer);
            }
        }
        Ok(None)
    }

    /// Says at once to all who wait, and to all who come, that the log is down; but not to those who want to know what
    /// becomes of entries that are under way.
    fn refuse_all(&mut self, error: &PartitionError, waiting: &mut [Waiting]) {
        let reason = chain_text(error);
        let was_down = self.down.borrow().is_some();
        self.down.send_replace(Some(reason.clone()));
        if !was_down {
            tracing::error!(reason, "the audit log cannot be written: nothing is delivered until it can");
        }
        let unavailable = AuditUnavailable { reason };
        for reply in waiting.iter_mut().filter(|caller| !caller.patient).filter_map(|it| it.reply.take()) {
            reply.send(Err(unavailable.clone())).ok();
        }
        while let Ok(job) = self.jobs.try_recv() {
            job.reply.send(Err(unavailable.clone())).ok();
        }
    }
}

impl Pending {
    fn bytes(&self) -> usize {
        self.leaves.iter().map(|(leaf, _)| leaf.len()).sum()
    }

    /// Tells all who wait; `offset` is the first entry's.
    fn acknowledge(self, offset: Option<i64>) {
        let mut sequence = self.first.sequence;
        for caller in self.waiting {
            let mut receipts = Vec::with_capacity(caller.entries.len());
            for entries in caller.entries {
                let behind = i64::try_from(sequence - self.first.sequence).ok();
                let offset = offset.zip(behind).and_then(|(offset, behind)| offset.checked_add(behind));
                receipts.push(Receipt { id: EntryId { sequence, ..self.first }, entries, offset });
                sequence += entries;
            }
            if let Some(reply) = caller.reply {
                reply.send(Ok(receipts)).ok();
            }
        }
    }
}

async fn begin(partition: &mut Partition) -> Result<(Producer, i64), PartitionError> {
    let producer = partition.init_producer().await?;
    Ok((producer, partition.end().await?))
}

fn is_producer_lost(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::OutOfOrderSequenceNumber
            | ResponseError::UnknownProducerId
            | ResponseError::InvalidProducerEpoch
            | ResponseError::InvalidProducerIdMapping
    )
}

/// Errors that waiting a moment will not cure: callers are told at once. The batch is still sent again and again.
fn is_final(error: &PartitionError) -> bool {
    match error {
        PartitionError::Upstream(UpstreamError::Storage { .. } | UpstreamError::Closed) => true,
        PartitionError::Refused { error } => {
            !error.is_retriable() || *error == ResponseError::KafkaStorageError
        }
        PartitionError::Upstream(_)
        | PartitionError::Late { .. }
        | PartitionError::Topic(_)
        | PartitionError::Answer => false,
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
