//! Whether whole batches stand behind a place of a log file where none can be read.
//!
//! A write that a kill interrupts is a prefix: nothing whole stands behind it. Something whole means either that a later
//! write was made (writes wait for the sync of the one before, so the bad place was durable once: it is damage), or
//! that the power failed during one write of several batches, whose later pages reached the disk and whose earlier did
//! not (nobody was told of them). The file does not tell these apart, and so the one who asks must refuse.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::header::{CHECKED_FROM, HEADER_BYTES, Header};

const WINDOW_BYTES: usize = 1 << 20;
/// What is read to check what looks like a batch, at most this many times the file. Records may be made to look like
/// batches; beyond it there is doubt enough.
const CHECKED_TIMES_MAX: u64 = 8;
/// The bytes up to and with the magic byte.
const MAGIC_AT: usize = 16;

/// Where to look.
pub(super) struct Behind<'a> {
    pub(super) file: &'a File,
    /// The place where no batch can be read.
    pub(super) from: u64,
    pub(super) until: u64,
    /// The offset that a batch at `from` would have.
    pub(super) next_offset: i64,
    /// No batch of the file can have a later offset.
    pub(super) offset_max: i64,
}

impl Behind<'_> {
    /// The offset after the last whole batch that stands at the bad place or behind it; `None` if there is none.
    pub(super) fn end(&self) -> io::Result<Option<i64>> {
        let mut end: Option<i64> = None;
        let mut budget = (self.until - self.from).saturating_mul(CHECKED_TIMES_MAX);
        let mut window = Vec::new();
        let mut at = self.from;
        while self.until - at >= HEADER_BYTES as u64 {
            let bytes = usize::try_from(self.until - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            window.resize(bytes, 0);
            self.file.read_exact_at(&mut window, at)?;
            // The window's last bytes are looked at again, where a header would reach over its end.
            let last = bytes - HEADER_BYTES;
            let mut next = at + last as u64 + 1;
            for (place, candidate) in window.windows(HEADER_BYTES).enumerate() {
                let position = at + place as u64;
                let Some(header) = self.candidate(candidate, position) else { continue };
                if budget < header.bytes as u64 {
                    return Ok(end.or(Some(self.next_offset.saturating_add(1))));
                }
                budget -= header.bytes as u64;
                if self.is_whole(&header, position)? {
                    // At the bad place itself the offset cannot be believed: what it is called is what is wrong.
                    let base = if position == self.from { self.next_offset } else { header.base_offset };
                    let after = base.saturating_add(i64::from(header.last_offset_delta)).saturating_add(1);
                    let after = after.clamp(self.next_offset, self.offset_max);
                    end = end.max(Some(after));
                    next = position + header.bytes as u64;
                    break;
                }
            }
            at = next;
        }
        Ok(end)
    }

    /// What looks like a batch. At the bad place itself any offset does: it is not in the checksum.
    fn candidate(&self, bytes: &[u8], position: u64) -> Option<Header> {
        if bytes.get(MAGIC_AT) != Some(&2) {
            return None;
        }
        let header = Header::parse(bytes)?;
        let fits = header.bytes as u64 <= self.until - position;
        let in_place = (self.next_offset..=self.offset_max).contains(&header.base_offset);
        (fits && (in_place || position == self.from)).then_some(header)
    }

    fn is_whole(&self, header: &Header, position: u64) -> io::Result<bool> {
        let mut crc = 0;
        let mut at = position + CHECKED_FROM as u64;
        let end = position + header.bytes as u64;
        let mut buffer = vec![0; header.bytes.min(WINDOW_BYTES)];
        while at < end {
            let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = buffer.get_mut(..bytes).ok_or(io::ErrorKind::InvalidInput)?;
            self.file.read_exact_at(chunk, at)?;
            crc = crc32c::crc32c_append(crc, chunk);
            at += bytes as u64;
        }
        Ok(crc == header.crc)
    }
}
