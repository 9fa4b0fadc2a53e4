//! Reading: whole batches from an offset on, and offsets by time. Blocking; never on an async worker.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{INTERVAL_BYTES, entry_of, position_of_offset};
use super::partition::Partition;
use super::segment::Segment;
use crate::header::{HEADER_BYTES, Header};

/// Why there is nothing to read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Before the log's start or after its end.
    OutOfRange,
    /// The disk failed, or the log is not what its index says.
    Disk(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// A stretch of a log file in which to look for a batch.
struct Stretch {
    file: Arc<File>,
    from: u64,
    until: u64,
    /// The segment's first offset.
    base: i64,
    /// The first offset after the segment.
    end: i64,
    /// Whether compaction may have left gaps.
    gaps: bool,
}

impl Partition {
    /// Whole batches from the one that holds `offset` (or follows it, if compaction removed it), at most `bytes_max`,
    /// but at least one if `at_least_one`. Empty at the end of the log. One segment at a time: the next call goes on.
    pub(crate) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> Result<Bytes, ReadError> {
        let mut from = offset;
        loop {
            let Some(stretch) = self.stretch_of_offset(from)? else {
                // Compaction may have removed everything between here and the end.
                return Ok(Bytes::new());
            };
            let end = stretch.end;
            if let Some(records) = stretch.batches(offset, bytes_max, at_least_one)? {
                return Ok(records);
            }
            from = end;
        }
    }

    /// Roughly how many bytes there are from this offset on, at least one if there is any.
    pub(crate) fn bytes_from(&self, offset: i64) -> u64 {
        self.seen(|view| {
            if offset >= view.high_watermark() {
                return 0;
            }
            if offset < view.active.base {
                return view.active.bytes.saturating_add(view.closed_bytes());
            }
            let delta = u64::try_from(offset - view.active.base).unwrap_or(0);
            let entries = &view.active.entries;
            let position = position_of_offset(entries.len(), entry_of(entries), delta).unwrap_or(0);
            view.active.bytes.saturating_sub(position).max(1)
        })
    }

    fn stretch_of_offset(&self, offset: i64) -> Result<Option<Stretch>, ReadError> {
        retried(|| {
            enum Place {
                Nowhere(bool),
                Closed(Arc<Segment>),
                Active(Stretch),
            }
            let place = self.seen(|view| {
                if offset >= view.high_watermark() || offset < view.log_start() {
                    return Place::Nowhere(offset == view.high_watermark());
                }
                if offset < view.active.base {
                    let at = view.closed.partition_point(|segment| segment.end <= offset);
                    if let Some(segment) = view.closed.get(at) {
                        return Place::Closed(Arc::clone(segment));
                    }
                }
                let delta = u64::try_from(offset - view.active.base).unwrap_or(0);
                let entries = &view.active.entries;
                Place::Active(Stretch {
                    file: Arc::clone(&view.active_file),
                    from: position_of_offset(entries.len(), entry_of(entries), delta).unwrap_or(0),
                    until: view.active.bytes,
                    base: view.active.base,
                    end: view.active.end,
                    gaps: view.active_name.generation > 0,
                })
            });
            match place {
                Place::Nowhere(true) => Ok(None),
                Place::Nowhere(false) => Err(ReadError::OutOfRange),
                Place::Active(stretch) => Ok(Some(stretch)),
                Place::Closed(segment) => Ok(Some(Stretch {
                    file: Arc::new(segment.open_log()?),
                    from: segment.position_of_offset(offset)?,
                    until: segment.bytes,
                    base: segment.name.base,
                    end: segment.end,
                    gaps: segment.name.generation > 0,
                })),
            }
        })
    }
}

impl Stretch {
    /// The whole batches from the first that reaches `offset`; `None` if no batch of the segment does.
    fn batches(self, offset: i64, bytes_max: usize, at_least_one: bool) -> io::Result<Option<Bytes>> {
        let interval = usize::try_from(INTERVAL_BYTES).unwrap_or(usize::MAX);
        let mut buffer = self.read_at(self.from, bytes_max.saturating_add(interval))?;
        let mut at = 0;
        let mut position = self.from;
        // Batches before the offset: at most an index interval of them, and the one that spans it.
        let mut next_offset = None;
        let first = loop {
            if position >= self.until {
                return Ok(None);
            }
            if buffer.len().saturating_sub(at) < HEADER_BYTES {
                buffer = self.read_at(position, bytes_max.saturating_add(interval))?;
                at = 0;
            }
            let header = buffer.get(at..).and_then(Header::parse).ok_or_else(|| not_a_batch(position))?;
            if header.last_offset() >= offset {
                // Without gaps the batch holds the offset that is asked for, or begins the segment.
                if !self.gaps && header.base_offset > offset.max(self.base) {
                    return Err(not_a_batch(position));
                }
                break header;
            }
            next_offset = Some(header.last_offset().saturating_add(1));
            at = at.saturating_add(header.bytes);
            position = position.saturating_add(header.bytes as u64);
        };
        if first.bytes > bytes_max {
            if !at_least_one {
                return Ok(Some(Bytes::new()));
            }
            let batch = self.read_at(position, first.bytes)?;
            let whole = batch.len() == first.bytes && self.holds(&first, &batch, next_offset);
            return if whole { Ok(Some(Bytes::from(batch))) } else { Err(not_a_batch(position)) };
        }
        if at > 0 && buffer.len() - at < bytes_max && position + ((buffer.len() - at) as u64) < self.until {
            buffer = self.read_at(position, bytes_max)?;
            at = 0;
        }
        let mut end = at;
        while let Some(header) = buffer.get(end..).and_then(Header::parse) {
            let next = end.saturating_add(header.bytes);
            if next > buffer.len() || next - at > bytes_max {
                break;
            }
            if !buffer.get(end..next).is_some_and(|batch| self.holds(&header, batch, next_offset)) {
                if end == at {
                    return Err(not_a_batch(position));
                }
                // What stands before the damage is good; the next call begins at it.
                break;
            }
            next_offset = Some(header.last_offset().saturating_add(1));
            end = next;
        }
        Ok(Some(Bytes::from(buffer).slice(at..end)))
    }

    /// Whether a batch is what was appended: a closed segment is not looked at when the log is opened. `next_offset` is
    /// the one after the batch before it, if that was looked at.
    fn holds(&self, header: &Header, batch: &[u8], next_offset: Option<i64>) -> bool {
        let next_offset = next_offset.unwrap_or(header.base_offset);
        header.is_plausible(next_offset, self.gaps)
            && header.last_offset() < self.end
            && header.crc_holds(batch)
    }

    fn read_at(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.until.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; bytes.max(HEADER_BYTES).min(left)];
        self.file.read_exact_at(&mut buffer, position)?;
        Ok(buffer)
    }
}

/// Compaction and retention remove files while readers look for them: the view then has others.
pub(super) fn retried<T>(mut look: impl FnMut() -> Result<T, ReadError>) -> Result<T, ReadError> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        match look() {
            Err(ReadError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    look()
}

fn not_a_batch(position: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no record batch at byte {position}"))
}
