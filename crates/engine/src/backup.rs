//! Copying a records folder while an engine uses it, and giving out no offset of a copy twice.
//!
//! A copy is what a crash at that moment would have left: closed segments, and the beginning of the active one up to some
//! append. So it opens as after a crash, and holds everything that was acknowledged before the copying began. Nothing of
//! the engine's memory is needed, and it is not held up.
//!
//! What is copied first is oldest. The tables come first, so that no committed offset lies behind the copied records; then
//! the topic that tells of the others, if there is one, so that it tells of nothing that the copy lacks.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::EngineError;
use crate::config::EngineConfig;
use crate::database::{Database, TopicRow};
use crate::folder::{FolderLock, partition_folder, sync_folder};
use crate::log::loss::end_anew;
use crate::log::mark::Extent;
use crate::log::open::{Kept, Place};
use crate::log::segment::SegmentName;

/// A partition is copied anew when compaction or retention took files away meanwhile; that is rare, so this is plenty.
const ATTEMPTS_MAX: u32 = 10;

/// A partition and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionExtent {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Its first offset.
    pub start: i64,
    /// The offset after its last.
    pub end: i64,
}

impl PartitionExtent {
    fn of(row: &TopicRow, partition: i32, Extent { start, end }: Extent) -> Self {
        Self { topic: row.name.clone(), partition, start, end }
    }
}

/// Copies a records folder, which an engine may be using, into a folder that is made. `first` is the topic that tells of
/// the others. Every copied log is read and found whole.
///
/// # Errors
/// When a file cannot be read or written, or the log itself has damage.
pub async fn copy_records(from: &Path, to: &Path, first: &str) -> Result<Vec<PartitionExtent>, EngineError> {
    fs::create_dir_all(to).map_err(EngineError::disk("make", to))?;
    copy_tables(from, to).await?;
    let database = Database::open(to).await?;
    let topics = database.topics().await;
    database.close().await;
    let mut topics = topics?;
    // Stable: the others stay in the order of their names.
    topics.sort_by_key(|row| row.name != first);
    let (from, to) = (from.to_owned(), to.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_topics(&topics, &from, &to));
    copied.await.map_err(|_| EngineError::Stopped)?
}

/// Lets every partition of a records folder but those of `kept` go on `gap` offsets later, in a new leader epoch, and
/// producer ids as well: what was given out after the folder was copied, and is lost, is given to nothing else. The
/// engine must not be open. Gives the partitions as they were. After an error, or a crash, the folder is to be copied
/// again.
///
/// # Errors
/// As when the engine is opened.
pub async fn skip_ahead(
    config: &EngineConfig,
    kept: &str,
    gap: u32,
) -> Result<Vec<PartitionExtent>, EngineError> {
    let lock = FolderLock::take(&config.folder)?;
    let database = Database::open(&config.folder).await?;
    let begun = begin_epochs(config, &database, kept, gap).await;
    database.close().await;
    let (partitions, logs) = begun?;
    let skipped = tokio::task::spawn_blocking(move || {
        for Log { folder, segment, end, epoch } in logs {
            end_anew(&folder, segment, end.saturating_add(i64::from(gap)).saturating_sub(1), epoch)?;
        }
        drop(lock);
        Ok::<_, EngineError>(())
    });
    skipped.await.map_err(|_| EngineError::Stopped)??;
    Ok(partitions)
}

/// A log that goes on later, in an epoch that has begun.
struct Log {
    folder: PathBuf,
    segment: SegmentName,
    end: i64,
    epoch: i32,
}

