//! A closed segment: a log file that never changes, and its index file. And the scan that reads any log file.
//!
//! Names: `<base offset, 20 digits>-<generation>.log` and `.index`. Compaction writes a segment anew under the next
//! generation; of several generations the highest counts, and a segment that an earlier one covers does not count.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Buf;

use super::index::{ENTRY_BYTES, Entry, Tally, position_of_offset, position_of_time};
use crate::folder::put_file;
use crate::header::{HEADER_BYTES, Header};

/// "shuniu index 1": the first bytes of an index file.
const MAGIC: u64 = 0x7368_6e69_6478_0001;
/// Magic, base, end, log bytes, maximum timestamp, its position, delete horizon, entry count, checksum of these and the
/// entries.
const INDEX_HEADER_BYTES: usize = 68;
const SCAN_BYTES: usize = 1 << 20;

/// The name of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) base: i64,
    pub(crate) generation: u32,
}

impl SegmentName {
    pub(crate) fn log(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}-{}.log", self.base, self.generation))
    }

    pub(crate) fn index(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}-{}.index", self.base, self.generation))
    }

    /// From a log file's name; `None` for any other file.
    pub(crate) fn of_log(name: &str) -> Option<Self> {
        let (base, generation) = name.strip_suffix(".log")?.split_once('-')?;
        Some(Self { base: base.parse().ok()?, generation: generation.parse().ok()? })
    }

    /// Removes both files. What is left is removed on the next start.
    pub(crate) fn remove(self, folder: &Path) {
        for path in [self.log(folder), self.index(folder)] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed");
            }
        }
    }
}

/// A closed segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    pub(crate) folder: PathBuf,
    pub(crate) end: i64,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_position: u64,
    /// When the first of its tombstones may go, or `NO_HORIZON`.
    pub(crate) delete_horizon: i64,
    entries: usize,
}

impl Segment {
    /// Writes the index file of a finished log file. The folder is not synced.
    pub(crate) fn close(name: SegmentName, folder: &Path, tally: &Tally) -> io::Result<Self> {
        let mut content = Vec::with_capacity(INDEX_HEADER_BYTES + tally.entries.len() * ENTRY_BYTES);
        content.extend_from_slice(&MAGIC.to_be_bytes());
        content.extend_from_slice(&tally.base.to_be_bytes());
        content.extend_from_slice(&tally.end.to_be_bytes());
        content.extend_from_slice(&tally.bytes.to_be_bytes());
        content.extend_from_slice(&tally.max_timestamp.to_be_bytes());
        content.extend_from_slice(&tally.max_timestamp_position.to_be_bytes());
        content.extend_from_slice(&tally.delete_horizon.to_be_bytes());
        content.extend_from_slice(&(tally.entries.len() as u64).to_be_bytes());
        let entries: Vec<u8> = tally.entries.iter().flat_map(|entry| entry.to_bytes()).collect();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&content), &entries);
        content.extend_from_slice(&crc.to_be_bytes());
        content.extend_from_slice(&entries);
        put_file(&name.index(folder), &content)?;
        Ok(Self {
            name,
            folder: folder.to_owned(),
            end: tally.end,
            bytes: tally.bytes,
            max_timestamp: tally.max_timestamp,
            max_timestamp_position: tally.max_timestamp_position,
            delete_horizon: tally.delete_horizon,
            entries: tally.entries.len(),
        })
    }

    /// From its index file. `None` if the file is missing, damaged, or of another log file.
    pub(crate) fn load(name: SegmentName, folder: &Path) -> io::Result<Option<Self>> {
        let content = match fs::read(name.index(folder)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let log_bytes = fs::metadata(name.log(folder))?.len();
        Ok(Self::parse(name, folder, &content).filter(|segment| segment.bytes == log_bytes))
    }

    fn parse(name: SegmentName, folder: &Path, content: &[u8]) -> Option<Self> {
        let (mut head, entries) = content.split_at_checked(INDEX_HEADER_BYTES)?;
        let checked = head.split_at_checked(INDEX_HEADER_BYTES - 4)?.0;
        let crc = crc32c::crc32c_append(crc32c::crc32c(checked), entries);
        if head.get_u64() != MAGIC || head.get_i64() != name.base {
            return None;
        }
        let segment = Self {
            name,
            folder: folder.to_owned(),
            end: head.get_i64(),
            bytes: head.get_u64(),
            max_timestamp: head.get_i64(),
            max_timestamp_position: head.get_u64(),
            delete_horizon: head.get_i64(),
            entries: usize::try_from(head.get_u64()).ok()?,
        };
        let whole = segment.entries.checked_mul(ENTRY_BYTES) == Some(entries.len());
        (whole && head.get_u32() == crc).then_some(segment)
    }

    pub(crate) fn open_log(&self) -> io::Result<File> {
        File::open(self.name.log(&self.folder))
    }

    pub(crate) fn position_of_offset(&self, offset: i64) -> io::Result<u64> {
        let delta = u64::try_from(offset.saturating_sub(self.name.base)).unwrap_or(0);
        position_of_offset(self.entries, self.entries_on_disk()?, delta)
    }

    pub(crate) fn position_of_time(&self, timestamp: i64) -> io::Result<u64> {
        position_of_time(self.entries, self.entries_on_disk()?, timestamp)
    }

    // A closed segment's index stays on disk; the page cache holds what is in use.
    fn entries_on_disk(&self) -> io::Result<impl Fn(usize) -> io::Result<Entry>> {
        let file = File::open(self.name.index(&self.folder))?;
        Ok(move |at: usize| {
            let mut bytes = [0; ENTRY_BYTES];
            file.read_exact_at(&mut bytes, (INDEX_HEADER_BYTES + at * ENTRY_BYTES) as u64)?;
            Ok(Entry::from_bytes(&bytes))
        })
    }
}

