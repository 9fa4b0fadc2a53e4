//! Appending entries: [`AuditLog`], shared by everything in the hub that has to record.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shuniu_broker::Upstream;
use shuniu_ledger::{BootId, Draft, EntryId, Suite};
use shuniu_model::Clock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::meter;
use crate::partition::PartitionError;
use crate::refusals::{self, Lost, Noted};
use crate::writer::{self, Job};

/// Callers that may wait for their entries at once; more wait to be let in.
const WAITING_MAX: usize = 4_096;
/// Refusals that may wait to be counted; more are counted as one.
const REFUSALS_WAITING_MAX: usize = 4_096;

/// How the log is written.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// This run of the process: 16 random bytes, never used again.
    pub boot: BootId,
    /// The log's suite: its hash links each entry to the boot's previous one.
    pub suite: Suite,
    /// How long a caller waits for an entry to be durable.
    pub append_max: Duration,
    /// Equal refusals within this time are one counted entry.
    pub refusals_merged: Duration,
    /// The local file that takes refusals while the log is down.
    pub spool: PathBuf,
    /// How large it may become.
    pub spool_bytes_max: u64,
    /// Replicas of the topic, when it is made.
    pub replication: u16,
}

/// What an appended draft became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's id; of several parts the first one's.
    pub id: EntryId,
    /// How many entries it became.
    pub entries: u64,
    /// Where it stands in the topic; `None` when a retry found it there already.
    pub offset: Option<i64>,
}

/// What becomes of entries that the writer has taken.
pub(crate) type Fate = oneshot::Receiver<Result<Vec<Receipt>, AuditUnavailable>>;

/// The log cannot be written now: what was to be recorded must not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written: {reason}")]
pub struct AuditUnavailable {
    /// Why, for the hub's own log.
    pub reason: String,
}

/// Why the log could not be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum AuditStart {
    /// Its topic cannot be made or written.
    #[error("cannot open the audit log's topic")]
    Topic(#[from] PartitionError),
    /// The spool cannot be read.
    #[error("cannot open the spool of refusals `{path}`")]
    Spool {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The audit log, open for writing. Cloned freely; all clones write one boot's chain.
///
/// Durability contract: when `append` returns a receipt, the entry is on the topic with all replicas' acknowledgement,
/// once. When it fails, the entry may still come to stand there later: an entry says that a thing was about to be done,
/// and whoever fails to record does not do it.
#[derive(Clone)]
pub struct AuditLog {
    jobs: mpsc::Sender<Job>,
    refusals: mpsc::Sender<Noted>,
    lost: Arc<Lost>,
    /// Why the log is down; `None` while it works.
    down: watch::Receiver<Option<String>>,
    append_max: Duration,
}

impl AuditLog {
    /// Opens the log: makes its topic if it is missing, and spawns its writer on `tracker`. The writer ends when
    /// `cancel` fires, after what waits is written or has failed.
    ///
    /// # Errors
    /// When the topic cannot be reached or made. A hub that cannot record does not start.
    pub async fn start(
        upstream: Arc<dyn Upstream>,
        options: AuditOptions,
        clock: Clock,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Result<Self, AuditStart> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let (refusals, noted) = mpsc::channel(REFUSALS_WAITING_MAX);
        let (down_sender, down) = watch::channel(None);
        let append_max = options.append_max;
        let lost = Arc::<Lost>::default();
        let log = Self { jobs, refusals, lost: Arc::clone(&lost), down, append_max };
        let counting =
            refusals::Counting::open(&options, log.clone(), noted, lost, Arc::clone(&clock)).await?;
        let writer = writer::Writer::open(upstream, &options, clock, waiting, down_sender).await?;
        // Two tokens: what the counting still has to write on shutdown needs the writer.
        let writing = CancellationToken::new();
        let counted = writing.clone();
        tracker.spawn(counting.run(cancel, counted));
        tracker.spawn(writer.run(writing));
        Ok(log)
    }

    /// Appends an entry and returns when it is durable. All callers of the moment share one write; entries stand in
    /// the order of the calls.
    ///
    /// # Errors
    /// [`AuditUnavailable`] at once while the log is known to be down, else after at most the time that callers wait.
    pub async fn append(&self, draft: Draft) -> Result<Receipt, AuditUnavailable> {
        let receipts = self.append_all(vec![draft]).await?;
        receipts.into_iter().next().ok_or_else(|| unavailable("the writer gave no receipt"))
    }

    /// Appends entries that stand together, in their order.
    ///
    /// # Errors
    /// As [`AuditLog::append`]; then none of what they record may be done.
    pub async fn append_all(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, AuditUnavailable> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let appended = async {
            let receipts = self.hand_over(drafts, false).await?;
            receipts.await.map_err(|_| unavailable("the hub is shutting down"))?
        };
        let began = Instant::now();
        let span = tracing::info_span!(target: meter::TRACED, "audit append");
        let receipts = tokio::time::timeout(self.append_max, appended).instrument(span).await;
        meter::appended(began.elapsed());
        receipts.unwrap_or_else(|_| Err(unavailable("the entry was not durable in time")))
    }

    /// Gives entries to the writer, and does not wait for them. What comes of it says what became of them: an error, that
    /// they will not stand on the log; nothing, with the channel closed, that the writer ended before it knew. Who is not
    /// patient hears of a log that is down at once, and then they may stand there yet.
    pub(crate) async fn hand_over(
        &self,
        drafts: Vec<Draft>,
        patient: bool,
    ) -> Result<Fate, AuditUnavailable> {
        if let Some(reason) = self.down() {
            return Err(AuditUnavailable { reason });
        }
        let mut parts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            parts.push(draft.into_parts().map_err(|error| AuditUnavailable { reason: error.to_string() })?);
        }
        let (reply, fate) = oneshot::channel();
        // Without waiting where there is room: entries stand in the order of the calls.
        match self.jobs.try_send(Job { parts, patient, reply }) {
            Ok(()) => Ok(fate),
            Err(mpsc::error::TrySendError::Full(job)) => {
                self.jobs.send(job).await.map_err(|_| unavailable("the hub is shutting down"))?;
                Ok(fate)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(unavailable("the hub is shutting down")),
        }
    }

    /// Resolves when the log is down, or callers have waited for it long enough.
    pub(crate) async fn is_slow(&self) {
        let mut down = self.down.clone();
        // The writer's end is heard of elsewhere.
        let down = async { down.wait_for(Option::is_some).await.map(drop).ok() };
        tokio::time::timeout(self.append_max, down).await.ok();
    }

    /// Notes a refusal, without waiting: the first is written at once, equal ones that follow within the merging time
    /// are one counted entry at its end. While the log is down they are kept in the spool.
    pub fn refuse(&self, draft: Draft) {
        if let Err(
            mpsc::error::TrySendError::Full(Noted { draft })
            | mpsc::error::TrySendError::Closed(Noted { draft }),
        ) = self.refusals.try_send(Noted { draft })
        {
            // A flood: how many were not kept one by one, and whose, is itself written.
            self.lost.add(&draft.actor, draft.count.unwrap_or(1));
        }
    }

    /// Why the log cannot be written now; `None` while it can.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        self.down.borrow().clone()
    }
}

pub(crate) fn unavailable(reason: &str) -> AuditUnavailable {
    AuditUnavailable { reason: reason.to_owned() }
}
