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
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::EngineError;
use crate::Loss;
use crate::config::EngineConfig;
use crate::database::{Database, TopicRow};
use crate::folder::{FolderLock, sync_folder};
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
    let (from, to) = (from.join("topics"), to.join("topics"));
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
    let skipped = begin_epochs(config, &database, kept, gap).await;
    database.close().await;
    drop(lock);
    let partitions = skipped?;
    for at in partitions.iter().filter(|at| at.topic != kept) {
        let last = at.end.saturating_add(i64::from(gap)).saturating_sub(1);
        let loss = Loss::check(config, &at.topic, at.partition, at.end, last).await?;
        let accepted = tokio::task::spawn_blocking(move || loss.accept());
        accepted.await.map_err(|_| EngineError::Stopped)??;
    }
    Ok(partitions)
}

async fn begin_epochs(
    config: &EngineConfig,
    database: &Database,
    kept: &str,
    gap: u32,
) -> Result<Vec<PartitionExtent>, EngineError> {
    let topics = database.topics().await?;
    let folder = config.folder.join("topics");
    let looked = tokio::task::spawn_blocking(move || {
        let mut partitions = Vec::new();
        for row in &topics {
            for index in 0..row.partitions {
                let folder = folder.join(format!("{}-{index}", row.name));
                let sound = Place { topic: &row.name, index, folder: &folder }.examine(Kept::Stored)?;
                let (start, end) = sound.extent();
                partitions.push(PartitionExtent { topic: row.name.clone(), partition: index, start, end });
            }
        }
        Ok::<_, EngineError>(partitions)
    });
    let partitions = looked.await.map_err(|_| EngineError::Stopped)??;
    let starts: Vec<_> = partitions
        .iter()
        .filter(|at| at.topic != kept)
        .map(|at| (at.topic.as_str(), at.partition, at.end))
        .collect();
    database.begin_epochs(&starts, i64::from(gap)).await.map_err(|source| EngineError::Database {
        attempt: "begin leader epochs",
        path: config.folder.join("engine.db"),
        source,
    })?;
    Ok(partitions)
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
            let name = format!("{}-{partition}", row.name);
            let (from, to) = (from.join(&name), to.join(&name));
            let (start, end) = copy_again_until_whole(&row.name, partition, &from, &to)?;
            copied.push(PartitionExtent { topic: row.name.clone(), partition, start, end });
        }
    }
    fs::create_dir_all(to).map_err(EngineError::disk("make", to))?;
    sync_folder(to).map_err(EngineError::disk("sync", to))?;
    Ok(copied)
}

fn copy_again_until_whole(
    topic: &str,
    index: i32,
    from: &Path,
    to: &Path,
) -> Result<(i64, i64), EngineError> {
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
