//! What the audit log says of the records of each partition, kept between starts so that a start reads only the log's
//! newest entries.
//!
//! It is a function of the log's first entries and nothing else. The file that keeps it is believed if it is whole and
//! the last entry that it counts stands in the log; without it the log is read from the start, with the same result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shuniu_archive::{LogReader, VerifyError};
use shuniu_ledger::{Action, Draft};
use shuniu_model::TopicId;

/// Of each partition, the offsets that entries about published and recovered records cover.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// How many of the log's entries are counted.
    entries: u64,
    /// SHA-256 of the last of them, in hex; empty for none.
    last_leaf: String,
    partitions: BTreeMap<(TopicId, i32), Partition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Partition {
    /// By their first offsets, with their last; they neither overlap nor touch.
    runs: BTreeMap<i64, i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    entries: u64,
    last_leaf: String,
    partitions: Vec<PartitionText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionText {
    topic: [u8; 16],
    partition: i32,
    runs: Vec<(i64, i64)>,
}

const FORMAT: u32 = 1;

impl Covered {
    /// From its file, if that goes with the log; else of no entry yet. Blocking.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(path: &Path, log: &LogReader) -> Result<Self, VerifyError> {
        let kept = match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(_) => None,
        };
        if let Some(kept) = kept
            && kept.goes_with(log)?
        {
            return Ok(kept);
        }
        tracing::warn!(path = %path.display(),
            "what is kept about the audit log does not go with it; the log is read from its start");
        Ok(Self::default())
    }

    fn goes_with(&self, log: &LogReader) -> Result<bool, VerifyError> {
        if self.entries == 0 || self.entries > log.checkpoint().size {
            return Ok(self.entries == 0);
        }
        let last = log.entries(self.entries - 1).next().transpose()?;
        Ok(last.is_some_and(|found| digest(&found.leaf) == self.last_leaf))
    }

    /// Counts the entries that the log has beyond those counted. Blocking.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn advance(&mut self, log: &LogReader) -> Result<(), VerifyError> {
        for found in log.entries(self.entries) {
            let found = found?;
            self.count(&found.entry.draft);
            self.entries = found.index + 1;
            self.last_leaf = digest(&found.leaf);
        }
        Ok(())
    }

    /// Keeps it for the next start. Blocking.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut staged = path.as_os_str().to_owned();
        staged.push(".new");
        let staged = PathBuf::from(staged);
        // Not synced: a file that a power failure leaves torn does not hold its checksum, and is made again.
        fs::write(&staged, self.to_text())?;
        fs::rename(&staged, path)
    }

    /// The runs of offsets of a partition that no entry covers, between these two.
    pub(crate) fn gaps(&self, topic: TopicId, partition: i32, start: i64, stop: i64) -> Vec<(i64, i64)> {
        let runs = self.partitions.get(&(topic, partition)).map(|partition| &partition.runs);
        gaps(runs.into_iter().flatten().map(|(first, last)| (*first, *last)), start, stop)
    }

    /// The partitions of a topic, with the last offset of each that is on the log.
    pub(crate) fn last_offsets(&self, topic: TopicId) -> impl Iterator<Item = (i32, i64)> {
        let of_topic = self.partitions.range((topic, i32::MIN)..=(topic, i32::MAX));
        of_topic.filter_map(|((_, partition), known)| Some((*partition, *known.runs.last_key_value()?.1)))
    }

    fn count(&mut self, draft: &Draft) {
        let Some(topic) = draft.topic.map(TopicId) else { return };
        if !matches!(draft.action, Action::Published | Action::Recovered) {
            return;
        }
        for range in &draft.ranges {
            let partition = self.partitions.entry((topic, range.partition())).or_default();
            let dense =
                u64::try_from(range.last() - range.first()).is_ok_and(|span| span + 1 == range.records());
            if dense {
                partition.add(range.first(), range.last());
            } else {
                range.offsets().for_each(|offset| partition.add(offset, offset));
            }
        }
        for span in &draft.compacted {
            let partition = self.partitions.entry((topic, span.partition)).or_default();
            partition.add(span.first, span.last);
        }
    }

    fn to_text(&self) -> String {
        let text = Text {
            format: FORMAT,
            entries: self.entries,
            last_leaf: self.last_leaf.clone(),
            partitions: self.partitions.iter().map(|(of, partition)| partition.to_text(*of)).collect(),
        };
        // Numbers, strings and lists always serialise.
        let body = serde_json::to_string(&text).unwrap_or_default();
        format!("{}\n{body}\n", digest(body.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (sum, body) = text.trim_end().split_once('\n')?;
        let text: Text = serde_json::from_str(body).ok().filter(|_| digest(body.as_bytes()) == sum)?;
        if text.format != FORMAT {
            return None;
        }
        let partitions = text.partitions.into_iter().map(|partition| {
            let PartitionText { topic, partition, runs } = partition;
            ((TopicId(topic), partition), Partition { runs: runs.into_iter().collect() })
        });
        let partitions = partitions.collect();
        Some(Self { entries: text.entries, last_leaf: text.last_leaf, partitions })
    }
}

impl Partition {
    fn add(&mut self, mut first: i64, mut last: i64) {
        if let Some((before, end)) = self.runs.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            (first, last) = (*before, last.max(*end));
        }
        while let Some((next, end)) =
            self.runs.range(first..).next().filter(|(next, _)| **next <= last.saturating_add(1))
        {
            let (next, end) = (*next, *end);
            last = last.max(end);
            self.runs.remove(&next);
        }
        self.runs.insert(first, last);
    }

    fn to_text(&self, (topic, partition): (TopicId, i32)) -> PartitionText {
        let runs = self.runs.iter().map(|(first, last)| (*first, *last)).collect();
        PartitionText { topic: topic.0, partition, runs }
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What sorted runs leave open of `start..stop`, as runs with inclusive ends.
pub(crate) fn gaps(runs: impl IntoIterator<Item = (i64, i64)>, start: i64, stop: i64) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    let mut next = start;
    for (first, last) in runs {
        if first > next && next < stop {
            gaps.push((next, (first - 1).min(stop - 1)));
        }
        next = next.max(last.saturating_add(1));
    }
    if next < stop {
        gaps.push((next, stop - 1));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_run_covers() {
        assert_eq!(gaps([], 3, 6), [(3, 5)]);
        assert_eq!(gaps([(0, 9)], 3, 6), []);
        assert_eq!(gaps([(0, 1), (1, 3), (6, 7), (12, 20)], 0, 10), [(4, 5), (8, 9)]);
        assert_eq!(gaps([(5, 6)], 0, 0), []);
    }

    #[test]
    fn runs_in_any_order_are_kept_as_few_as_there_can_be() {
        let mut partition = Partition::default();
        for (first, last) in [(5, 6), (0, 1), (9, 9), (2, 2), (4, 4), (1, 3), (8, 8), (20, 30), (22, 23)] {
            partition.add(first, last);
        }
        assert_eq!(partition.runs.into_iter().collect::<Vec<_>>(), [(0, 6), (8, 9), (20, 30)]);
    }

    #[test]
    fn what_is_kept_is_read_back_whole_or_not_at_all() {
        let mut covered = Covered { entries: 7, last_leaf: digest(b"leaf"), ..Covered::default() };
        let partition = covered.partitions.entry((TopicId([7; 16]), 2)).or_default();
        partition.add(3, 9);
        partition.add(12, 12);
        let text = covered.to_text();
        assert_eq!(Covered::parse(&text), Some(covered));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(String::from_utf8(bytes).is_ok_and(|text| Covered::parse(&text).is_none()), "byte {at}");
        }
    }
}