/// Reads a log file batch by batch.
pub(crate) struct Scan<'a> {
    file: &'a File,
    /// Where reading ends.
    until: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    position: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a File, from: u64, until: u64) -> Self {
        Self { file, until, buffer: Vec::new(), buffer_at: from, position: from }
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch, and its bytes. `None` where no whole batch follows: at the end, or where what follows does not
    /// parse (`position() < until` tells). Its checksum is not checked.
    pub(crate) fn next_batch(&mut self) -> io::Result<Option<(Header, &[u8])>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        if !self.fill(header.bytes)? {
            return Ok(None);
        }
        let from = usize::try_from(self.position - self.buffer_at).unwrap_or(usize::MAX);
        self.position += header.bytes as u64;
        Ok(self.buffer.get(from..from.saturating_add(header.bytes)).map(|batch| (header, batch)))
    }

    /// The next batch's header; its bytes are passed over.
    pub(crate) fn next_header(&mut self) -> io::Result<Option<Header>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        if self.until - self.position < header.bytes as u64 {
            return Ok(None);
        }
        self.position += header.bytes as u64;
        Ok(Some(header))
    }

    fn peek(&mut self) -> io::Result<Option<Header>> {
        if !self.fill(HEADER_BYTES)? {
            return Ok(None);
        }
        let from = usize::try_from(self.position - self.buffer_at).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..).and_then(Header::parse))
    }

    /// Has `bytes` bytes from the position on in the buffer; false if the file has fewer.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let buffered_until = self.buffer_at + self.buffer.len() as u64;
        let wanted_until = self.position.saturating_add(bytes as u64);
        if wanted_until > self.until {
            return Ok(false);
        }
        if self.position >= self.buffer_at && wanted_until <= buffered_until {
            return Ok(true);
        }
        let left = usize::try_from(self.until - self.position).unwrap_or(usize::MAX);
        self.buffer.resize(bytes.max(SCAN_BYTES).min(left), 0);
        self.file.read_exact_at(&mut self.buffer, self.position)?;
        self.buffer_at = self.position;
        Ok(true)
    }
}
