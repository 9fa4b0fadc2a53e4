//! After a crash: records that stand in the record store and not on the audit log get their entry.
//!
//! A publication's entry is written after the records are durable and before they are acknowledged. A hub that dies in
//! between leaves records without an entry; their producer may never come back. So a hub that starts compares what the
//! log covers with what the topics hold up to that moment, and writes `recovered` entries for the rest.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use shuniu_archive::{LogReader, VerifyError};
use shuniu_broker::leaders::{EARLIEST, LATEST, Leaders};
use shuniu_broker::topic::find;
use shuniu_ledger::{Action, BootId, Draft, OffsetRange, OffsetSpan, Publication, Subjects};
use shuniu_model::{Resource, TopicId};

use crate::apply::chain;
use crate::exchange::Exchange;
use crate::session::Closed;

const FETCH_BYTES_MAX: i32 = 4 << 20;

/// Where each partition ended when the hub started: what comes later is recorded as it is published.
#[derive(Debug, Clone, Default)]
pub struct Ends(HashMap<(TopicId, i32), (i64, i64)>);

/// Why records without an entry could not be looked for. The hub serves all the same; the next start looks again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The log cannot be read.
    #[error("cannot read the audit log")]
    Log(#[source] Box<VerifyError>),
    /// The log covers records that an earlier run acknowledged, and the record store does not have them.
    #[error(
        "{resource} partition {partition} ends at offset {end}, and the audit log has entries of records up to {last}: \
         acknowledged records are lost; stop the hub and bring the records back before anything more is published"
    )]
    Lost {
        /// The resource.
        resource: shuniu_model::ResourceName,
        /// The partition.
        partition: i32,
        /// Where the partition ended when the hub started.
        end: i64,
        /// The last offset that is on the log.
        last: i64,
    },
    /// The records cannot be read, or the entries not be written.
    #[error("{0}")]
    Closed(#[from] Closed),
}

impl Exchange {
    /// Where every partition of the directory's topics ends now. To be asked before the doors open.
    ///
    /// # Errors
    /// When the record store gives no answer.
    pub async fn ends(&self) -> Result<Ends, Closed> {
        let connection = self.connect_any().await?;
        let mut leaders = self.leaders();
        let mut ends = HashMap::new();
        let snapshot = self.hub().policy.snapshot();
        for resource in snapshot.resources() {
            let Some(topic) = resource.topic_id else { continue };
            let name = resource.name.as_str();
            let found = find(connection.as_ref(), name).await.map_err(|error| failed(&error))?;
            // The directory may name more partitions than the topic has, or the topic may be gone. If there were
            // records, the log knows.
            let partitions = found.map_or(0, |found| found.partitions.min(resource.partitions));
            for partition in 0..i32::try_from(partitions).unwrap_or(0) {
                let start =
                    leaders.offset(name, partition, EARLIEST).await.map_err(|error| failed(&error))?;
                let stop = leaders.offset(name, partition, LATEST).await.map_err(|error| failed(&error))?;
                ends.insert((topic, partition), (start, stop));
            }
        }
        Ok(Ends(ends))
    }

