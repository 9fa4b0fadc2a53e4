//! A data folder out of a backup.
//!
//! What the hub gave out after the backup is lost with the records, and clients may hold it: offsets, producer ids and
//! schema ids are passed over, so that nothing else is ever given them. A new leader epoch tells clients of the cut.
//!
//! The audit log goes on. Where its newer tiles were kept (in an object store, or a folder that outlived the hub, or an
//! auditor's copy), it goes on behind them, and its history is whole. Where there are none, it goes on where the backup's
//! topic ends: entries are lost, and whoever holds a later checkpoint can show it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{
    AUDIT_TOPIC, CheckpointRow, Checkpoints as _, Found, LogReader, Resumed, TileFolder, Tiles, resume,
};
use shuniu_engine::EngineConfig;
use shuniu_ledger::Draft;
use shuniu_ledger::note::NoteVerifier;
use shuniu_model::Clock;
use shuniu_store::Store;

use super::{Backup, BackupError, Manifest, checkpoint_of, copy_tiles, files, public_key, verify, whole};
use crate::config::{Config, DirectoryStore, RecordStore, TileStore};
use crate::operator::Operator;
use crate::serve::Records;
use crate::{directory, tiles};

/// Offsets of each partition, and producer ids, that are passed over: more than any hub gives out between two backups.
/// Connectors take a jump of half as many for a restore.
const OFFSETS_PASSED_OVER: u32 = 1 << 30;
/// Schema ids that are passed over. Clients take ids up to 2^31.
const SCHEMA_IDS_PASSED_OVER: u32 = 1 << 16;
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be restored, and where to.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub folder: &'a Path,
    /// The data folder: empty, or not there yet.
    pub into: &'a Path,
    /// A configuration in place of the backup's. Its data folder is not looked at.
    pub config: Option<&'a Path>,
    /// A folder of newer tiles of the same log.
    pub audit: Option<&'a Path>,
    /// The directory's PostgreSQL database outlived the hub, and is used as it is.
    pub keep_directory: bool,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// Where the configuration says that the data folder is, unless that is where it was restored to.
    pub other_place: Option<PathBuf>,
    /// Where the audit log goes on; `None` where its topic, on a cluster, says so when the hub starts.
    pub log_size: Option<u64>,
    /// Whether the log goes on behind newer tiles.
    pub newer: bool,
    /// Entries about changes of the directory from the time of the backup on: its copy may lack them.
    pub changes: Vec<Found>,
}

/// The newer tiles.
struct Newer {
    log: Arc<LogReader>,
    tiles: Arc<dyn Tiles>,
    note: String,
}

