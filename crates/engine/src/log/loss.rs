//! Accepting a loss: an operator states which offsets are lost, and the log is made whole without them.
//!
//! The offsets stay used: the log goes on after the last of them, whatever was or was not there, so that none is given
//! to another record. What cannot be kept of a damaged file stays beside it as `NAME.damaged`, for whoever examines it.
//!
//! The crash story: the kept part is written as the next generation of its segment, which may have gaps, and takes the
//! place of the old one in one step, after what follows it is in place. After a crash in between the engine still does
//! not open, and says what is left to accept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, Scratch, batches, thin};

use super::index::Tally;
use super::mark::Extent;
use super::open::{Kept, Place, scan};
use super::segment::{Segment, SegmentName};
use crate::EngineError;
use crate::config::EngineConfig;
use crate::database::Database;
use crate::error::{Damage, Finding};
use crate::folder::{FolderLock, partition_folder, put_file, staged, sync_folder};
use crate::header::{PREFIX_BYTES, prefix};

/// A loss that can be accepted as it was stated. It holds the folder: nobody opens it meanwhile.
#[derive(Debug)]
pub struct Loss {
    folder: PathBuf,
    repair: Repair,
    /// Of the partition, now.
    epoch: i32,
    _lock: FolderLock,
}

/// The offsets that an operator gives up.
#[derive(Debug, Clone, Copy)]
struct Stated {
    first: i64,
    last: i64,
}

/// What makes the log whole.
#[derive(Debug, Clone, Copy)]
enum Repair {
    /// It begins later now.
    Begin { start: i64 },
    /// What can be read of this segment stays, and the segment ends where the next one begins.
    KeepPrefix { name: SegmentName, next_base: i64 },
    /// What can be read of this segment stays, and the next one begins at the last lost offset.
    EndAnew { name: SegmentName, last: i64 },
}

impl Loss {
    /// Holds against the log that the records at offsets `first` to `last` of a partition are lost, and changes nothing
    /// yet. `first` is the offset that the log can be read up to; `last` at least the last one known to be at stake. The
    /// engine must not be open.
    ///
    /// # Errors
    /// [`EngineError::Loss`] where the offsets are not those that are lost; other errors as at opening, but for
    /// [`EngineError::Damaged`].
    pub async fn check(
        config: &EngineConfig,
        topic: &str,
        partition: i32,
        first: i64,
        last: i64,
    ) -> Result<Self, EngineError> {
        let stated = Stated { first, last };
        let lock = FolderLock::take(&config.folder)?;
        let database = Database::open(&config.folder).await?;
        let topics = database.topics().await;
        database.close().await;
        let topics = topics?;
        let known = topics.iter().find(|row| row.name == topic && (0..row.partitions).contains(&partition));
        let Some(known) = known else {
            return Err(stated.refused(format!("there is no partition {partition} of topic `{topic}`")));
        };
        let epoch = known.epochs_of(partition).now();
        let folder = partition_folder(&config.folder, topic, partition);
        let (topic, place) = (topic.to_owned(), folder.clone());
        let repair = tokio::task::spawn_blocking(move || {
            stated.repair(&Place { topic: &topic, index: partition, folder: &place })
        });
        let repair = repair.await.map_err(|_| EngineError::Stopped)??;
        Ok(Self { folder, repair, epoch, _lock: lock })
    }

    /// Makes the log whole without the lost records. Blocking.
    ///
    /// # Errors
    /// When the disk fails. The log is then as damaged as before, or a part of it is made whole.
    pub fn accept(self) -> Result<(), EngineError> {
        let folder = &self.folder;
        match self.repair {
            Repair::Begin { start } => {
                let end = Extent::read(folder).map_err(EngineError::disk("read", folder))?;
                put_mark(Extent { start, end: end.map_or(start, |mark| mark.end) }, folder)
            }
            Repair::KeepPrefix { name, next_base } => keep_prefix(folder, name, next_base),
            Repair::EndAnew { name, last } => end_anew(folder, name, last, self.epoch),
        }
    }
}

impl Stated {
    fn refused(self, why: String) -> EngineError {
        EngineError::Loss { first: self.first, last: self.last, why }
    }

    fn repair(self, place: &Place<'_>) -> Result<Repair, EngineError> {
        let Self { first, last } = self;
        if first < 0 || last < first || last >= i64::MAX - 1 {
            return Err(self.refused("these are no offsets from one to a later one".to_owned()));
        }
        match place.examine(Kept::Stored) {
            // The log itself shows nothing: somebody else, the audit log, knows that there was more.
            Ok(sound) => match sound.active {
                Some(active) if active.tally.end == first => Ok(Repair::EndAnew { name: active.name, last }),
                Some(active) => {
                    let end = active.tally.end;
                    Err(self
                        .refused(format!("the partition has no damage, and its log ends at offset {end}")))
                }
                None => Err(self.refused("the partition has no log".to_owned())),
            },
            Err(EngineError::Damaged(damage)) => self.repair_of(place.folder, &damage),
            Err(error) => Err(error),
        }
    }

