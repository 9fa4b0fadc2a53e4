//! The demonstration's folder.
//!
//! ```text
//! hub.toml  hub.log  config/  schemas/  connectors/  sources/<resource>/  sinks/<system>.db  state/  rejects/  reports/
//! data/  the hub's data folder
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::material::{self, File};

/// Says that the folder belongs to the demonstration, which may empty it.
const MARKER: &str = ".shuniu-demo";
const MARKER_TEXT: &str = "Made by `shuniu demo`, which empties this folder when it starts.\n";

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The folder holds something else.
    #[error("`{folder}` exists and was not made by a demonstration: name another with --home")]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {attempt} `{path}`")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HomeError {
    pub(super) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { attempt, path: path.to_owned(), source }
    }
}

/// The demonstration's folder, laid out.
#[derive(Debug, Clone)]
pub(super) struct Home {
    folder: PathBuf,
}

impl Home {
    /// Empties the folder of an earlier demonstration, if there is one, and lays everything out.
    pub(super) fn fresh(folder: &Path) -> Result<Self, HomeError> {
        if folder.exists() {
            if !folder.join(MARKER).exists()
                && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
            {
                return Err(HomeError::Taken { folder: folder.to_owned() });
            }
            fs::remove_dir_all(folder).map_err(HomeError::io("empty", folder))?;
        }
        fs::create_dir_all(folder).map_err(HomeError::io("make the folder", folder))?;
        let folder = folder.canonicalize().map_err(HomeError::io("find", folder))?;
        let home = Self { folder };
        home.write(MARKER, MARKER_TEXT.as_bytes())?;
        for empty in ["sinks", "state", "rejects", "reports", "data"] {
            let path = home.path(empty);
            fs::create_dir_all(&path).map_err(HomeError::io("make the folder", &path))?;
        }
        let parts =
            [material::LEGAL_ENTITIES, material::LABOUR_PENALTIES, material::SCHEMAS, material::DIRECTORY];
        for File { path, content } in parts.into_iter().flatten() {
            home.write(path, content)?;
        }
        Ok(home)
    }

    /// A path within the folder.
    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.join(relative)
    }

    /// The hub's data folder.
    pub(super) fn hub(&self) -> PathBuf {
        self.path("data")
    }

    /// The authority's folder.
    pub(super) fn ca(&self) -> PathBuf {
        self.path("data/ca")
    }

    /// Writes a file, making its folder.
    pub(super) fn write(&self, relative: &str, content: &[u8]) -> Result<PathBuf, HomeError> {
        let path = self.path(relative);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(HomeError::io("make the folder", folder))?;
        }
        fs::write(&path, content).map_err(HomeError::io("write", &path))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demonstrations_own_folder_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine");
        Home::fresh(&mine).unwrap().write("sinks/old.db", b"x").unwrap();
        let again = Home::fresh(&mine).unwrap();
        assert!(!again.path("sinks/old.db").exists());
        assert!(again.path("schemas/population/v1.avsc").exists());
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("thesis.txt"), "x").unwrap();
        assert!(matches!(Home::fresh(&theirs), Err(HomeError::Taken { .. })));
        assert!(theirs.join("thesis.txt").exists());
    }
}