impl Restore<'_> {
    /// Makes the data folder. Blocks in between.
    ///
    /// # Errors
    /// See [`BackupError`]. Nothing is left of the folder then; a PostgreSQL database that was to be filled may be.
    pub async fn run(&self, clock: &Clock) -> Result<Restored, BackupError> {
        let into = &must_be_empty(self.into)?;
        let backup = Arc::new(Backup::open(self.folder)?);
        let checked = Arc::clone(&backup);
        files::blocking(move || checked.check_files()).await?;
        let mut config = Config::read(&self.config_file()).map_err(BackupError::Config)?;
        let stated = config.hub.data_folder.clone();
        let partial = files::partial(into)?;
        config.hub.data_folder.clone_from(&partial);
        let made = self.fill(&backup, &config, clock).await.and_then(|made| {
            files::put_in_place(&partial, into)?;
            Ok(made)
        });
        match made {
            Ok((resumed, newer)) => Ok(Restored {
                manifest: backup.manifest.clone(),
                other_place: (absolute(&stated) != absolute(into)).then_some(stated),
                log_size: resumed.as_ref().map(|resumed| resumed.size),
                newer,
                changes: resumed.map(|resumed| resumed.changes).unwrap_or_default(),
            }),
            Err(error) => {
                files::discard(&partial);
                Err(error)
            }
        }
    }

    fn config_file(&self) -> PathBuf {
        self.config.map_or_else(|| self.folder.join("hub.toml"), Path::to_owned)
    }

    async fn fill(
        &self,
        backup: &Backup,
        config: &Config,
        clock: &Clock,
    ) -> Result<(Option<Resumed>, bool), BackupError> {
        let data = &config.hub.data_folder;
        for name in backup.data_files() {
            files::copy(&self.folder.join("data").join(name), &data.join(name))?;
        }
        files::copy(&self.config_file(), &data.join("hub.toml"))?;
        let file = data.join("directory.db");
        let row = checkpoint_of(&file).await?;
        // The entry about this restore names what the manifest says.
        let stated = (backup.manifest.tree_size, backup.manifest.root.as_str());
        if (row.tree_size, row.root.to_string().as_str()) != stated {
            return Err(BackupError::OtherLog { size: row.tree_size, stated: stated.0 });
        }
        let newer = self.newer(config, &row).await?;
        let has_newer = newer.is_some();
        let resumed = match config.records.store {
            RecordStore::Engine => Some(go_on(config, clock, &row, newer.as_ref()).await?),
            RecordStore::Kafka => None,
        };
        if let Some(newer) = newer {
            take_over(config, newer).await?;
        }
        let row = resumed.as_ref().and_then(|resumed| resumed.row.clone()).unwrap_or(row);
        if config.audit.tiles == TileStore::S3 {
            keep_in_store(config, has_newer).await?;
        }
        self.put_directory(config, &backup.manifest, &file, row, resumed.as_ref(), has_newer).await?;
        Ok((resumed, has_newer))
    }

    /// The newer tiles that there are, verified; and so that they begin with the backup's.
    async fn newer(&self, config: &Config, row: &CheckpointRow) -> Result<Option<Newer>, BackupError> {
        let (data, size, note) = (config.hub.data_folder.clone(), row.tree_size, row.note.clone());
        let (config, audit) = (config.clone(), self.audit.map(Path::to_owned));
        files::blocking(move || {
            let key = public_key(&TileFolder::open(&data.join("audit")), "the backup", None)?;
            let (tiles, place): (Arc<dyn Tiles>, PathBuf) = match audit {
                Some(folder) => (Arc::new(TileFolder::open(&folder)), folder),
                None if config.audit.tiles == TileStore::S3 => {
                    (tiles::open(&config).map_err(BackupError::Tiles)?, tiles::place(&config).into())
                }
                None => return Ok(None),
            };
            newer(tiles, place, key, size, &note)
        })
        .await
    }

    async fn put_directory(
        &self,
        config: &Config,
        manifest: &Manifest,
        file: &Path,
        row: CheckpointRow,
        resumed: Option<&Resumed>,
        has_newer: bool,
    ) -> Result<(), BackupError> {
        let operator = Operator::of(&config.hub.data_folder).map_err(BackupError::Operator)?;
        let mut detail = format!(
            "restored from the backup of {}, which has {} entries under its checkpoint",
            manifest.made_at, manifest.tree_size
        );
        if let Some(resumed) = resumed {
            detail.push_str(&format!(
                "; {OFFSETS_PASSED_OVER} offsets of each partition are passed over; the log goes on behind {} entries{}",
                resumed.size,
                if has_newer { "" } else { ", and what the hub wrote after them is lost" }
            ));
        }
        let draft = Draft::administered(operator.actor(), "hub", &detail);
        let draft = serde_json::to_string(&draft).map_err(BackupError::Entry)?;
        let store = match config.directory.store {
            DirectoryStore::Sqlite => Store::open_file(file).await.map_err(BackupError::Store)?,
            DirectoryStore::Postgresql => {
                if !self.keep_directory {
                    let database = directory::database(config).map_err(BackupError::Directory)?;
                    Store::migrate(database).await.map_err(BackupError::Store)?;
                }
                let target = directory::open(config).await.map_err(BackupError::Directory)?;
                if !self.keep_directory {
                    let source = Store::open_file(file).await.map_err(BackupError::Store)?;
                    let copied = target.copy_all(&source).await;
                    source.close().await;
                    copied.map_err(BackupError::Store)?;
                }
                for name in ["directory.db", "directory.db-wal", "directory.db-shm"] {
                    let path = config.hub.data_folder.join(name);
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(BackupError::io("remove", &path)(error));
                        }
                        _ => {}
                    }
                }
                target
            }
        };
        let put = put(&store, row, &draft).await;
        store.close().await;
        put
    }
}

/// Passes over what was given out, and brings the log's topic up to the newer tiles.
async fn go_on(
    config: &Config,
    clock: &Clock,
    row: &CheckpointRow,
    newer: Option<&Newer>,
) -> Result<Resumed, BackupError> {
    let engine = EngineConfig::new(config.hub.data_folder.join("records"));
    let skipped = shuniu_engine::skip_ahead(&engine, AUDIT_TOPIC, OFFSETS_PASSED_OVER).await;
    skipped.map_err(BackupError::Engine)?;
    let failed = |error| BackupError::Records(Box::new(error));
    let records = Records::open(config, clock).await.map_err(failed)?;
    let suite = config.audit.suite().unwrap_or_default();
    let given = newer.map(|newer| (Arc::clone(&newer.log), newer.note.clone()));
    let resumed = resume(Arc::clone(&records.upstream), suite, row, given).await;
    records.close(PATIENCE).await;
    resumed.map_err(BackupError::Resume)
}