    /// Writes entries for the records before `ends` that the log does not cover; how many records they were. `log` must
    /// reach to the hub's own start; entries of `boot`, this run, are of records that came later.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn recover(&self, log: LogReader, ends: &Ends, boot: BootId) -> Result<u64, RecoverError> {
        let (covered, ended) = tokio::task::spawn_blocking(move || covered(&log, boot))
            .await
            .map_err(|error| Closed::new(format!("the reading of the log stopped: {error}")))?
            .map_err(|error| RecoverError::Log(Box::new(error)))?;
        let mut leaders = self.leaders();
        let snapshot = self.hub().policy.snapshot();
        let mut recovered = 0;
        for resource in snapshot.resources() {
            let Some(topic) = resource.topic_id else { continue };
            for ((_, partition), (start, stop)) in ends.0.iter().filter(|((of, _), _)| *of == topic) {
                if let Some(last) = ended.get(&(topic, *partition)).filter(|last| *last >= stop) {
                    let (resource, partition) = (resource.name.clone(), *partition);
                    return Err(RecoverError::Lost { resource, partition, end: *stop, last: *last });
                }
                let known = covered.get(&(topic, *partition)).map(Vec::as_slice).unwrap_or_default();
                for (first, last) in gaps(known, *start, *stop) {
                    recovered +=
                        self.recover_gap(&mut leaders, resource, topic, *partition, first, last).await?;
                }
            }
        }
        Ok(recovered)
    }

    async fn recover_gap(
        &self,
        leaders: &mut Leaders,
        resource: &Arc<Resource>,
        topic: TopicId,
        partition: i32,
        first: i64,
        last: i64,
    ) -> Result<u64, Closed> {
        let hub = self.hub();
        let inspector = hub.plans.inspector(resource).map_err(|error| Closed::new(error.to_string()))?;
        let key = hub.subject_key().map_err(|error| Closed::new(error.to_string()))?;
        let mut next = first;
        let mut recovered = 0;
        while next <= last {
            let records = leaders
                .fetch(resource.name.as_str(), partition, next, FETCH_BYTES_MAX)
                .await
                .map_err(|error| failed(&error))?;
            let described = inspector
                .describe(&key, &records, next, last)
                .map_err(|error| Closed::new(format!("{} partition {partition}: {error}", resource.name)))?;
            let mut subjects = Subjects::new(key.year());
            for (offset, mac) in &described.subjects {
                subjects.push(partition, *offset, *mac);
            }
            // What is not there any more was compacted away.
            let to = described.covered_to.unwrap_or(last).min(last);
            let compacted = gaps(&runs(&described.offsets), next, to.saturating_add(1))
                .into_iter()
                .map(|(first, last)| OffsetSpan { partition, first, last })
                .collect();
            let publication = Publication {
                resource: resource.name.clone(),
                topic,
                schemas: described.schemas,
                ranges: OffsetRange::of(partition, described.offsets.iter().copied()),
                subjects,
                bytes: u64::try_from(records.len()).unwrap_or(u64::MAX),
                sha256: Sha256::digest(&records).into(),
            };
            recovered += u64::try_from(described.offsets.len()).unwrap_or(0);
            let draft = Draft::recovered(publication, compacted);
            hub.audit.append(draft).await.map_err(|error| Closed::new(error.to_string()))?;
            next = to.saturating_add(1);
        }
        Ok(recovered)
    }
}

fn failed(error: &dyn std::error::Error) -> Closed {
    Closed::new(chain(error))
}

type Covered = HashMap<(TopicId, i32), Vec<(i64, i64)>>;
/// The last offset of each partition that an earlier run put on the log.
type Ended = HashMap<(TopicId, i32), i64>;

/// What the log covers of each partition, in no order.
fn covered(log: &LogReader, boot: BootId) -> Result<(Covered, Ended), VerifyError> {
    let mut covered = Covered::new();
    let mut ended = Ended::new();
    for found in log.entries(0) {
        let entry = found?.entry;
        let earlier = entry.id.boot != boot;
        let draft = entry.draft;
        let Some(topic) = draft.topic else { continue };
        if !matches!(draft.action, Action::Published | Action::Recovered) {
            continue;
        }
        for range in &draft.ranges {
            if earlier {
                let last = ended.entry((TopicId(topic), range.partition())).or_insert(range.last());
                *last = (*last).max(range.last());
            }
            let partition = covered.entry((TopicId(topic), range.partition())).or_default();
            let dense =
                u64::try_from(range.last() - range.first()).is_ok_and(|span| span + 1 == range.records());
            if dense {
                partition.push((range.first(), range.last()));
            } else {
                partition.extend(range.offsets().map(|offset| (offset, offset)));
            }
        }
        for span in &draft.compacted {
            covered.entry((TopicId(topic), span.partition)).or_default().push((span.first, span.last));
        }
    }
    for runs in covered.values_mut() {
        runs.sort_unstable();
    }
    Ok((covered, ended))
}

/// The offsets as runs.
fn runs(offsets: &[i64]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*offset) => *last = *offset,
            _ => runs.push((*offset, *offset)),
        }
    }
    runs
}

/// What sorted runs leave open of `start..stop`, as runs with inclusive ends.
fn gaps(runs: &[(i64, i64)], start: i64, stop: i64) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    let mut next = start;
    for (first, last) in runs {
        if *first > next && next < stop {
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
        assert_eq!(gaps(&[], 3, 6), [(3, 5)]);
        assert_eq!(gaps(&[(0, 9)], 3, 6), []);
        assert_eq!(gaps(&[(0, 1), (1, 3), (6, 7), (12, 20)], 0, 10), [(4, 5), (8, 9)]);
        assert_eq!(gaps(&[(5, 6)], 0, 0), []);
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
    }
}