/// The partitions, and the logs of those that are not of the kept topic.
async fn begin_epochs(
    config: &EngineConfig,
    database: &Database,
    kept: &str,
    gap: u32,
) -> Result<(Vec<PartitionExtent>, Vec<Log>), EngineError> {
    let topics = database.topics().await?;
    let (records, kept) = (config.folder.clone(), kept.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let (mut partitions, mut logs) = (Vec::new(), Vec::new());
        for row in &topics {
            for index in 0..row.partitions {
                let folder = partition_folder(&records, &row.name, index);
                let sound = Place { topic: &row.name, index, folder: &folder }.examine(Kept::Stored)?;
                let at = PartitionExtent::of(row, index, sound.extent());
                if let Some(segment) = sound.last_segment().filter(|_| row.name != kept) {
                    let epoch = row.epochs_of(index).now() + 1;
                    logs.push((at.clone(), Log { folder, segment, end: at.end, epoch }));
                }
                partitions.push(at);
            }
        }
        Ok::<_, EngineError>((partitions, logs))
    });
    let (partitions, logs) = looked.await.map_err(|_| EngineError::Stopped)??;
    let starts: Vec<_> = logs.iter().map(|(at, _)| (at.topic.as_str(), at.partition, at.end)).collect();
    database.begin_epochs(&starts, i64::from(gap)).await.map_err(|source| EngineError::Database {
        attempt: "begin leader epochs",
        path: config.folder.join("engine.db"),
        source,
    })?;
    Ok((partitions, logs.into_iter().map(|(_, log)| log).collect()))
}

/// The tables of one moment. SQLite lets the engine write on meanwhile.
async fn copy_tables(from: &Path, to: &Path) -> Result<(), EngineError> {
    let path = from.join("engine.db");
    let failed = |source| EngineError::Database { attempt: "copy tables", path: path.clone(), source };
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(false);
    let pool = SqlitePool::connect_with(options).await.map_err(failed)?;
    let target = to.join("engine.db").display().to_string();
    let copied = sqlx::query("VACUUM INTO $1").bind(target).execute(&pool).await;
    pool.close().await;
    copied.map_err(failed)?;
    sync_file(&to.join("engine.db"))
}

fn copy_topics(topics: &[TopicRow], from: &Path, to: &Path) -> Result<Vec<PartitionExtent>, EngineError> {
    let mut copied = Vec::new();
    for row in topics {
        for partition in 0..row.partitions {
            let place = |records: &Path| partition_folder(records, &row.name, partition);
            let (from, to) = (place(from), place(to));
            let extent = copy_again_until_whole(&row.name, partition, &from, &to)?;
            copied.push(PartitionExtent::of(row, partition, extent));
        }
    }
    let to = to.join("topics");
    fs::create_dir_all(&to).map_err(EngineError::disk("make", &to))?;
    sync_folder(&to).map_err(EngineError::disk("sync", &to))?;
    Ok(copied)
}

fn copy_again_until_whole(topic: &str, index: i32, from: &Path, to: &Path) -> Result<Extent, EngineError> {
    let mut attempt = 1;
    loop {
        let place = Place { topic, index, folder: to };
        let copied = copy_partition(from, to)
            .map_err(EngineError::disk("copy", from))
            .and_then(|()| place.examine(Kept::Stored));
        let error = match copied {
            Ok(sound) => {
                sound.settle(to)?;
                return Ok(sound.extent());
            }
            Err(error) => error,
        };
        // A file that went while it was to be copied, or a list of files that was made while they changed.
        let passing = match &error {
            EngineError::Disk { source, .. } => source.kind() == io::ErrorKind::NotFound,
            EngineError::Damaged(_) => true,
            _ => false,
        };
        if !passing || attempt == ATTEMPTS_MAX {
            return Err(error);
        }
        attempt += 1;
        fs::remove_dir_all(to).map_err(EngineError::disk("remove", to))?;
    }
}

fn copy_partition(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    // Before the logs: then they reach at least as far.
    let mark = Extent::read(from)?;
    let mut logs = Vec::new();
    let mut beside = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(text) = name.to_str() else { continue };
        if SegmentName::of_log(text).is_some() {
            // Opened at once: what is removed later stays readable.
            logs.push((to.join(text), File::open(entry.path())?));
        } else if text.ends_with(".index") || text.ends_with(".producers") {
            beside.push((entry.path(), to.join(text)));
        }
    }
    for (target, log) in logs {
        // What is appended from here on is not awaited.
        let bytes = log.metadata()?.len();
        let mut target = File::create(&target)?;
        io::copy(&mut log.take(bytes), &mut target)?;
        target.sync_data()?;
    }
    for (source, target) in beside {
        match fs::copy(&source, &target) {
            Ok(_) => File::open(&target)?.sync_data()?,
            // Both are made anew from the log where they are missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(mark) = mark {
        mark.put(to)?;
    }
    sync_folder(to)
}

fn sync_file(path: &Path) -> Result<(), EngineError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(EngineError::disk("sync", path))
}
