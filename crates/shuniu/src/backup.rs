//! Backups of a hub: made while it runs, checked, and restored into a new data folder.
//!
//! A backup is a folder: `hub.toml`, `data/` with what a data folder holds, and `manifest.json`, which names every file
//! with its size and SHA-256. It is made under another name and renamed when all of it is on the disk, so a folder of
//! the name that was asked for is whole.
//!
//! What tells of other things is copied before them, so that the copy of a running hub tells of nothing that it lacks:
//! first the directory, with the audit log's checkpoint; then the log's tiles under that checkpoint; then the records,
//! whose first is the log's own topic; then keys and certificates. What happened meanwhile is on the copied topic, and the restored hub puts it under
//! a checkpoint as a hub does after a crash.

mod error;
mod files;
mod manifest;
mod restore;

use std::path::{Path, PathBuf};

use shuniu_archive::{
    AUDIT_TOPIC, CheckpointRow, Checkpoints as _, LogReader, TileFolder, Tiles, VerifyError,
};
use shuniu_engine::PartitionExtent;
use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::tile::TileName;
use shuniu_ledger::{Draft, Tile};
use shuniu_model::{Clock, Timestamp};
use shuniu_store::Store;

use crate::audit::AuditError;
use crate::config::{Config, RecordStore};
use crate::operator::Operator;
use crate::{audit, directory, tiles};

pub use error::BackupError;
pub use manifest::{Backup, Manifest};
pub use restore::{Restore, Restored};

/// Tiles that are written and synced together.
const TILES_AT_ONCE: usize = 256;
/// And what they have: a tile of large entries has some megabytes.
const TILES_BYTES_AT_ONCE: usize = 16 << 20;

/// What is to be backed up, and where to.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The hub's configuration.
    pub config: &'a Config,
    /// Its file; `None` where every key has its default.
    pub config_file: Option<&'a Path>,
    /// The folder that is made.
    pub folder: &'a Path,
    /// Secret files are left out.
    pub without_keys: bool,
}

impl Plan<'_> {
    /// Makes the backup; a hub may run. Blocks in between.
    ///
    /// # Errors
    /// See [`BackupError`]. Nothing is left of the folder then.
    pub async fn make(&self, clock: &Clock) -> Result<Manifest, BackupError> {
        let operator = Operator::of(&self.config.hub.data_folder).map_err(BackupError::Operator)?;
        if self.folder.symlink_metadata().is_ok() {
            return Err(BackupError::Exists { folder: self.folder.to_owned() });
        }
        let partial = files::partial(self.folder)?;
        let made = self.fill(&partial, &operator, clock()).await.and_then(|manifest| {
            files::put_in_place(&partial, self.folder)?;
            Ok(manifest)
        });
        if made.is_err() {
            files::discard(&partial);
        }
        made
    }

    async fn fill(
        &self,
        partial: &Path,
        operator: &Operator,
        made_at: Timestamp,
    ) -> Result<Manifest, BackupError> {
        let data = partial.join("data");
        files::make_folder(&data)?;
        self.write_down(operator).await?;
        let row = self.copy_directory(&data).await?;
        self.copy_tiles(&data.join("audit"), &row).await?;
        let partitions = self.copy_records(&data.join("records")).await?;
        // Listed last: a key that the copied directory or log names is there by now.
        let secrets = files::Papers::of(self.config)?;
        let left_out = secrets.copy(&data, self.without_keys)?;
        let config_file = partial.join("hub.toml");
        match self.config_file {
            Some(path) => files::copy(path, &config_file)?,
            None => {
                let text = self.config.to_toml().map_err(BackupError::Config)?;
                files::write(&config_file, text.as_bytes())?;
            }
        }
        let mut manifest = Manifest::new(self.config, made_at, &row, partitions);
        manifest.left_out = left_out;
        manifest.outside = secrets.outside();
        manifest.write(partial)?;
        Ok(manifest)
    }

    /// Before anything is copied: it is all that the hub holds.
    async fn write_down(&self, operator: &Operator) -> Result<(), BackupError> {
        let keys = if self.without_keys { "without keys" } else { "with keys" };
        let detail = format!("a backup is made, {keys}, into {}", self.folder.display());
        let draft = Draft::administered(operator.actor(), "hub", &detail);
        let draft = serde_json::to_string(&draft).map_err(BackupError::Entry)?;
        let store = directory::open(self.config).await.map_err(BackupError::Directory)?;
        let written = store.outbox_add(&draft).await;
        store.close().await;
        written.map_err(BackupError::Store)
    }

    async fn copy_directory(&self, data: &Path) -> Result<CheckpointRow, BackupError> {
        let file = data.join("directory.db");
        let store = directory::open(self.config).await.map_err(BackupError::Directory)?;
        let copied = store.copy_to_file(&file).await;
        store.close().await;
        copied.map_err(BackupError::Store)?;
        files::sync(&file)?;
        checkpoint_of(&file).await
    }

    async fn copy_tiles(&self, to: &Path, row: &CheckpointRow) -> Result<(), BackupError> {
        let (config, to, row) = (self.config.clone(), to.to_owned(), row.clone());
        files::blocking(move || {
            let from = tiles::open(&config).map_err(BackupError::Tiles)?;
            let key = public_key(from.as_ref(), &tiles::place(&config), None)?;
            let target = TileFolder::create(&to).map_err(BackupError::Tile)?;
            copy_tiles(from.as_ref(), &target, row.tree_size)?;
            target.publish_key(&key).map_err(BackupError::Tile)?;
            target.publish(&row.note).map_err(BackupError::Tile)?;
            verify(&to, key).map(drop)
        })
        .await
    }

    async fn copy_records(&self, to: &Path) -> Result<Vec<PartitionExtent>, BackupError> {
        match self.config.records.store {
            RecordStore::Engine => {
                let from = self.config.hub.data_folder.join("records");
                shuniu_engine::copy_records(&from, to, AUDIT_TOPIC).await.map_err(BackupError::Engine)
            }
            RecordStore::Kafka => Ok(Vec::new()),
        }
    }
}

