//! How far a partition's log is durable for sure: its first offset, and the end that was acknowledged.
//!
//! The crash story. The log is synced, then the end is noted here, then the producers get their answers. The note is
//! written and not synced, which costs next to nothing; so:
//!
//! - It is never ahead of what is durable: what it covers was synced before it was written.
//! - After the process is killed it is exact, for the kernel keeps what was written: whatever it covers was
//!   acknowledged or about to be, whatever lies beyond was not.
//! - After the power fails it may be some seconds behind (it is synced when a segment is closed, when the engine closes
//!   and when it opens). Then it is a lower bound, and what lies beyond it is judged by what the log itself shows.
//!
//! The first offset is noted, and synced, before segments are dropped for their age: a log that begins later has lost
//! a segment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Buf;

use crate::folder::put_file;

const FILE_NAME: &str = "durable";
/// "shuniu mark 1": the first bytes of the file.
const MAGIC: u64 = 0x7368_6e6d_6172_0001;
/// Magic, start, end, checksum. Within one sector of any disk, so that it is written whole or not at all.
const BYTES: usize = 28;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The log's first offset.
    pub(crate) start: i64,
    /// The offset after the last one that was acknowledged.
    pub(crate) end: i64,
}

/// The mark of an open partition.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    extent: Extent,
}

impl Extent {
    /// From the folder. `None` if there is none, or none that is whole.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(content) => {
                let extent = Self::parse(&content);
                if extent.is_none() {
                    tracing::warn!(path = %path.display(),
                        "the note of how far a log is durable is damaged; the log alone is looked at");
                }
                Ok(extent)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let (mut checked, mut crc) = content.split_at_checked(BYTES - 4)?;
        let sum = crc32c::crc32c(checked);
        if crc.len() != 4 || crc.get_u32() != sum || checked.get_u64() != MAGIC {
            return None;
        }
        Some(Self { start: checked.get_i64(), end: checked.get_i64() })
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut content = Vec::with_capacity(BYTES);
        content.extend_from_slice(&MAGIC.to_be_bytes());
        content.extend_from_slice(&self.start.to_be_bytes());
        content.extend_from_slice(&self.end.to_be_bytes());
        content.extend_from_slice(&crc32c::crc32c(&content).to_be_bytes());
        content
    }

    /// Puts the mark in place, synced. The folder is not synced.
    pub(crate) fn put(self, folder: &Path) -> io::Result<()> {
        put_file(&folder.join(FILE_NAME), &self.to_bytes())
    }
}

impl Mark {
    /// Puts the mark in place and keeps it open. The folder is not synced.
    pub(crate) fn create(extent: Extent, folder: &Path) -> io::Result<Self> {
        extent.put(folder)?;
        let file = OpenOptions::new().write(true).open(folder.join(FILE_NAME))?;
        Ok(Self { file, extent })
    }

    /// Notes an end up to which the log is synced.
    pub(crate) fn note_end(&mut self, end: i64) -> io::Result<()> {
        self.write(Extent { end, ..self.extent })
    }

    /// Notes, for good, where the log begins from now on.
    pub(crate) fn move_start(&mut self, start: i64) -> io::Result<()> {
        self.write(Extent { start, ..self.extent })?;
        self.sync()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&mut self, extent: Extent) -> io::Result<()> {
        self.file.write_all_at(&extent.to_bytes(), 0)?;
        self.extent = extent;
        Ok(())
    }
}
