//! Letting go of sequenced records: what is in the tiles need not stay on the topic for ever.

use std::sync::Arc;
use std::time::Duration;

use shuniu_broker::Upstream;
use shuniu_model::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::partition::{Partition, PartitionError};
use crate::sequencer::Sequenced;
use crate::writer::chain_text;

/// How long sequenced records stay: whoever finds the tiles damaged has this long to make them anew.
const KEPT: Duration = Duration::from_hours(7 * 24);
const PAUSE: Duration = Duration::from_hours(1);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Deletes records of the log's topic that are under a checkpoint for longer than seven days. The topic's own retention
/// would count time alone, and lose entries that no sequencer has taken. Any number of replicas may run one.
pub struct Trimmer {
    partition: Partition,
    sequenced: watch::Receiver<Sequenced>,
    clock: Clock,
}

impl Trimmer {
    /// A trimmer behind the sequencer of that state.
    pub fn new(upstream: Arc<dyn Upstream>, sequenced: watch::Receiver<Sequenced>, clock: Clock) -> Self {
        Self { partition: Partition::new(upstream, ANSWER_MAX), sequenced, clock }
    }

    /// Looks every hour until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let looked = tokio::select! {
                () = cancel.cancelled() => return,
                looked = self.trim() => looked,
            };
            if let Err(error) = looked {
                let error = chain_text(&error);
                tracing::warn!(
                    error,
                    "old entries are not deleted from the audit log's topic; tried again in an hour"
                );
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Deletes what is sequenced and older; waits for the first checkpoint.
    ///
    /// # Errors
    /// When the topic does not answer; nothing is lost by that.
    pub async fn trim(&mut self) -> Result<(), PartitionError> {
        let Ok(next_offset) =
            self.sequenced.wait_for(|state| state.shown).await.map(|state| state.next_offset)
        else {
            return Ok(());
        };
        let kept_ms = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let since = self.partition.since((self.clock)().as_millis().saturating_sub(kept_ms)).await?;
        // The last sequenced record stays: a start holds the last leaf against it.
        let before = since.unwrap_or(i64::MAX).min(next_offset - 1);
        if before > self.partition.start().await? {
            self.partition.delete_before(before).await?;
        }
        Ok(())
    }
}
