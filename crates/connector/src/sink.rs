//! A table that follows a resource. Its offsets stand in its own database and change in the transaction that changes
//! the rows, so each offset is seen once, whatever is killed when.
//!
//! What a consumer may rely on is a log that is compacted: after a week a deletion may be gone from it. Who is further
//! behind, new, or sees other columns than before, reads from the start, marks each row that it sees, and then sweeps
//! those that it did not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use shuniu_schema::frame;
use tokio_util::sync::CancellationToken;

use crate::avro::{Damaged, Unusable};
use crate::config::Sink;
use crate::connector::RunOptions;
use crate::kafka;
use crate::progress::Progress;
use crate::registry::{RegistryError, Schemas};
use crate::report::SinkReport;
use crate::sink::layout::{Layout, Reader};
use crate::sink::table::{Pending, Start, Table};
use crate::sink::writer::{Batch, Writer};

mod database;
mod layout;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod writer;

/// How long a batch that is not full waits for more.
const BATCH_MILLISECONDS: u64 = 200;

/// Bytes of one batch, whatever its records.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Without a record or the end of a partition, after which a run to the end of the log gives up.
const SILENCE_SECONDS: u64 = 60;

/// A table that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A Kafka request.
    #[error("cannot {attempted} at the hub (`shuniu doctor` looks from here and names the trouble)")]
    Kafka {
        /// What was under way.
        attempted: &'static str,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// The registry.
    #[error("cannot find the schema of what is delivered")]
    Registry {
        /// What it says.
        #[from]
        source: RegistryError,
    },
    /// A schema that no table can have.
    #[error("cannot make a table of the schema: {reason}")]
    Schema {
        /// Why not.
        reason: String,
    },
    /// A record that is not in the Confluent wire format or does not decode.
    #[error("record {offset} of partition {partition} does not decode")]
    Damaged {
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// The table's database.
    #[error("cannot {attempted} in the table's database")]
    Database {
        /// What was under way.
        attempted: &'static str,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// The table's file is a source's state.
    #[error("`{file}` is the state of a source: give the table another file in `database`")]
    State {
        /// The file.
        file: String,
    },
    /// The hub answered nothing for a long time.
    #[error("cannot read to the end of the log: nothing came within {SILENCE_SECONDS} s")]
    Silent,
}

impl From<Unusable> for SinkError {
    fn from(unusable: Unusable) -> Self {
        Self::Schema { reason: unusable.to_string() }
    }
}

/// Why a sink stops reading.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// It is at the end of the log, or was told to stop.
    Done,
    /// Other columns are delivered from here on.
    Changed,
}

/// Keeps the table until the end of the log (`once`) or until told to stop.
pub(crate) async fn run<S: Schemas>(
    sink: &Sink,
    client: &ClientConfig,
    mut schemas: S,
    options: &RunOptions,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<SinkReport, SinkError> {
    let mut writer = Writer::new(Table::open(sink).await?);
    let mut report = SinkReport::default();
    let bar = progress.records(sink.table.get_ref());
    loop {
        let latest = schemas.latest(&sink.resource).await?;
        let group = sink.group.clone().unwrap_or_else(|| format!("sink-{}", sink.table.get_ref()));
        let failed = |source| SinkError::Kafka { attempted: "set up a consumer", source };
        let follow = Follow {
            sink,
            consumer: Arc::new(kafka::consumer(client, &group).map_err(failed)?),
            schemas: &mut schemas,
            writer: &mut writer,
            layout: Arc::new(Layout::new(&latest.text)?),
            subject: latest.text,
            readers: HashMap::new(),
            open: HashSet::new(),
            options,
            bar: &bar,
            report: &mut report,
        };
        if follow.run(cancel).await? == Ended::Done {
            bar.finish();
            return Ok(report);
        }
    }
}

struct Follow<'a, S> {
    sink: &'a Sink,
    consumer: Arc<StreamConsumer>,
    schemas: &'a mut S,
    writer: &'a mut Writer,
    layout: Arc<Layout>,
    /// The schema of what is delivered, as the registry has it now.
    subject: String,
    readers: HashMap<u32, Arc<Reader>>,
    /// Partitions whose end was not reached yet.
    open: HashSet<i32>,
    options: &'a RunOptions,
    bar: &'a indicatif::ProgressBar,
    report: &'a mut SinkReport,
}

impl<S: Schemas> Follow<'_, S> {
    async fn run(mut self, cancel: &CancellationToken) -> Result<Ended, SinkError> {
        let mut start = self.start().await?;
        let mut pending = Pending::default();
        loop {
            let wait = if !pending.is_empty() {
                Duration::from_millis(BATCH_MILLISECONDS)
            } else {
                Duration::from_secs(SILENCE_SECONDS)
            };
            let consumer = self.consumer.clone();
            let received = tokio::select! {
                () = cancel.cancelled() => None,
                received = tokio::time::timeout(wait, consumer.recv()) => Some(received),
            };
            let is_full = match received {
                None => {
                    self.flush(&mut pending, &start, false).await?;
                    self.settle().await?;
                    return Ok(Ended::Done);
                }
                Some(Ok(Ok(message))) => {
                    if self.take(&message, &mut pending, &mut start.offsets).await? == Ended::Changed {
                        self.flush(&mut pending, &start, false).await?;
                        self.settle().await?;
                        return Ok(Ended::Changed);
                    }
                    pending.len() >= self.sink.batch_records_max || pending.bytes() >= BATCH_BYTES_MAX
                }
                Some(Ok(Err(KafkaError::PartitionEOF(partition)))) => {
                    self.open.remove(&partition);
                    self.open.is_empty()
                }
                Some(Ok(Err(source))) if kafka::is_passing(&source) => {
                    tracing::warn!(error = %source, "the hub cannot be reached; trying again");
                    false
                }
                Some(Ok(Err(source))) => return Err(SinkError::Kafka { attempted: "read", source }),
                Some(Err(_)) if pending.is_empty() && self.options.once => return Err(SinkError::Silent),
                Some(Err(_)) => true,
            };
            if !is_full {
                continue;
            }
            let is_at_end = self.open.is_empty();
            if is_at_end && start.sweeps {
                // Also where nothing stands at the end: what is restored once is not read again each time.
                start.ends.iter().for_each(|(partition, end)| pending.reach(*partition, *end));
            }
            self.flush(&mut pending, &start, is_at_end).await?;
            if is_at_end && start.sweeps {
                self.report.swept += self.settle().await?.sweep(start.generation).await?;
                start.sweeps = false;
            }
            if is_at_end && self.options.once {
                self.settle().await?;
                return Ok(Ended::Done);
            }
        }
    }

    /// Finds where to read from, and reads from there.
    async fn start(&mut self) -> Result<Start, SinkError> {
        let failed = |source| SinkError::Kafka { attempted: "find the end of the resource", source };
        let marks = kafka::watermarks(&self.consumer, &self.sink.resource).await.map_err(failed)?;
        let layout = self.layout.clone();
        let subject = self.subject.clone();
        let now = (self.options.clock)();
        let start = self.settle().await?.start(&layout, &subject, &marks, now).await?;
        if let Some(reason) = &start.full_read {
            self.report.full_read = Some(reason.clone());
        }
        let mut list = TopicPartitionList::new();
        for (partition, _, _) in &marks {
            let offset = start.offsets.get(partition).map_or(Offset::Beginning, |next| Offset::Offset(*next));
            let added = list.add_partition_offset(self.sink.resource.as_str(), *partition, offset);
            added.map_err(|source| SinkError::Kafka { attempted: "say where to read", source })?;
            self.open.insert(*partition);
        }
        let assigned = self.consumer.assign(&list);
        assigned.map_err(|source| SinkError::Kafka { attempted: "say where to read", source })?;
        Ok(start)
    }

    /// Takes a record up; `next` has the offset after the last that was, of partitions that were read before. `Changed` where it is of a schema that comes after the one the table has, or where the topic was
    /// restored.
    async fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        pending: &mut Pending,
        next: &mut HashMap<i32, i64>,
    ) -> Result<Ended, SinkError> {
        let (partition, offset) = (message.partition(), message.offset());
        let damaged = || SinkError::Damaged { partition, offset };
        if next.get(&partition).is_some_and(|next| offset - next >= kafka::RESTORED_OFFSETS) {
            return Ok(Ended::Changed);
        }
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(damaged)?;
        let split = message.payload().map(frame::split).transpose().map_err(|_| damaged())?;
        if let Some((schema, _)) = split
            && !self.readers.contains_key(&schema)
        {
            let text = self.schemas.text(schema).await?;
            if text != self.subject && self.schemas.latest(&self.sink.resource).await?.text != self.subject {
                return Ok(Ended::Changed);
            }
            self.readers.insert(schema, Arc::new(self.layout.reader(&text)?));
        }
        let body = split.map(|(schema, body)| (schema, body.to_vec()));
        pending.take(partition, offset, key, body);
        if let Some(next) = next.get_mut(&partition) {
            *next = offset + 1;
        }
        Ok(Ended::Done)
    }

    /// Lets what is pending be written, with its offsets, while the next records are read.
    async fn flush(
        &mut self,
        pending: &mut Pending,
        start: &Start,
        is_at_end: bool,
    ) -> Result<(), SinkError> {
        if pending.is_empty() && !is_at_end {
            return Ok(());
        }
        self.settle().await?;
        self.writer.begin(Batch {
            layout: self.layout.clone(),
            readers: self.readers.clone(),
            pending: std::mem::take(pending),
            generation: start.generation,
            caught_up: is_at_end.then(|| (self.options.clock)()),
        });
        Ok(())
    }

    /// The table, once what was to be written is.
    async fn settle(&mut self) -> Result<&mut Table, SinkError> {
        let (table, written, deleted) = self.writer.settle().await?;
        self.report.written += written;
        self.report.deleted += deleted;
        self.bar.inc(written + deleted);
        Ok(table)
    }
}

impl From<Damaged> for SinkError {
    fn from(damaged: Damaged) -> Self {
        Self::Schema { reason: damaged.to_string() }
    }
}
