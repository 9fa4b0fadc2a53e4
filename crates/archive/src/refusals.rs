//! Refusals, counted: whoever is refused a thousand times a second must not fill the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shuniu_ledger::{Actor, Draft, Refusal};
use shuniu_model::{Clock, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::{AuditLog, AuditOptions, AuditStart};
use crate::spool::Spool;

/// Different refusals that are counted at once; those beyond are counted together.
const KINDS_MAX: usize = 1_024;
const NOTED_AT_ONCE: usize = 1_024;
/// How often the windows are looked at, and the spool tried.
const TICK: Duration = Duration::from_millis(250);

/// One refusal.
pub(crate) struct Noted {
    pub(crate) draft: Draft,
}

/// The task that counts them.
pub(crate) struct Counting {
    log: AuditLog,
    noted: mpsc::Receiver<Noted>,
    lost: Arc<AtomicU64>,
    clock: Clock,
    merged: Duration,
    windows: HashMap<String, Window>,
    spool: Spool,
}

/// Equal refusals since the first, which is written already.
struct Window {
    draft: Draft,
    opened: Instant,
    since: Timestamp,
    more: u64,
}

impl Counting {
    pub(crate) async fn open(
        options: &AuditOptions,
        log: AuditLog,
        noted: mpsc::Receiver<Noted>,
        lost: Arc<AtomicU64>,
        clock: Clock,
    ) -> Result<Self, AuditStart> {
        let (path, bytes_max) = (options.spool.clone(), options.spool_bytes_max);
        let opened = tokio::task::spawn_blocking(move || Spool::open(&path, bytes_max)).await;
        let spool = opened
            .unwrap_or_else(|_| Err(std::io::Error::other("the task that opens it was ended")))
            .map_err(|source| AuditStart::Spool { path: options.spool.clone(), source })?;
        Ok(Self { log, noted, lost, clock, merged: options.refusals_merged, windows: HashMap::new(), spool })
    }

    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut noted = Vec::new();
        loop {
            let idle =
                self.windows.is_empty() && self.spool.is_empty() && self.lost.load(Ordering::Relaxed) == 0;
            let ends = tokio::select! {
                biased;
                () = cancel.cancelled() => true,
                _ = self.noted.recv_many(&mut noted, NOTED_AT_ONCE) => false,
                _ = tick.tick(), if !idle => false,
            };
            if ends {
                self.noted.close();
                while let Ok(late) = self.noted.try_recv() {
                    noted.push(late);
                }
            }
            let mut due = Vec::new();
            for Noted { draft } in noted.drain(..) {
                due.extend(self.count(draft));
            }
            due.extend(self.over(ends));
            self.write(due).await;
            if ends {
                return;
            }
        }
    }

    /// Counts a refusal; the draft to be written when it is the first of its kind.
    fn count(&mut self, draft: Draft) -> Option<Draft> {
        let key = key_of(&draft);
        if let Some(window) = self.windows.get_mut(&key) {
            window.more += 1;
            return None;
        }
        let full = self.windows.len() >= KINDS_MAX;
        let (key, draft) = if full { (String::new(), many()) } else { (key, draft) };
        if let Some(window) = self.windows.get_mut(&key) {
            window.more += 1;
            return None;
        }
        let window = Window { draft: draft.clone(), opened: Instant::now(), since: (self.clock)(), more: 0 };
        self.windows.insert(key, window);
        Some(draft)
    }

    /// The counted drafts of the windows that are over; of all, when the hub ends.
    fn over(&mut self, all: bool) -> Vec<Draft> {
        let merged = self.merged;
        let over = self.windows.extract_if(|_, window| all || window.opened.elapsed() >= merged);
        let mut due: Vec<Draft> = over
            .filter(|(_, window)| window.more > 0)
            .map(|(_, window)| {
                let mut draft = window.draft.since(window.since);
                draft.count = Some(window.more);
                draft
            })
            .collect();
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut draft = many();
            draft.count = Some(lost);
            due.push(draft);
        }
        due
    }

    /// Writes what is due, behind what was spooled; what cannot be written is spooled.
    async fn write(&mut self, due: Vec<Draft>) {
        if !self.spool.is_empty() && self.log.down().is_none() {
            self.drain().await;
        }
        if due.is_empty() {
            return;
        }
        if self.log.append_all(due.clone()).await.is_ok() {
            return;
        }
        let now = (self.clock)();
        for draft in due {
            // What is written later says when it was.
            let draft = if draft.since.is_none() { draft.since(now) } else { draft };
            let count = draft.count.unwrap_or(1);
            // One short line at a time, and only while the log is down.
            if !self.spool.keep(&draft) {
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    async fn drain(&mut self) {
        let drafts = match self.spool.drafts() {
            Ok(drafts) => drafts,
            Err(error) => {
                tracing::error!(%error, "the refusals' spool cannot be read");
                return;
            }
        };
        if self.log.append_all(drafts).await.is_ok()
            && let Err(error) = self.spool.clear()
        {
            tracing::error!(%error, "the refusals' spool cannot be emptied: its entries will be written again");
        }
    }
}

/// What stands for refusals that are too many to be told apart.
fn many() -> Draft {
    let refusal = Refusal {
        asked: "more different requests than are told apart".to_owned(),
        code: "many-refusals".to_owned(),
        detail: "a flood of refusals, counted together".to_owned(),
        resource: None,
        grant: None,
    };
    Draft::refused(Actor::unknown(), refusal)
}

/// Equal for refusals that differ in nothing but time and the port that they came from.
fn key_of(draft: &Draft) -> String {
    let mut plain = draft.clone();
    plain.count = None;
    plain.since = None;
    if let Some(source) = &mut plain.source
        && let Ok(address) = source.parse::<std::net::SocketAddr>()
    {
        *source = address.ip().to_string();
    }
    serde_json::to_string(&plain).unwrap_or_default()
}
