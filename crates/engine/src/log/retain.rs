//! What is due on a partition with time: closing an old active segment, dropping old segments, compaction.

use std::io;
use std::sync::Arc;

use super::index::NO_TIMESTAMP;
use super::partition::{Partition, View, hold};
use super::segment::Segment;
use crate::settings::Settings;

impl Partition {
    /// When something is due next, in milliseconds; at once if it is not after `now_ms`. `None`: nothing, until a segment
    /// begins or is closed.
    pub(crate) fn due_ms(&self, now_ms: i64) -> Option<i64> {
        let settings = self.settings.now();
        let compaction = hold(&self.upkeep).due_ms(self, &settings, now_ms);
        self.seen(|view| {
            let close = close_at(view, &settings);
            let drop = if settings.delete { drop_at(view, &settings, now_ms) } else { None };
            [close, drop, compaction].into_iter().flatten().min()
        })
    }

    /// Does what is due. Blocking.
    pub(crate) fn maintain(&self, now_ms: i64) -> io::Result<()> {
        let settings = self.settings.now();
        let mut upkeep = hold(&self.upkeep);
        if self.seen(|view| close_at(view, &settings)).is_some_and(|at| at <= now_ms) {
            let mut writer = hold(&self.writer);
            // Looked at again: the writer may have closed it while we waited.
            if self.seen(|view| close_at(view, &settings)).is_some_and(|at| at <= now_ms) {
                writer.close_segment(self)?;
            }
        }
        if settings.delete {
            self.drop_old(&settings, now_ms)?;
        }
        while upkeep.due_ms(self, &settings, now_ms).is_some_and(|at| at <= now_ms) {
            upkeep.compact(self, &settings, now_ms)?;
        }
        Ok(())
    }

    /// Drops the closed segments that end before an offset; the first offset that is left. Blocking.
    pub(crate) fn delete_before(&self, offset: i64) -> io::Result<i64> {
        let _upkeep = hold(&self.upkeep);
        self.drop_first("its records are deleted", |view| {
            view.closed.iter().take_while(|segment| segment.end <= offset).count()
        })?;
        Ok(self.seen(|view| view.log_start()))
    }

    fn drop_old(&self, settings: &Settings, now_ms: i64) -> io::Result<()> {
        self.drop_first("it is past its retention", |view| droppable(view, settings, now_ms))
    }

    /// Only who holds `upkeep` takes segments out of the view: the maintenance, and a deletion.
    fn drop_first(&self, why: &str, count: impl FnOnce(&View) -> usize) -> io::Result<()> {
        let (count, start) = self.seen(|view| {
            let count = count(view);
            (count, view.closed.get(count).map_or(view.active.base, |segment| segment.name.base))
        });
        if count == 0 {
            return Ok(());
        }
        // The new start first, and for good: a log that begins later than noted has lost a segment.
        hold(&self.mark).move_start(start)?;
        let dropped: Vec<Arc<Segment>> = self.show(|view| view.closed.drain(..count).collect());
        // The oldest first: after a crash in between, what is left is without a gap.
        for segment in dropped {
            tracing::info!(topic = %self.topic, partition = self.index, base = segment.name.base,
                end = segment.end, "a segment is dropped: {why}");
            segment.name.remove(&self.folder);
        }
        Ok(())
    }
}

/// When the active segment is closed for its age. `None` while it is empty.
fn close_at(view: &View, settings: &Settings) -> Option<i64> {
    let first = view.first_append_ms?;
    let mut age = settings.segment_ms;
    if settings.compact {
        age = age.min(settings.compaction_lag_max_ms);
    }
    let by_age = first.saturating_add(age);
    // Once everything in it is past its time, it is closed so that it can be dropped.
    let by_retention = settings.retention_ms.filter(|_| settings.delete && view.active.max_timestamp >= 0);
    let by_retention = by_retention.map(|ms| view.active.max_timestamp.saturating_add(ms));
    Some(by_retention.map_or(by_age, |at| at.min(by_age)))
}

/// When the oldest closed segment is past its time or size.
fn drop_at(view: &View, settings: &Settings, now_ms: i64) -> Option<i64> {
    if droppable(view, settings, now_ms) > 0 {
        return Some(now_ms);
    }
    let oldest = view.closed.first().filter(|segment| segment.max_timestamp != NO_TIMESTAMP)?;
    settings.retention_ms.map(|ms| oldest.max_timestamp.saturating_add(ms))
}

/// How many of the oldest segments may go.
fn droppable(view: &View, settings: &Settings, now_ms: i64) -> usize {
    let is_old = |segment: &Segment| {
        settings.retention_ms.is_some_and(|ms| {
            segment.max_timestamp != NO_TIMESTAMP && segment.max_timestamp.saturating_add(ms) <= now_ms
        })
    };
    let mut bytes = view.closed_bytes().saturating_add(view.active.bytes);
    let mut count = 0;
    for segment in &view.closed {
        let is_too_much =
            settings.retention_bytes.is_some_and(|max| bytes.saturating_sub(segment.bytes) >= max);
        if !is_old(segment) && !is_too_much {
            break;
        }
        bytes = bytes.saturating_sub(segment.bytes);
        count += 1;
    }
    count
}
