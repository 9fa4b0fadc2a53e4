//! Refusals, counted: whoever is refused a thousand times a second must not fill the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuniu_ledger::{Actor, Draft, Refusal};
use shuniu_model::{Clock, SystemId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::{AuditLog, AuditOptions, AuditStart};
use crate::spool::Spool;

/// Different refusals of one system and one code that are told apart at once; those beyond are counted together.
const KINDS_PER_CODE_MAX: usize = 64;
/// As above for names that the directory does not have: anybody can invent as many as they like.
const INVENTED_MAX: usize = 8;
/// The code of a name that the directory does not have.
const INVENTED: &str = "unknown-resource";
/// Different refusals that are told apart at once, of all systems.
const KINDS_MAX: usize = 8_192;
/// Windows at once, with those that count together what is not told apart.
const WINDOWS_MAX: usize = 2 * KINDS_MAX;
/// Systems whose refusals are counted apart when they come faster than they are counted.
const LOST_MAX: usize = 1_024;
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
    lost: Arc<Lost>,
    clock: Clock,
    merged: Duration,
    windows: HashMap<String, Window>,
    /// How many windows of each family tell one kind of refusal apart.
    told_apart: HashMap<Family, usize>,
    spool: Spool,
}

/// Equal refusals since the first, which is written already.
struct Window {
    draft: Draft,
    opened: Instant,
    since: Timestamp,
    more: u64,
    /// `None` for a window that counts together what is not told apart.
    family: Option<Family>,
}

/// The system and the code: no system's refusals, and no code's, hide those of another.
type Family = (Option<SystemId>, String);

/// Refusals that came faster than they were counted, by their systems.
#[derive(Default)]
pub(crate) struct Lost(Mutex<HashMap<Option<SystemId>, (Actor, u64)>>);

impl Lost {
    pub(crate) fn add(&self, actor: &Actor, count: u64) {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = lost.len() < LOST_MAX || lost.contains_key(&actor.system);
        let actor = if room { together(actor) } else { Actor::unknown() };
        let (_, sum) = lost.entry(actor.system.clone()).or_insert((actor, 0));
        *sum += count;
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> Vec<Draft> {
        let lost = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        lost.into_values().map(|(actor, count)| many(actor, count)).collect()
    }
}

impl Counting {
    pub(crate) async fn open(
        options: &AuditOptions,
        log: AuditLog,
        noted: mpsc::Receiver<Noted>,
        lost: Arc<Lost>,
        clock: Clock,
    ) -> Result<Self, AuditStart> {
        let (path, bytes_max) = (options.spool.clone(), options.spool_bytes_max);
        let opened = tokio::task::spawn_blocking(move || Spool::open(&path, bytes_max)).await;
        let spool = opened
            .unwrap_or_else(|_| Err(std::io::Error::other("the task that opens it was ended")))
            .map_err(|source| AuditStart::Spool { path: options.spool.clone(), source })?;
        let (windows, told_apart) = (HashMap::new(), HashMap::new());
        Ok(Self { log, noted, lost, clock, merged: options.refusals_merged, windows, told_apart, spool })
    }

    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut noted = Vec::new();
        loop {
            let idle = self.windows.is_empty() && self.spool.is_empty() && self.lost.is_empty();
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
        let count = draft.count.unwrap_or(1);
        let key = key_of(&draft);
        if let Some(window) = self.windows.get_mut(&key) {
            window.more += count;
            return None;
        }
        let (key, draft, family) = self.kind(key, draft);
        if let Some(window) = self.windows.get_mut(&key) {
            window.more += count;
            return None;
        }
        if let Some(family) = &family {
            *self.told_apart.entry(family.clone()).or_default() += 1;
        }
        let (opened, since) = (Instant::now(), (self.clock)());
        self.windows.insert(key, Window { draft: draft.clone(), opened, since, more: 0, family });
        Some(draft)
    }

    /// What a refusal that no window counts yet is counted as: itself, or together with others of its family.
    fn kind(&self, key: String, draft: Draft) -> (String, Draft, Option<Family>) {
        let code = draft.reason.as_ref().map(|reason| reason.code.clone()).unwrap_or_default();
        let family = (draft.actor.system.clone(), code);
        let told_apart = self.told_apart.get(&family).copied().unwrap_or_default();
        let max = if family.1 == INVENTED { INVENTED_MAX } else { KINDS_PER_CODE_MAX };
        if told_apart < max && self.windows.len() < KINDS_MAX {
            return (key, draft, Some(family));
        }
        let count = draft.count.unwrap_or(1);
        let (system, code) = family;
        let key = format!("{} {code}", system.as_ref().map_or("-", SystemId::as_str));
        if self.windows.len() >= WINDOWS_MAX && !self.windows.contains_key(&key) {
            return (String::new(), many(Actor::unknown(), count), None);
        }
        let example = draft.target.as_deref().unwrap_or_default();
        let refusal = Refusal {
            asked: format!("more different requests than are told apart, one of them: {example}"),
            code,
            detail: "more different refusals of this code than are told apart, counted together".to_owned(),
            resource: None,
            grant: None,
        };
        let mut draft = Draft::refused(together(&draft.actor), refusal);
        draft.count = Some(count);
        (key, draft, None)
    }

    /// The counted drafts of the windows that are over; of all, when the hub ends.
    fn over(&mut self, all: bool) -> Vec<Draft> {
        let merged = self.merged;
        let over = self.windows.extract_if(|_, window| all || window.opened.elapsed() >= merged);
        let mut due = Vec::new();
        for (_, window) in over {
            if let Some(family) = window.family
                && let Some(kinds) = self.told_apart.get_mut(&family)
            {
                *kinds = kinds.saturating_sub(1);
                if *kinds == 0 {
                    self.told_apart.remove(&family);
                }
            }
            if window.more > 0 {
                let mut draft = window.draft.since(window.since);
                draft.count = Some(window.more);
                due.push(draft);
            }
        }
        due.extend(self.lost.take());
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
            due.iter().for_each(tell);
            return;
        }
        let now = (self.clock)();
        for draft in due {
            // What is written later says when it was.
            let draft = if draft.since.is_none() { draft.since(now) } else { draft };
            let count = draft.count.unwrap_or(1);
            // One short line at a time, and only while the log is down.
            if self.spool.keep(&draft) {
                tell(&draft);
            } else {
                self.lost.add(&draft.actor, count);
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

/// Writes to the hub's own log what is written to the audit log, or is spooled for it: a line for each refusal would let anybody fill it.
fn tell(draft: &Draft) {
    let system = draft.actor.system.as_ref().map_or("-", SystemId::as_str);
    let source = draft.source.as_deref().unwrap_or("-");
    let asked = draft.target.as_deref().unwrap_or("-");
    let (code, detail) =
        draft.reason.as_ref().map_or(("-", "-"), |reason| (reason.code.as_str(), reason.detail.as_str()));
    let count = draft.count.unwrap_or(1);
    tracing::info!(system, source, asked, code, count, "refused: {detail}");
}

/// Who refusals that are counted together are of: one system, which may have shown several certificates.
fn together(actor: &Actor) -> Actor {
    let mut actor = actor.clone();
    actor.certificate = None;
    actor
}

/// What stands for refusals that are too many to be told apart.
fn many(actor: Actor, count: u64) -> Draft {
    let refusal = Refusal {
        asked: "more different requests than are told apart".to_owned(),
        code: "many-refusals".to_owned(),
        detail: "a flood of refusals, counted together".to_owned(),
        resource: None,
        grant: None,
    };
    let mut draft = Draft::refused(actor, refusal);
    draft.count = Some(count);
    draft
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
