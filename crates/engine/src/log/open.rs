//! Opening a partition: what a crash left is put in order here, the same way as after a clean stop.
//!
//! What a crash leaves, and nothing else, is put in order silently:
//!
//! - An unfinished write at the end of the active segment, beyond the mark, with nothing whole behind it. Its producer was
//!   told nothing. It is cut.
//! - Files that were being made (`.new`) or were being replaced by compaction. They are removed.
//!
//! Everything else is damage ([`Damage`]), and the engine does not open: a batch that cannot be read in a closed segment,
//! before the mark, or with whole batches behind it; an end before the mark; segments that do not follow each other.
//! Whether a bad place beyond the mark with whole batches behind it was ever acknowledged cannot be told after a power
//! failure (see [`super::behind`]); an acknowledged record is not given up on a guess, so a person decides.
//!
//! Nothing is changed before everything was looked at, but for an index that is made anew.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::{Writer, create_log, producers_path};
use super::behind::Behind;
use super::compact::Upkeep;
use super::index::Tally;
use super::mark::{Extent, Mark};
use super::partition::{Identity, LogContext, Partition, SettingsCell, View};
use super::producers::Producers;
use super::segment::{Scan, Segment, SegmentName};
use crate::EngineError;
use crate::epochs::Epochs;
use crate::error::{Damage, Finding};
use crate::folder::sync_folder;
use crate::header::Header;

/// Whether a partition has a log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Its topic is stored, so it has.
    Stored,
    /// It is being made: an empty folder becomes an empty log.
    Made,
}

/// Whose log is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) index: i32,
    pub(crate) folder: &'a Path,
}

/// A log without damage, before a torn tail is cut.
pub(crate) struct Sound {
    pub(super) closed: Vec<Arc<Segment>>,
    /// `None` in an empty folder.
    pub(super) active: Option<Active>,
    /// What compaction has replaced, and files that were being made.
    stale: Vec<Stale>,
}

/// The segment that is appended to.
pub(crate) struct Active {
    pub(super) name: SegmentName,
    pub(super) tally: Tally,
    file: File,
    /// The file's length: over the tally's where an unfinished write ends it.
    until: u64,
    producers: Producers,
    first_append_ms: Option<i64>,
}

impl Sound {
    /// How far the log goes; an empty folder's is to begin.
    pub(crate) fn extent(&self) -> Extent {
        let Some(active) = &self.active else { return Extent { start: 0, end: 0 } };
        let start = self.closed.first().map_or(active.name.base, |segment| segment.name.base);
        Extent { start, end: active.tally.end }
    }

    /// The segment that is appended to; `None` in an empty folder.
    pub(crate) fn last_segment(&self) -> Option<SegmentName> {
        self.active.as_ref().map(|active| active.name)
    }

    /// Cuts an unfinished write at the end.
    pub(crate) fn settle(&self, folder: &Path) -> Result<(), EngineError> {
        self.active.as_ref().map_or(Ok(()), |active| active.settle(folder))
    }
}

enum Stale {
    Segment(SegmentName),
    File(PathBuf),
}

impl Partition {
    /// Opens the log in this folder, which is there.
    pub(crate) fn open(
        topic: Arc<str>,
        (index, epochs): (i32, Epochs),
        folder: &Path,
        context: Arc<LogContext>,
        settings: Arc<SettingsCell>,
        kept: Kept,
    ) -> Result<Arc<Self>, EngineError> {
        let sound = Place { topic: &topic, index, folder }.examine(kept)?;
        for stale in &sound.stale {
            match stale {
                Stale::Segment(name) => name.remove(folder),
                Stale::File(path) => fs::remove_file(path).map_err(EngineError::disk("remove", path))?,
            }
        }
        let extent = sound.extent();
        let active = match sound.active {
            Some(active) => active,
            None => Active::create(folder)?,
        };
        active.settle(folder)?;
        let Active { name, tally, file, producers, first_append_ms, .. } = active;
        // Everything up to here is synced now. A start that is older than the mark's is one whose segments a crash kept
        // from being dropped.
        let mark = Mark::create(extent, folder);
        let mark = mark.map_err(EngineError::disk("write a mark in", folder))?;
        sync_folder(folder).map_err(EngineError::disk("sync", folder))?;
        let file = Arc::new(file);
        let writer = Writer {
            name,
            file: Arc::clone(&file),
            bytes: tally.bytes,
            next_offset: tally.end,
            producers,
            broken: None,
        };
        let view = View {
            closed: sound.closed,
            active_name: name,
            active: tally,
            active_file: file,
            first_append_ms,
        };
        let identity = Identity { topic, index, epochs, folder: folder.to_owned(), context, settings };
        let upkeep = Upkeep::load(folder).map_err(EngineError::disk("read", folder))?;
        Ok(Self::new(identity, writer, upkeep, mark, view))
    }
}