/// Sets the checkpoint, and passes over what was given out.
async fn put(store: &Store, row: CheckpointRow, draft: &str) -> Result<(), BackupError> {
    let failed = |error: shuniu_archive::CheckpointFailure| BackupError::Checkpoint(error);
    let current = store.current().await.map_err(failed)?;
    if current.as_ref() != Some(&row) {
        let size = current.map_or(0, |row| row.tree_size);
        if !store.swap(size, row).await.map_err(failed)? {
            return Err(BackupError::InUse);
        }
    }
    store.pass_over(SCHEMA_IDS_PASSED_OVER, draft).await.map_err(BackupError::Store)
}

fn newer(
    tiles: Arc<dyn Tiles>,
    place: PathBuf,
    key: NoteVerifier,
    size: u64,
    earlier: &str,
) -> Result<Option<Newer>, BackupError> {
    let failed = |source| BackupError::Log { folder: place.clone(), source: Box::new(source) };
    let Some(note) = tiles.checkpoint().map_err(BackupError::Tile)? else { return Ok(None) };
    let log = LogReader::under(Arc::clone(&tiles), key, &note).map_err(failed)?;
    if log.checkpoint().size <= size {
        return Ok(None);
    }
    log.verify_growth(earlier).map_err(failed)?;
    whole(&log).map_err(failed)?;
    Ok(Some(Newer { log: Arc::new(log), tiles, note }))
}

/// Takes newer tiles over into the data folder, unless they are where they belong.
async fn take_over(config: &Config, newer: Newer) -> Result<(), BackupError> {
    if config.audit.tiles == TileStore::S3 {
        return Ok(());
    }
    let folder = config.hub.data_folder.join("audit");
    files::blocking(move || {
        let target = TileFolder::open(&folder);
        copy_tiles(newer.tiles.as_ref(), &target, newer.log.checkpoint().size)?;
        target.publish(&newer.note).map_err(BackupError::Tile)?;
        verify(&folder, newer.log.key().clone()).map(drop)
    })
    .await
}

/// Puts the backup's tiles where an object store lacks them. The folder stays, empty: a data folder with one has a log,
/// whose keys are missed when they are gone.
async fn keep_in_store(config: &Config, has_newer: bool) -> Result<(), BackupError> {
    let config = config.clone();
    files::blocking(move || {
        let folder = config.hub.data_folder.join("audit");
        if !has_newer {
            put_in_store(&config, &folder)?;
        }
        fs::remove_dir_all(&folder).map_err(BackupError::io("remove", &folder))?;
        files::make_folder(&folder)
    })
    .await
}

fn put_in_store(config: &Config, folder: &Path) -> Result<(), BackupError> {
    let (from, to) = (TileFolder::open(folder), tiles::create(config).map_err(BackupError::Tiles)?);
    let key = public_key(&from, "the backup", None)?;
    let Some(note) = from.checkpoint().map_err(BackupError::Tile)? else { return Ok(()) };
    let log = LogReader::under(from.clone(), key.clone(), &note)
        .map_err(|source| BackupError::Log { folder: folder.to_owned(), source: Box::new(source) })?;
    copy_tiles(&from, to.as_ref(), log.checkpoint().size)?;
    to.publish_key(&key).map_err(BackupError::Tile)?;
    to.publish(&note).map_err(BackupError::Tile)
}

/// The folder is empty or not there, and can be put in place by renaming; where it is.
fn must_be_empty(folder: &Path) -> Result<PathBuf, BackupError> {
    let looked = match fs::metadata(folder) {
        Ok(looked) => looked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder.to_owned()),
        Err(error) => return Err(BackupError::io("look at", folder)(error)),
    };
    // It may be named by a link.
    let folder = fs::canonicalize(folder).map_err(BackupError::io("look at", folder))?;
    let mut entries = fs::read_dir(&folder).map_err(BackupError::io("list", &folder))?;
    if entries.next().is_some() {
        return Err(BackupError::NotEmpty { folder });
    }
    let above = files::parent(&folder);
    let above = fs::metadata(above).map_err(BackupError::io("look at", above))?;
    if above.dev() == looked.dev() { Ok(folder) } else { Err(BackupError::Mounted { folder }) }
}

/// For comparing, not for opening.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