    fn repair_of(self, folder: &Path, damage: &Damage) -> Result<Repair, EngineError> {
        let Self { first, last } = self;
        if first != damage.first || last < damage.last {
            return Err(self.refused(damage.to_string()));
        }
        if damage.finding == Finding::Overlap {
            return Err(self.refused(format!(
                "{damage}; two files for the same records are not a loss: restore the partition's folder"
            )));
        }
        let names = segment_names(folder).map_err(EngineError::disk("list", folder))?;
        let damaged = names.iter().rfind(|name| name.log(folder) == damage.path).copied();
        let next_base = names.iter().map(|name| name.base).find(|base| *base > first);
        if next_base.is_some_and(|base| base != last + 1) {
            return Err(self.refused(damage.to_string()));
        }
        Ok(match (damaged, next_base) {
            (Some(name), Some(next_base)) => Repair::KeepPrefix { name, next_base },
            (None, Some(start)) => Repair::Begin { start },
            (Some(name), None) => Repair::EndAnew { name, last },
            (None, None) => Repair::EndAnew { name: SegmentName { base: first, generation: 0 }, last },
        })
    }
}

/// Lets the log go on after the loss: what is there of the last segment is closed, and the next begins with an empty
/// batch at the last lost offset, so that readers come to the end of the log.
pub(crate) fn end_anew(folder: &Path, name: SegmentName, last: i64, epoch: i32) -> Result<(), EngineError> {
    let place = name.log(folder);
    let there = place.exists();
    let mark = Extent::read(folder).map_err(EngineError::disk("read", folder))?;
    // Without a single segment the log begins with the one that is made here.
    let start = if there { mark.map_or(name.base, |mark| mark.start.min(name.base)) } else { last };
    // A segment in the place of the new one holds nothing that can be read: its next generation replaces it.
    let replaced = there && name.base == last;
    let generation = if replaced { name.generation.saturating_add(1) } else { 0 };
    if replaced {
        set_aside(&place, 0)?;
    }
    let filler = filler(last, epoch).map_err(EngineError::disk("make a batch for", &place))?;
    let path = SegmentName { base: last, generation }.log(folder);
    put_file(&path, &filler).map_err(EngineError::disk("write", &path))?;
    sync_folder(folder).map_err(EngineError::disk("sync", folder))?;
    if there && !replaced {
        keep_prefix(folder, name, last)?;
    }
    put_mark(Extent { start, end: last + 1 }, folder)
}

/// Writes what can be read of a segment as its next generation, which ends where the next segment begins.
fn keep_prefix(folder: &Path, name: SegmentName, next_base: i64) -> Result<(), EngineError> {
    let path = name.log(folder);
    let file = File::open(&path).map_err(EngineError::disk("open", &path))?;
    let (mut tally, _) = scan(&file, name, &path, &mut |_| {})?;
    set_aside(&path, tally.bytes)?;
    let next = SegmentName { base: name.base, generation: name.generation.saturating_add(1) };
    write_generation(&file, next, folder, &mut tally, next_base)
        .map_err(EngineError::disk("write anew", &path))?;
    name.remove(folder);
    sync_folder(folder).map_err(EngineError::disk("sync", folder))
}

/// Copies a file that has more than `kept` bytes.
fn set_aside(path: &Path, kept: u64) -> Result<(), EngineError> {
    let bytes = fs::metadata(path).map_err(EngineError::disk("read", path))?.len();
    if bytes > kept {
        let mut damaged = path.as_os_str().to_owned();
        damaged.push(".damaged");
        fs::copy(path, &damaged).map_err(EngineError::disk("copy", path))?;
        File::open(&damaged).and_then(|file| file.sync_all()).map_err(EngineError::disk("copy", path))?;
    }
    Ok(())
}

fn write_generation(
    file: &File,
    name: SegmentName,
    folder: &Path,
    tally: &mut Tally,
    next_base: i64,
) -> io::Result<()> {
    let path = name.log(folder);
    let staged = staged(&path);
    let mut copy = File::create(&staged)?;
    io::copy(&mut file.take(tally.bytes), &mut copy)?;
    copy.sync_data()?;
    tally.end = next_base;
    if tally.entries.is_empty() {
        // Without any time of its own it is as old as can be, so that retention does not stop at it.
        tally.max_timestamp = 0;
    }
    Segment::close(name, folder, tally)?;
    sync_folder(folder)?;
    fs::rename(&staged, &path)?;
    sync_folder(folder)
}

fn put_mark(extent: Extent, folder: &Path) -> Result<(), EngineError> {
    extent.put(folder).map_err(EngineError::disk("write a mark in", folder))?;
    sync_folder(folder).map_err(EngineError::disk("sync", folder))
}

fn segment_names(folder: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::of_log));
    }
    names.sort_unstable();
    Ok(names)
}

/// A batch without a record at this offset, as compaction leaves one.
fn filler(offset: i64, epoch: i32) -> io::Result<Vec<u8>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&BuiltRecord::default());
    let built = builder.build().map_err(invalid)?;
    let batch = batches(&built).next().ok_or(io::ErrorKind::UnexpectedEof)?.map_err(invalid)?;
    let empty = thin(&batch, None, built.len(), &mut Scratch::default(), &mut |_| false).map_err(invalid)?;
    let mut bytes = empty.to_vec();
    let prefix = prefix(offset, bytes.len(), epoch).ok_or(io::ErrorKind::InvalidData)?;
    bytes.get_mut(..PREFIX_BYTES).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(&prefix);
    Ok(bytes)
}
