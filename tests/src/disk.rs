//! A disk that is soon full.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory; gone when dropped.
pub struct SmallDisk {
    folder: PathBuf,
    /// The folder, if it was made for this.
    own: Option<TempDir>,
}

impl SmallDisk {
    /// Of that size, as `mount` takes it (`4m`); `None`, and a word about it, where mounting is not allowed.
    pub fn new(size: &str) -> Option<Self> {
        let own = tempfile::tempdir().unwrap();
        let Some(mut disk) = Self::on(own.path(), size) else {
            eprintln!("left out: a full disk needs the right to mount a small file system");
            return None;
        };
        disk.own = Some(own);
        Some(disk)
    }

    /// As a folder that is there; `None` where mounting is not allowed.
    pub(crate) fn on(folder: &Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| Self { folder: folder.to_owned(), own: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Takes all that is left of it, in the file `filler`.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        // Pieces as large as pages: the last ones too are taken.
        let zeros = vec![0; 4_096];
        while filler.write_all(&zeros).is_ok() {}
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Nothing can be written to it from here on, by anybody.
    pub fn make_read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status().unwrap();
        assert!(remounted.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still has a file open there goes first.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}