/// The checkpoint in a directory's file.
async fn checkpoint_of(file: &Path) -> Result<CheckpointRow, BackupError> {
    let store = Store::open_file(file).await.map_err(BackupError::Store)?;
    let row = store.current().await;
    store.close().await;
    row.map_err(BackupError::Checkpoint)?.ok_or(BackupError::NoCheckpoint)
}

/// The log's public key: the one in that file, or the one beside the tiles.
fn public_key(tiles: &dyn Tiles, place: &str, key: Option<&Path>) -> Result<NoteVerifier, BackupError> {
    audit::public_key(tiles, place, key).map_err(|error| match error {
        // Without the advice to give another: only a check takes one.
        AuditError::NoKey { place } => BackupError::NoPublicKey { place },
        error => BackupError::PublicKey(Box::new(error)),
    })
}

/// Copies the tiles of a tree of that size. What is there already must be the same.
fn copy_tiles(from: &dyn Tiles, to: &dyn Tiles, tree_size: u64) -> Result<(), BackupError> {
    let (mut some, mut some_bytes) = (Vec::with_capacity(TILES_AT_ONCE), 0);
    for name in TileName::all(tree_size) {
        let bytes = from.read(name).map_err(BackupError::Tile)?;
        some_bytes += bytes.len();
        some.push(Tile { name, bytes });
        if some.len() == TILES_AT_ONCE || some_bytes >= TILES_BYTES_AT_ONCE {
            to.put(&some).map_err(BackupError::Tile)?;
            some.clear();
            some_bytes = 0;
        }
    }
    to.put(&some).map_err(BackupError::Tile)
}

/// Verifies a log from its tiles.
fn verify(folder: &Path, key: NoteVerifier) -> Result<LogReader, BackupError> {
    let failed = |source| BackupError::Log { folder: folder.to_owned(), source: Box::new(source) };
    let log = LogReader::open(TileFolder::open(folder), key).map_err(failed)?;
    whole(&log).map_err(failed)?;
    Ok(log)
}

/// Verifies every tile and entry. Every boot's chain must be whole.
fn whole(log: &LogReader) -> Result<(), VerifyError> {
    let verified = log.verify_log(&mut |_| {})?;
    verified.chain_failures.into_iter().next().map_or(Ok(()), Err)
}

/// Checks a backup: every file against the manifest, and the audit log from its tiles. Blocks.
///
/// # Errors
/// The first thing that does not hold.
pub async fn check(folder: &Path, key: Option<PathBuf>) -> Result<Manifest, BackupError> {
    let owned = folder.to_owned();
    let manifest = files::blocking(move || {
        let backup = Backup::open(&owned)?;
        backup.check_files()?;
        let audit = owned.join("data/audit");
        let tiles = TileFolder::open(&audit);
        let key = public_key(&tiles, &audit.display().to_string(), key.as_deref())?;
        let log = verify(&audit, key)?;
        let (size, root) = (log.checkpoint().size, log.checkpoint().root.to_string());
        if (size, &root) != (backup.manifest.tree_size, &backup.manifest.root) {
            return Err(BackupError::OtherLog { size, stated: backup.manifest.tree_size });
        }
        Ok(backup.manifest)
    });
    manifest.await
}
