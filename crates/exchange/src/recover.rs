//! After a crash: records that stand in the record store and not on the audit log get their entry.
//!
//! A publication's entry is written after the records are durable and before they are acknowledged. A hub that dies in
//! between leaves records without an entry; their producer may never come back. So a hub that starts, and one that runs
//! from time to time, compares what the log covers with what the topics held a while ago, and writes `recovered` entries
//! for the rest.
//!
//! The other way round, a partition that ends before what the log covers has lost acknowledged records, whatever its own
//! files look like. A hub that finds that does not open its doors: offsets would be given out a second time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shuniu_archive::VerifyError;
use shuniu_broker::leaders::{EARLIEST, LATEST, Leaders};
use shuniu_broker::topic::find;
use shuniu_ledger::{Draft, OffsetRange, OffsetSpan, Publication, Subjects};
use shuniu_model::{Resource, ResourceName, TopicId};
use tokio::time::Instant;

use crate::apply::chain;
use crate::covered::{Covered, gaps};
use crate::exchange::Exchange;
use crate::session::Closed;

const FETCH_BYTES_MAX: i32 = 4 << 20;
/// How long a leader may not know what its partition held when it was asked for its end.
const BEHIND_MAX: Duration = Duration::from_secs(5);
const BEHIND_RETRY: Duration = Duration::from_millis(100);

/// Where each partition ended when the hub started: what comes later is recorded as it is published.
#[derive(Debug, Clone, Default)]
pub struct Ends(HashMap<(TopicId, i32), (i64, i64)>);

/// Why the record store and the audit log could not be held against each other, or do not agree.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The log cannot be read.
    #[error("cannot read the audit log")]
    Log(#[source] Box<VerifyError>),
    /// The log covers records that an earlier run acknowledged, and the record store does not have them. The hub must
    /// not open.
    #[error(
        "{resource} partition {partition} ends at offset {end}, and the audit log has entries of records up to {last}: \
         acknowledged records are lost"
    )]
    Lost {
        /// The resource.
        resource: ResourceName,
        /// The partition.
        partition: i32,
        /// Where the partition ends; 0 where it is gone.
        end: i64,
        /// The last offset that is on the log.
        last: i64,
    },
    /// The reading of the log was stopped, with the process.
    #[error("the reading of the audit log was stopped")]
    Stopped,
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

    /// Holds what the log covers against where the partitions end. `ends` must be asked for after the log was read:
    /// another hub may publish meanwhile.
    ///
    /// # Errors
    /// [`RecoverError::Lost`] when acknowledged records are not there.
    pub fn nothing_lost(&self, covered: &Covered, ends: &Ends) -> Result<(), RecoverError> {
        for resource in self.hub().policy.snapshot().resources() {
            let Some(topic) = resource.topic_id else { continue };
            for (partition, last) in covered.last_offsets(topic) {
                let end = ends.0.get(&(topic, partition)).map_or(0, |(_, stop)| *stop);
                if last >= end {
                    return Err(RecoverError::Lost { resource: resource.name.clone(), partition, end, last });
                }
            }
        }
        Ok(())
    }

    /// Whether the log lacks entries for records before `ends`. They may be on their way, where another hub published them.
    #[must_use]
    pub fn is_uncovered(&self, covered: &Covered, ends: &Ends) -> bool {
        let gaps = |((topic, partition), (start, stop)): (&(TopicId, i32), &(i64, i64))| {
            !covered.gaps(*topic, *partition, *start, *stop).is_empty()
        };
        ends.0.iter().any(gaps)
    }

    /// Writes entries for the records before `ends` that the log does not cover; how many records they were. `covered`
    /// must have been read a while after `ends` were asked for: other hubs publish meanwhile.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub async fn recover(&self, covered: &Covered, ends: &Ends) -> Result<u64, RecoverError> {
        let mut leaders = self.leaders();
        let snapshot = self.hub().policy.snapshot();
        let mut recovered = 0;
        for resource in snapshot.resources() {
            let Some(topic) = resource.topic_id else { continue };
            for ((_, partition), (start, stop)) in ends.0.iter().filter(|((of, _), _)| *of == topic) {
                for (first, last) in covered.gaps(topic, *partition, *start, *stop) {
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
            let records = stored(leaders, resource.name.as_str(), partition, next, last).await?;
            let described = inspector
                .describe(&key, &records, next, last)
                .map_err(|error| Closed::new(format!("{} partition {partition}: {error}", resource.name)))?;
            let mut subjects = Subjects::new(key.year());
            for (offset, mac) in &described.subjects {
                subjects.push(partition, *offset, *mac);
            }
            // What is not there any more was compacted away: a batch stands behind it, or the leader ends behind it.
            let to = described.covered_to.unwrap_or(last).min(last);
            let compacted = gaps(runs(&described.offsets), next, to.saturating_add(1))
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

/// The batches from `next` on. None of them only where that says that nothing stands up to `last` any more: the leader
/// knows the partition further than that. A leader that has just become one does not yet, and is asked again.
async fn stored(
    leaders: &mut Leaders,
    topic: &str,
    partition: i32,
    next: i64,
    last: i64,
) -> Result<Bytes, Closed> {
    let asked = Instant::now();
    loop {
        let found = leaders.fetch(topic, partition, next, FETCH_BYTES_MAX).await;
        let found = found.map_err(|error| failed(&error))?;
        if !found.records.is_empty() || (found.log_start <= next && found.high_watermark > last) {
            return Ok(found.records);
        }
        if asked.elapsed() >= BEHIND_MAX {
            return Err(Closed::new(format!(
                "the leader of {topic} partition {partition} gives no records from offset {next} on, and knows the \
                 partition from {} to {} only: whether there are records up to offset {last} is looked at again later",
                found.log_start, found.high_watermark
            )));
        }
        tokio::time::sleep(BEHIND_RETRY).await;
    }
}

fn failed(error: &dyn std::error::Error) -> Closed {
    Closed::new(chain(error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_can_be() {
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
    }
}
