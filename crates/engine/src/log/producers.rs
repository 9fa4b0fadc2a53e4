//! What a partition remembers of idempotent producers: epoch and the last five batches of each, so that a repeated
//! batch is answered with its first offset and a gap is refused, as Kafka does.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use bytes::Buf;
use shuniu_wire::messages::ResponseError;

use crate::folder::put_file;
use crate::header::Header;

/// How many batches of one producer may be repeated: Kafka's window.
const WINDOW: usize = 5;
/// "shuniu producers 1": the first bytes of a snapshot.
const MAGIC: u64 = 0x7368_6e70_726f_0001;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Appended {
    first_sequence: i32,
    last_sequence: i32,
    first_offset: i64,
    append_time_ms: i64,
}

/// One producer's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    epoch: i16,
    recent: VecDeque<Appended>,
    last_ms: i64,
    /// The last batch's last offset; compaction keeps that batch.
    last_offset: i64,
}

/// All producers of a partition, as of some offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new and in order.
    Append,
    /// It is here already, at this offset, appended at this time.
    Repeated { first_offset: i64, append_time_ms: i64 },
}

impl Producers {
    /// Judges a batch and, if it is to be appended at `offset`, notes it in `changed` (which is looked at first: the
    /// batches before it that are not durable yet).
    pub(crate) fn judge(
        &self,
        changed: &mut HashMap<i64, Producer>,
        header: &Header,
        offset: i64,
        now_ms: i64,
        append_time_ms: i64,
    ) -> Result<Verdict, ResponseError> {
        if header.producer_id < 0 {
            return Ok(Verdict::Append);
        }
        let known = changed.get(&header.producer_id).or_else(|| self.by_id.get(&header.producer_id));
        if let Some(known) = known {
            if header.producer_epoch < known.epoch {
                return Err(ResponseError::InvalidProducerEpoch);
            }
            if header.producer_epoch == known.epoch {
                let last = last_sequence(header);
                let same = |batch: &&Appended| {
                    batch.first_sequence == header.base_sequence && batch.last_sequence == last
                };
                if let Some(batch) = known.recent.iter().find(same) {
                    return Ok(Verdict::Repeated {
                        first_offset: batch.first_offset,
                        append_time_ms: batch.append_time_ms,
                    });
                }
                let in_order = known
                    .recent
                    .back()
                    .is_none_or(|batch| follows(batch.last_sequence, header.base_sequence));
                if !in_order {
                    return Err(ResponseError::OutOfOrderSequenceNumber);
                }
            } else if header.base_sequence != 0 {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
        }
        // A producer that is not known (any more) may go on at any sequence: Kafka's rule.
        let mut producer = known.filter(|known| known.epoch == header.producer_epoch).cloned();
        let producer = producer.get_or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            recent: VecDeque::with_capacity(WINDOW),
            last_ms: now_ms,
            last_offset: offset,
        });
        producer.note(header, offset, now_ms, append_time_ms);
        changed.insert(header.producer_id, producer.clone());
        Ok(Verdict::Append)
    }

    /// What was noted is durable now.
    pub(crate) fn commit(&mut self, changed: HashMap<i64, Producer>, producers_max: usize) {
        self.by_id.extend(changed);
        if self.by_id.len() > producers_max {
            let mut by_age: Vec<(i64, i64)> =
                self.by_id.iter().map(|(id, producer)| (producer.last_ms, *id)).collect();
            by_age.sort_unstable();
            // A tenth more than needed, so that this is not done for every batch.
            let excess = self.by_id.len() - producers_max + producers_max / 10;
            for (_, id) in by_age.into_iter().take(excess) {
                self.by_id.remove(&id);
            }
        }
    }

    /// Takes over a batch that is in the log already.
    pub(crate) fn replay(&mut self, header: &Header) {
        if header.producer_id < 0 || header.base_sequence < 0 {
            return;
        }
        let append_time_ms = if header.is_log_append_time() { header.max_timestamp } else { -1 };
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            recent: VecDeque::with_capacity(WINDOW),
            last_ms: header.max_timestamp,
            last_offset: header.last_offset(),
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.recent.clear();
        }
        producer.note(header, header.base_offset, header.max_timestamp, append_time_ms);
    }

    /// Forgets those that have been silent too long.
    pub(crate) fn expire(&mut self, now_ms: i64, idle_max: Duration) {
        let idle_max = i64::try_from(idle_max.as_millis()).unwrap_or(i64::MAX);
        self.by_id.retain(|_, producer| now_ms.saturating_sub(producer.last_ms) <= idle_max);
    }

    /// The last offset of each producer's last batch.
    pub(crate) fn last_offsets(&self) -> HashMap<i64, i64> {
        self.by_id.iter().map(|(id, producer)| (*id, producer.last_offset)).collect()
    }

    /// Writes the state to a file.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut content = Vec::with_capacity(16 + self.by_id.len() * 160);
        content.extend_from_slice(&MAGIC.to_be_bytes());
        for (id, producer) in &self.by_id {
            content.extend_from_slice(&id.to_be_bytes());
            content.extend_from_slice(&producer.epoch.to_be_bytes());
            content.extend_from_slice(&producer.last_ms.to_be_bytes());
            content.extend_from_slice(&producer.last_offset.to_be_bytes());
            content.push(u8::try_from(producer.recent.len()).unwrap_or(0));
            for batch in &producer.recent {
                content.extend_from_slice(&batch.first_sequence.to_be_bytes());
                content.extend_from_slice(&batch.last_sequence.to_be_bytes());
                content.extend_from_slice(&batch.first_offset.to_be_bytes());
                content.extend_from_slice(&batch.append_time_ms.to_be_bytes());
            }
        }
        let crc = crc32c::crc32c(&content);
        content.extend_from_slice(&crc.to_be_bytes());
        put_file(path, &content)
    }

    /// From a file. `None` if it is missing or damaged: the state is then rebuilt from the batches.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(content) => Ok(Self::parse(&content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let (mut content, mut crc) = content.split_at_checked(content.len().checked_sub(4)?)?;
        if crc.get_u32() != crc32c::crc32c(content) || content.try_get_u64().ok()? != MAGIC {
            return None;
        }
        let mut by_id = HashMap::new();
        while content.has_remaining() {
            let id = content.try_get_i64().ok()?;
            let epoch = content.try_get_i16().ok()?;
            let last_ms = content.try_get_i64().ok()?;
            let last_offset = content.try_get_i64().ok()?;
            let mut recent = VecDeque::with_capacity(WINDOW);
            for _ in 0..content.try_get_u8().ok()? {
                recent.push_back(Appended {
                    first_sequence: content.try_get_i32().ok()?,
                    last_sequence: content.try_get_i32().ok()?,
                    first_offset: content.try_get_i64().ok()?,
                    append_time_ms: content.try_get_i64().ok()?,
                });
            }
            by_id.insert(id, Producer { epoch, recent, last_ms, last_offset });
        }
        Some(Self { by_id })
    }
}

impl Producer {
    fn note(&mut self, header: &Header, first_offset: i64, now_ms: i64, append_time_ms: i64) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(Appended {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            first_offset,
            append_time_ms,
        });
        self.last_ms = now_ms;
        self.last_offset = first_offset.saturating_add(i64::from(header.last_offset_delta));
    }
}

/// Sequences count from 0 to 2^31 - 1 and then begin at 0 again.
fn last_sequence(header: &Header) -> i32 {
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

fn follows(last: i32, next: i32) -> bool {
    next == last.wrapping_add(1) & i32::MAX
}
