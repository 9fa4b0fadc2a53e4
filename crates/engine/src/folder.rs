//! The folder's lock, and the durable way to put a file in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::EngineError;

/// Where a partition's log is.
pub(crate) fn partition_folder(records: &Path, topic: &str, index: i32) -> PathBuf {
    records.join("topics").join(format!("{topic}-{index}"))
}

/// Held while the engine is open. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file would not do while a process that this one is just starting has a copy of it.
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot unlock the records folder; it is free when the process ends");
        }
    }
}

impl FolderLock {
    /// Takes the folder, or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join("engine.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(EngineError::disk("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // The pid is for the operator's eyes; without it the refusal stands all the same.
                let read = file.take(20).read_to_string(&mut holder);
                let holder = holder.trim();
                let known = read.is_ok() && !holder.is_empty();
                return Err(EngineError::Locked {
                    folder: folder.to_owned(),
                    holder: if known { holder.to_owned() } else { "unknown".to_owned() },
                });
            }
            Err(errno) => return Err(EngineError::disk("lock", &path)(errno.into())),
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(EngineError::disk("write", &path))?;
        Ok(Self { file })
    }
}

/// Makes a folder's entries (new, renamed and removed files) durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts a whole file in place: after a crash the old one or the new one is there, never half of it. The folder is not
/// synced; the caller does so when the new file must be there.
pub(crate) fn put_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = staged(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&staged)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&staged, path)
    };
    write().inspect_err(|_| {
        // What is left of it is removed on the next start too.
        drop(fs::remove_file(&staged));
    })
}

/// The name under which a file is written before it is put in place.
pub(crate) fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
