//! Opening a partition: what a crash left is put in order here, the same way as after a clean stop.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use super::append::{Writer, create_log, producers_path};
use super::compact::Upkeep;
use super::index::Tally;
use super::partition::{Identity, LogContext, Partition, SettingsCell, View};
use super::producers::Producers;
use super::segment::{Scan, Segment, SegmentName};
use crate::EngineError;
use crate::folder::sync_folder;
use crate::header::Header;

impl Partition {
    /// Opens the log in this folder, which is there; an empty folder becomes an empty log.
    pub(crate) fn open(
        topic: Arc<str>,
        index: i32,
        folder: &Path,
        context: Arc<LogContext>,
        settings: Arc<SettingsCell>,
    ) -> Result<Arc<Self>, EngineError> {
        let mut names = segment_names(folder)?;
        let active_name = names.pop();
        let closed = closed_segments(names, folder, active_name)?;
        let (name, file) = match active_name {
            Some(name) => {
                let path = name.log(folder);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                (name, file.map_err(EngineError::disk("open", &path))?)
            }
            None => {
                let name = SegmentName { base: 0, generation: 0 };
                (name, create_log(name, folder).map_err(EngineError::disk("make a log in", folder))?)
            }
        };
        let mut producers = producers_at(folder, name.base, &closed)?;
        let (active, first_append_ms) = recover(&file, name, folder, &mut producers)?;
        let file = Arc::new(file);
        let writer = Writer {
            name,
            file: Arc::clone(&file),
            bytes: active.bytes,
            next_offset: active.end,
            producers,
            broken: None,
        };
        let view = View { closed, active_name: name, active, active_file: file, first_append_ms };
        let identity = Identity { topic, index, folder: folder.to_owned(), context, settings };
        let upkeep = Upkeep::load(folder).map_err(EngineError::disk("read", folder))?;
        Ok(Self::new(identity, writer, upkeep, view))
    }
}

/// The segments of a folder in order, one generation of each; removes what was left half-made or is replaced.
fn segment_names(folder: &Path) -> Result<Vec<SegmentName>, EngineError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(EngineError::disk("list", folder))? {
        let entry = entry.map_err(EngineError::disk("list", folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".new") {
            let path = entry.path();
            fs::remove_file(&path).map_err(EngineError::disk("remove", &path))?;
        } else if let Some(name) = SegmentName::of_log(name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut kept: Vec<SegmentName> = Vec::with_capacity(names.len());
    for name in names {
        if let Some(last) = kept.last_mut().filter(|last| last.base == name.base) {
            last.remove(folder);
            *last = name;
        } else {
            kept.push(name);
        }
    }
    Ok(kept)
}

fn closed_segments(
    names: Vec<SegmentName>,
    folder: &Path,
    active: Option<SegmentName>,
) -> Result<Vec<Arc<Segment>>, EngineError> {
    let mut closed: Vec<Arc<Segment>> = Vec::with_capacity(names.len());
    for name in names {
        if closed.last().is_some_and(|last| name.base < last.end) {
            // Compaction merged it into the one before, and the crash came before it was removed.
            name.remove(folder);
            continue;
        }
        let path = name.index(folder);
        let segment = match Segment::load(name, folder).map_err(EngineError::disk("read", &path))? {
            Some(segment) => segment,
            None => index_anew(name, folder)?,
        };
        closed.push(Arc::new(segment));
    }
    if let (Some(last), Some(active)) = (closed.last(), active)
        && last.end > active.base
    {
        return Err(EngineError::Damaged { path: active.log(folder), position: 0 });
    }
    Ok(closed)
}

/// Makes a closed segment's index from its log, which must be whole: it was durable when the segment was closed.
fn index_anew(name: SegmentName, folder: &Path) -> Result<Segment, EngineError> {
    let path = name.log(folder);
    tracing::warn!(path = %path.display(), "a segment has no good index; it is made anew");
    let file = File::open(&path).map_err(EngineError::disk("open", &path))?;
    let (tally, until) = scan(&file, name, &path, &mut |_| {})?;
    if tally.bytes < until {
        return Err(EngineError::Damaged { path, position: tally.bytes });
    }
    Segment::close(name, folder, &tally).map_err(EngineError::disk("index", &path))
}

/// Reads the active segment, cuts a torn tail, and makes durable what a killed process left in the page cache:
/// readers will see it from here on.
fn recover(
    file: &File,
    name: SegmentName,
    folder: &Path,
    producers: &mut Producers,
) -> Result<(Tally, Option<i64>), EngineError> {
    let path = name.log(folder);
    let mut first_ms = None;
    let (tally, until) = scan(file, name, &path, &mut |header| {
        first_ms.get_or_insert(header.max_timestamp);
        producers.replay(header);
    })?;
    if tally.bytes < until {
        tracing::warn!(path = %path.display(), kept = tally.bytes, cut = until - tally.bytes,
            "the log ends in an unfinished batch that was never acknowledged; it is cut");
        file.set_len(tally.bytes).map_err(EngineError::disk("cut", &path))?;
    }
    file.sync_all().map_err(EngineError::disk("sync", &path))?;
    sync_folder(folder).map_err(EngineError::disk("sync", folder))?;
    Ok((tally, first_ms))
}

/// Counts a log file's good batches up to the first bad one; also says how long the file is.
fn scan(
    file: &File,
    name: SegmentName,
    path: &Path,
    each: &mut dyn FnMut(&Header),
) -> Result<(Tally, u64), EngineError> {
    let until = file.metadata().map_err(EngineError::disk("read", path))?.len();
    let mut scan = Scan::new(file, 0, until);
    let mut tally = Tally::new(name.base);
    while let Some((header, batch)) = scan.next_batch().map_err(EngineError::disk("read", path))? {
        if !header.is_plausible(tally.end, name.generation > 0) || !header.crc_holds(batch) {
            break;
        }
        tally.push(&header);
        each(&header);
    }
    Ok((tally, until))
}

/// The producers' state where the active segment begins: from the snapshot, or else from every batch before it.
fn producers_at(folder: &Path, base: i64, closed: &[Arc<Segment>]) -> Result<Producers, EngineError> {
    let path = producers_path(folder, base);
    if let Some(producers) = Producers::read(&path).map_err(EngineError::disk("read", &path))? {
        return Ok(producers);
    }
    let mut producers = Producers::default();
    for segment in closed {
        let path = segment.name.log(folder);
        let file = segment.open_log().map_err(EngineError::disk("open", &path))?;
        let mut scan = Scan::new(&file, 0, segment.bytes);
        while let Some(header) = scan.next_header().map_err(EngineError::disk("read", &path))? {
            producers.replay(&header);
        }
    }
    Ok(producers)
}
