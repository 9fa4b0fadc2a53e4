//! What a backup holds: every file by name, size and SHA-256, and of what moment it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shuniu_archive::{CheckpointRow, read_text_bounded};
use shuniu_engine::PartitionExtent;
use shuniu_model::Timestamp;

use super::{BackupError, files};
use crate::config::{Config, DirectoryStore, RecordStore};

const FORMAT: u32 = 1;
const NAME: &str = "manifest.json";
/// Holds the manifest's own SHA-256, in the form of sha256sum.
const SUM_NAME: &str = "manifest.json.sha256";
/// Some million files.
const BYTES_MAX: u64 = 1 << 30;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was begun.
    pub made_at: String,
    /// Entries of the audit log under its checkpoint.
    pub tree_size: u64,
    /// The checkpoint's root.
    pub root: String,
    /// What the directory was in. The copy is SQLite.
    pub directory: DirectoryStore,
    /// Where records are: the engine's are in the backup, the cluster's are not.
    pub records: RecordStore,
    /// The engine's partitions.
    pub partitions: Vec<PartitionText>,
    /// Secret files of the data folder that were left out.
    pub left_out: Vec<String>,
    /// Files that the configuration names outside of the data folder: not in the backup.
    pub outside: Vec<String>,
    files: Vec<FileText>,
}

/// A partition, and how far it is in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionText {
    topic: String,
    partition: i32,
    start: i64,
    end: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    path: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Of a backup without files yet.
    pub(super) fn new(
        config: &Config,
        made_at: Timestamp,
        row: &CheckpointRow,
        partitions: Vec<PartitionExtent>,
    ) -> Self {
        let partitions = partitions.into_iter().map(|at| {
            let PartitionExtent { topic, partition, start, end } = at;
            PartitionText { topic, partition, start, end }
        });
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: made_at.to_string(),
            tree_size: row.tree_size,
            root: row.root.to_string(),
            directory: config.directory.store,
            records: config.records.store,
            partitions: partitions.collect(),
            left_out: Vec::new(),
            outside: Vec::new(),
            files: Vec::new(),
        }
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// What they have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Takes up every file of the folder, as it can be read back, and writes the manifest: the last file.
    pub(super) fn write(&mut self, folder: &Path) -> Result<(), BackupError> {
        for path in files::all(folder)? {
            let (bytes, sha256) = digest(&folder.join(&path))?;
            self.files.push(FileText { path, bytes, sha256 });
        }
        let mut text = serde_json::to_string_pretty(self).map_err(BackupError::Entry)?;
        text.push('\n');
        let sum = format!("{}  {NAME}\n", hex::encode(Sha256::digest(text.as_bytes())));
        files::write(&folder.join(SUM_NAME), sum.as_bytes())?;
        files::write(&folder.join(NAME), text.as_bytes())
    }
}

/// A backup whose manifest is as it was written. Its files are not looked at yet.
#[derive(Debug)]
pub struct Backup {
    /// The folder.
    pub folder: PathBuf,
    /// What it should hold.
    pub manifest: Manifest,
}

impl Backup {
    /// Opens a backup's folder.
    ///
    /// # Errors
    /// When it has no manifest, or one that is not whole.
    pub fn open(folder: &Path) -> Result<Self, BackupError> {
        let (path, sum_path) = (folder.join(NAME), folder.join(SUM_NAME));
        let text = match read_text_bounded(&path, BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoManifest { folder: folder.to_owned() });
            }
            Err(error) => return Err(BackupError::io("read", &path)(error)),
        };
        let sum = read_text_bounded(&sum_path, 256).map_err(BackupError::io("read", &sum_path))?;
        if sum != format!("{}  {NAME}\n", hex::encode(Sha256::digest(text.as_bytes()))) {
            let rule = "its SHA-256 is another than manifest.json.sha256 says";
            return Err(BackupError::Manifest { path, rule });
        }
        let head: Head = serde_json::from_str(&text)
            .map_err(|_| BackupError::Manifest { path: path.clone(), rule: "it does not say its format" })?;
        if head.format != FORMAT {
            let Head { format: found, program } = head;
            return Err(BackupError::Format { found, known: FORMAT, program });
        }
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|_| BackupError::Manifest { path: path.clone(), rule: "it does not parse" })?;
        let plain = manifest.files.iter().all(|file| files::is_plain(Path::new(&file.path)));
        if !plain {
            return Err(BackupError::Manifest { path, rule: "it names a file outside of the backup" });
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Holds every file against the manifest. Blocking.
    ///
    /// # Errors
    /// The first file that is missing, changed, or not in it.
    pub fn check_files(&self) -> Result<(), BackupError> {
        for file in &self.manifest.files {
            let path = self.folder.join(&file.path);
            let found = match digest(&path) {
                Err(BackupError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(BackupError::Missing { path });
                }
                found => found?,
            };
            if found != (file.bytes, file.sha256.clone()) {
                return Err(BackupError::Changed { path });
            }
        }
        let listed: std::collections::BTreeSet<&str> =
            self.manifest.files.iter().map(|file| file.path.as_str()).collect();
        let unlisted = files::all(&self.folder)?
            .into_iter()
            .find(|path| !listed.contains(path.as_str()) && path != NAME && path != SUM_NAME);
        match unlisted {
            None => Ok(()),
            Some(path) => Err(BackupError::Unlisted { path: self.folder.join(path) }),
        }
    }

    /// The files of the data folder, by their names in it.
    pub(super) fn data_files(&self) -> impl Iterator<Item = &str> {
        self.manifest.files.iter().filter_map(|file| file.path.strip_prefix("data/"))
    }
}

/// The fields that every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
    program: String,
}

fn digest(path: &Path) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", path))?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer).map_err(BackupError::io("read", path))?;
        if read == 0 {
            return Ok((bytes, hex::encode(hasher.finalize())));
        }
        bytes += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
