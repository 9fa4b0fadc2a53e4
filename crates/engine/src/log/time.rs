//! Offsets by time: the first record at or after a time, and the record with the latest one. Blocking.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use shuniu_wire::batch::{Batch, BatchError, Scratch, batches};

use super::index::{NO_TIMESTAMP, entry_of, position_of_time};
use super::partition::Partition;
use super::read::{ReadError, retried};
use super::segment::{Scan, Segment};

/// A record's offset and timestamp.
pub(crate) type OffsetAndTime = (i64, i64);

impl Partition {
    /// The first record with a timestamp of at least this.
    pub(crate) fn record_at_time(&self, timestamp: i64) -> Result<Option<OffsetAndTime>, ReadError> {
        retried(|| {
            let (closed, active) = self.seen(|view| {
                let reaches = |segment: &&Arc<Segment>| segment.max_timestamp >= timestamp;
                let closed: Vec<Arc<Segment>> = view.closed.iter().filter(reaches).cloned().collect();
                let entries = &view.active.entries;
                let from = position_of_time(entries.len(), entry_of(entries), timestamp).unwrap_or(0);
                (closed, (Arc::clone(&view.active_file), from, view.active.bytes))
            });
            // A batch's maximum may be that of a record that compaction removed, so the search may have to go on.
            for segment in closed {
                let (file, from) = (segment.open_log()?, segment.position_of_time(timestamp)?);
                if let Some(found) = self.first_record(&file, from, segment.bytes, timestamp)? {
                    return Ok(Some(found));
                }
            }
            let (file, from, until) = active;
            self.first_record(&file, from, until, timestamp)
        })
    }

    /// The record with the highest timestamp, the first of them; `None` for an empty log.
    pub(crate) fn record_of_max_time(&self) -> Result<Option<OffsetAndTime>, ReadError> {
        retried(|| {
            let (closed, active) = self.seen(|view| {
                let best = view.closed.iter().rev().max_by_key(|segment| segment.max_timestamp).cloned();
                let active = (
                    Arc::clone(&view.active_file),
                    view.active.max_timestamp,
                    view.active.max_timestamp_position,
                    view.active.bytes,
                );
                (best, active)
            });
            let (file, max, from, until) = match closed {
                Some(segment) if segment.max_timestamp >= active.1 => {
                    let file = Arc::new(segment.open_log()?);
                    (file, segment.max_timestamp, segment.max_timestamp_position, segment.bytes)
                }
                _ => active,
            };
            if max == NO_TIMESTAMP {
                return Ok(None);
            }
            let mut scan = Scan::new(&file, from, until);
            let Some((header, bytes)) = scan.next_batch()? else { return Ok(None) };
            let batch = whole(bytes)?;
            let found = self.in_batch(&batch, max)?;
            // Where the record itself was compacted away, its batch still tells of it.
            Ok(Some(found.unwrap_or((header.last_offset(), header.max_timestamp))))
        })
    }

    fn first_record(
        &self,
        file: &File,
        from: u64,
        until: u64,
        timestamp: i64,
    ) -> Result<Option<OffsetAndTime>, ReadError> {
        let mut scan = Scan::new(file, from, until);
        while let Some((header, bytes)) = scan.next_batch()? {
            if header.max_timestamp >= timestamp
                && let Some(found) = self.in_batch(&whole(bytes)?, timestamp)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn in_batch(&self, batch: &Batch, timestamp: i64) -> Result<Option<OffsetAndTime>, ReadError> {
        let mut scratch = Scratch::default();
        let records = batch
            .records(&mut scratch, self.context.config.decompressed_bytes_max)
            .map_err(|error| ReadError::Disk(damaged(error)))?;
        for record in records {
            let record = record.map_err(|error| ReadError::Disk(damaged(error)))?;
            if record.timestamp >= timestamp {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
        Ok(None)
    }
}

/// The latest time of a batch's records, [`NO_TIMESTAMP`] where none has one.
pub(super) fn latest(batch: &[u8], decompressed_bytes_max: usize) -> io::Result<i64> {
    let mut scratch = Scratch::default();
    let batch = whole(batch)?;
    let mut latest = NO_TIMESTAMP;
    for record in batch.records(&mut scratch, decompressed_bytes_max).map_err(damaged)? {
        latest = latest.max(record.map_err(damaged)?.timestamp);
    }
    Ok(latest)
}

fn damaged(error: BatchError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// One whole batch, taken out of a scan's buffer.
pub(super) fn whole(bytes: &[u8]) -> io::Result<Batch> {
    match batches(&Bytes::copy_from_slice(bytes)).next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(damaged(error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
