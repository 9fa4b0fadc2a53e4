//! A folder that is a small file system of its own, which can be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

/// It is taken down when this is dropped.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// `None` where nothing may be mounted.
    pub(crate) fn mount(folder: &Path, megabytes: usize) -> Option<Self> {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { folder: folder.to_owned() })
    }

    /// Fills what is left of it, or frees it again.
    pub(crate) fn set_full(&self, full: bool) {
        let filler = self.folder.join("filler");
        if full {
            let fill = format!("cat /dev/zero > '{}' 2>/dev/null", filler.display());
            // It ends when nothing is left.
            Command::new("sh").args(["-c", &fill]).status().unwrap();
        } else {
            std::fs::remove_file(filler).unwrap();
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.folder).status().ok();
    }
}
