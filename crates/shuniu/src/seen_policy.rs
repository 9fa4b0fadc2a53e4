//! The newest policy version that a data folder has seen, in its file `policy-version`: an older directory that comes in
//! the place of the newest one, or an empty one, is noticed. In it, what was revoked since would be good again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use shuniu_policy::Snapshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const FILE: &str = "policy-version";
/// After the disk refused.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} `{path}`, which keeps the newest policy version that this data folder has seen")]
pub struct SeenError {
    /// What was attempted.
    attempt: &'static str,
    /// The file.
    path: PathBuf,
    /// Why.
    #[source]
    source: io::Error,
}

/// The file of a data folder.
pub(crate) fn file(data_folder: &Path) -> PathBuf {
    data_folder.join(FILE)
}

/// The newest version seen; 0 where none was yet.
pub(crate) fn newest(data_folder: &Path) -> Result<u64, SeenError> {
    let path = file(data_folder);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        text => text.map_err(|source| SeenError { attempt: "read", path: path.clone(), source })?,
    };
    text.trim().parse().map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error);
        SeenError { attempt: "make sense of", path, source }
    })
}

/// Keeps a version that was written, or is in force, if it is the newest. Durable when it returns.
pub(crate) fn keep(data_folder: &Path, version: u64) -> Result<(), SeenError> {
    if newest(data_folder)? >= version {
        return Ok(());
    }
    let path = file(data_folder);
    let failed = |source| SeenError { attempt: "write", path: path.clone(), source };
    // Until it is closed: of two that write at once the newer one stays.
    let folder = File::open(data_folder).map_err(failed)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
    if newest(data_folder)? >= version {
        return Ok(());
    }
    let staged = path.with_extension("new");
    let write = || {
        let mut file = File::create(&staged)?;
        writeln!(file, "{version}")?;
        file.sync_all()?;
        fs::rename(&staged, &path)?;
        folder.sync_all()
    };
    write().map_err(failed)
}

/// Keeps each version that comes into force, until cancelled.
pub(crate) async fn follow(
    data_folder: PathBuf,
    mut policy: watch::Receiver<Arc<Snapshot>>,
    cancel: CancellationToken,
) {
    loop {
        let version = policy.borrow_and_update().version();
        let folder = data_folder.clone();
        let kept = tokio::task::spawn_blocking(move || keep(&folder, version)).await;
        let failed = match &kept {
            Ok(Err(error)) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "an older directory would not be noticed at the next start; trying again"
                );
                true
            }
            _ => false,
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = policy.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN_AFTER), if failed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_stays_and_what_is_no_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()).unwrap(), 0);
        for (version, kept) in [(3, 3), (2, 3), (12, 12)] {
            keep(folder.path(), version).unwrap();
            assert_eq!(newest(folder.path()).unwrap(), kept);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(file(folder.path()), "").unwrap();
        assert!(newest(folder.path()).is_err());
    }
}
