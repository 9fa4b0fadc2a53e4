//! Files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A key file larger than this is none.
const BYTES_MAX: u64 = 64 << 10;

/// A secret file that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file system refused.
    #[error("cannot {attempt} `{path}`")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read the file, so it is secret no longer.
    #[error(
        "`{path}` can be read by others (mode {mode:03o}): make it 600 and, if others had the time, a new key"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not a key.
    #[error("`{path}` does not hold {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
}

impl SecretFileError {
    fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { attempt, path: path.to_owned(), source }
    }
}

/// Makes the file with mode 600 unless it exists; says whether it was made. The content is durable before the name is
/// there, so a crash never leaves half a key behind, and of two that try at once one wins.
pub(crate) fn create_once(path: &Path, content: &[u8]) -> Result<bool, SecretFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(SecretFileError::io("make the folder", folder))?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    write_new(&draft, content).map_err(SecretFileError::io("write", &draft))?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft).map_err(SecretFileError::io("remove", &draft))?;
    match linked {
        Ok(()) => {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(SecretFileError::io("sync", folder)).map(|()| true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(SecretFileError::io("make", path)(error)),
    }
}

/// Makes the file anew, with mode 600, durable.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), SecretFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(SecretFileError::io("make the folder", folder))?;
    write_new(path, content).map_err(SecretFileError::io("write", path))
}

/// Reads a file that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<String, SecretFileError> {
    let file = File::open(path).map_err(SecretFileError::io("open", path))?;
    let mode = file.metadata().map_err(SecretFileError::io("look at", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(SecretFileError::io("read", path))?;
    Ok(text)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // A draft of a dead process with this id may be left.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // A part of a secret is of no use to anybody. Why it is one is what counts.
        drop(std::fs::remove_file(path));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/one");
        assert!(create_once(&path, b"first").unwrap());
        assert!(!create_once(&path, b"second").unwrap());
        assert_eq!(read(&path).unwrap(), "first");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path().join("keys")).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        create_once(&path, b"first").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(SecretFileError::Exposed { mode: 0o640, .. })));
    }
}
