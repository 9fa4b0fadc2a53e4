//! A bounded local file that keeps refusals while the log is down: one draft a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use shuniu_ledger::Draft;

pub(crate) struct Spool {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Spool {
    /// Opens the file, which may hold what an earlier run left.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Keeps a draft, durably; false when the file is full or cannot be written.
    pub(crate) fn keep(&mut self, draft: &Draft) -> bool {
        let Ok(mut line) = serde_json::to_vec(draft) else { return false };
        line.push(b'\n');
        let bytes = self.bytes.saturating_add(line.len() as u64);
        if bytes > self.bytes_max {
            return false;
        }
        // A line cut by a crash ends at the next line's break and is skipped when read.
        if self.file.write_all(&line).and_then(|()| self.file.sync_data()).is_err() {
            // Nothing of it may stand before the next line. Where that fails too, the disk is gone.
            self.file.set_len(self.bytes).ok();
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// All drafts that can be read.
    pub(crate) fn drafts(&self) -> io::Result<Vec<Draft>> {
        let mut drafts = Vec::new();
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(draft) => drafts.push(draft),
                Err(error) => tracing::warn!(%error, "a line of the refusals' spool is cut and left out"),
            }
        }
        Ok(drafts)
    }

    /// How long the file is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets its first bytes, which are whole lines. Their drafts are on the log: a crash before this writes them there
    /// a second time, never not at all.
    pub(crate) fn forget(&mut self, bytes: u64) -> io::Result<()> {
        if bytes >= self.bytes {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            self.bytes = 0;
            return Ok(());
        }
        let mut staged = self.path.as_os_str().to_owned();
        staged.push(".new");
        let staged = PathBuf::from(staged);
        let mut rest = File::open(&self.path)?;
        rest.seek(SeekFrom::Start(bytes))?;
        let mut file = File::create(&staged)?;
        io::copy(&mut rest, &mut file)?;
        file.sync_data()?;
        std::fs::rename(&staged, &self.path)?;
        *self = Self::open(&self.path, self.bytes_max)?;
        Ok(())
    }
}