impl Place<'_> {
    /// Looks at the whole log: at every batch of the active segment, at the index of every closed one.
    pub(crate) fn examine(&self, kept: Kept) -> Result<Sound, EngineError> {
        let mark = Extent::read(self.folder).map_err(EngineError::disk("read the mark of", self.folder))?;
        let (mut names, mut stale) = self.segment_names()?;
        let Some(active) = names.pop() else {
            if kept == Kept::Made && mark.is_none_or(|mark| mark.end == 0) {
                return Ok(Sound { closed: Vec::new(), active: None, stale });
            }
            let extent = mark.unwrap_or(Extent { start: 0, end: 0 });
            return Err(self.damaged(self.folder.to_owned(), 0, Finding::Missing, extent.start, extent.end));
        };
        let closed = self.closed_segments(&names, active, &mut stale)?;
        let base = closed.first().map_or(active.base, |segment| segment.name.base);
        if let Some(mark) = mark.filter(|mark| mark.start < base) {
            let path = self.folder.to_owned();
            return Err(self.damaged(path, 0, Finding::Missing, mark.start, base));
        }
        let active = self.active_segment(active, &closed, mark)?;
        Ok(Sound { closed, active: Some(active), stale })
    }

    /// The segments of the folder in order, one generation of each; and what was left half-made or is replaced.
    fn segment_names(&self) -> Result<(Vec<SegmentName>, Vec<Stale>), EngineError> {
        let folder = self.folder;
        let (mut names, mut stale) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(EngineError::disk("list", folder))? {
            let entry = entry.map_err(EngineError::disk("list", folder))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".new") {
                stale.push(Stale::File(entry.path()));
            } else if let Some(name) = SegmentName::of_log(name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut kept: Vec<SegmentName> = Vec::with_capacity(names.len());
        for name in names {
            if let Some(last) = kept.last_mut().filter(|last| last.base == name.base) {
                stale.push(Stale::Segment(*last));
                *last = name;
            } else {
                kept.push(name);
            }
        }
        Ok((kept, stale))
    }

    /// The closed segments, each of which ends where the next begins.
    fn closed_segments(
        &self,
        names: &[SegmentName],
        active: SegmentName,
        stale: &mut Vec<Stale>,
    ) -> Result<Vec<Arc<Segment>>, EngineError> {
        let mut closed: Vec<Arc<Segment>> = Vec::with_capacity(names.len());
        let nexts = names.iter().skip(1).chain([&active]);
        // Whether the last segment's own index said where it ends.
        let mut told = true;
        for (name, next) in names.iter().zip(nexts) {
            if let Some(last) = closed.last() {
                if told && name.base < last.end && next.base <= last.end {
                    // Compaction merged it into the one before, and the crash came before it was removed.
                    stale.push(Stale::Segment(*name));
                    continue;
                }
                self.follows(last, name.base)?;
            }
            let path = name.index(self.folder);
            let loaded = Segment::load(*name, self.folder).map_err(EngineError::disk("read", &path))?;
            told = loaded.is_some();
            let segment = match loaded {
                Some(segment) => segment,
                None => self.index_anew(*name, next.base)?,
            };
            closed.push(Arc::new(segment));
        }
        if let Some(last) = closed.last() {
            self.follows(last, active.base)?;
        }
        Ok(closed)
    }

    fn follows(&self, segment: &Segment, base: i64) -> Result<(), EngineError> {
        let finding = match segment.end.cmp(&base) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => Finding::Missing,
            std::cmp::Ordering::Greater => Finding::Overlap,
        };
        let path = segment.name.log(self.folder);
        let (first, end) = (segment.end.min(base), segment.end.max(base));
        Err(self.damaged(path, segment.bytes, finding, first, end))
    }

    /// Makes a closed segment's index from its log, which must be whole: it was durable when the segment was closed.
    fn index_anew(&self, name: SegmentName, next_base: i64) -> Result<Segment, EngineError> {
        let path = name.log(self.folder);
        tracing::warn!(path = %path.display(), "a segment has no good index; it is made anew");
        let file = File::open(&path).map_err(EngineError::disk("open", &path))?;
        let (mut tally, until) = scan(&file, name, &path, &mut |_| {})?;
        if tally.bytes < until {
            return Err(self.damaged(path, tally.bytes, Finding::Broken, tally.end, next_base));
        }
        if name.generation > 0 {
            // Compaction may have removed what stood before the next segment.
            tally.end = tally.end.max(next_base);
        }
        Segment::close(name, self.folder, &tally).map_err(EngineError::disk("index", &path))
    }

    /// Reads the active segment, and tells an unfinished write at its end from damage.
    fn active_segment(
        &self,
        name: SegmentName,
        closed: &[Arc<Segment>],
        mark: Option<Extent>,
    ) -> Result<Active, EngineError> {
        let path = name.log(self.folder);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(EngineError::disk("open", &path))?;
        let mut producers = producers_at(self.folder, name.base, closed)?;
        let mut first_append_ms = None;
        let (tally, until) = scan(&file, name, &path, &mut |header| {
            first_append_ms.get_or_insert(header.max_timestamp);
            producers.replay(header);
        })?;
        let acknowledged_end = mark.map_or(0, |mark| mark.end);
        let behind = Behind {
            file: &file,
            from: tally.bytes,
            until,
            next_offset: tally.end,
            offset_max: name.base.saturating_add(i64::from(u32::MAX)),
        };
        let behind = behind.end().map_err(EngineError::disk("read", &path))?;
        let finding = match behind {
            _ if acknowledged_end > tally.end && tally.bytes < until => Some(Finding::Broken),
            _ if acknowledged_end > tally.end => Some(Finding::Short),
            Some(_) => Some(Finding::Doubtful),
            None => None,
        };
        if let Some(finding) = finding {
            let end = behind.unwrap_or(0).max(acknowledged_end);
            return Err(self.damaged(path, tally.bytes, finding, tally.end, end));
        }
        Ok(Active { name, tally, file, until, producers, first_append_ms })
    }

    fn damaged(&self, path: PathBuf, position: u64, finding: Finding, first: i64, end: i64) -> EngineError {
        let (topic, last) = (self.topic.to_owned(), end.saturating_sub(1).max(first));
        let partition = self.index;
        EngineError::Damaged(Box::new(Damage { topic, partition, path, position, finding, first, last }))
    }
}

impl Active {
    fn create(folder: &Path) -> Result<Self, EngineError> {
        let name = SegmentName { base: 0, generation: 0 };
        let file = create_log(name, folder).map_err(EngineError::disk("make a log in", folder))?;
        let (tally, producers) = (Tally::new(0), Producers::default());
        Ok(Self { name, tally, file, until: 0, producers, first_append_ms: None })
    }

    /// Cuts a torn tail, and makes durable what a killed process left in the page cache: readers will see it from here
    /// on.
    fn settle(&self, folder: &Path) -> Result<(), EngineError> {
        let path = self.name.log(folder);
        if self.tally.bytes < self.until {
            tracing::warn!(path = %path.display(), kept = self.tally.bytes, cut = self.until - self.tally.bytes,
                "the log ends in an unfinished batch that was never acknowledged; it is cut");
            self.file.set_len(self.tally.bytes).map_err(EngineError::disk("cut", &path))?;
        }
        self.file.sync_all().map_err(EngineError::disk("sync", &path))
    }
}

/// Counts a log file's good batches up to the first bad one; also says how long the file is.
pub(super) fn scan(
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
