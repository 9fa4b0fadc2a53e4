//! Refusals, counted: whoever is refused a thousand times a second must not fill the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuniu_ledger::{Actor, Draft, Refusal};
use shuniu_model::{Clock, SystemId, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::{AuditLog, AuditOptions, AuditStart, Fate};
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
    under_way: Option<UnderWay>,
}

/// Refusals that the log's writer has, and of which it is not known yet whether they stand on the log. The writer goes on
/// until it has written them, so that nobody else may; the spool has them too, in case the hub ends before.
struct UnderWay {
    drafts: Vec<Draft>,
    /// How many of them, from the first on, are in the spool too.
    kept: usize,
    /// The bytes that those are in it, from its start.
    spooled: u64,
    fate: Fate,
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
        let (merged, under_way) = (options.refusals_merged, None);
        Ok(Self { log, noted, lost, clock, merged, windows, told_apart, spool, under_way })
    }

    /// Counts until cancelled; then nothing is left for the writer, which ends with `writing`.
    pub(crate) async fn run(mut self, cancel: CancellationToken, writing: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut noted = Vec::new();
        loop {
            let nothing_kept = self.spool.is_empty() && self.under_way.is_none();
            let idle = self.windows.is_empty() && nothing_kept && self.lost.is_empty();
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
                writing.cancel();
                if let Some(mut under_way) = self.under_way.take() {
                    let fate = (&mut under_way.fate).await;
                    self.settle(under_way, fate.is_ok_and(|fate| fate.is_ok()));
                }
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
        if let Some(mut under_way) = self.under_way.take() {
            match under_way.fate.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => self.under_way = Some(under_way),
                Err(oneshot::error::TryRecvError::Closed) => self.settle(under_way, false),
                Ok(fate) => self.settle(under_way, fate.is_ok()),
            }
        }
        if self.under_way.is_none() && !self.spool.is_empty() && self.log.down().is_none() {
            match self.spool.drafts() {
                Ok(drafts) => self.give(drafts, self.spool.bytes()).await,
                Err(error) => tracing::error!(%error, "the refusals' spool cannot be read"),
            }
        }
        if due.is_empty() {
            return;
        }
        if self.under_way.is_none() && self.spool.is_empty() {
            self.give(due, 0).await;
        } else {
            self.keep(due);
        }
    }

    /// Gives drafts to the log's writer, and waits a while for them. `spooled`: the bytes that they are in the spool.
    async fn give(&mut self, drafts: Vec<Draft>, spooled: u64) {
        let kept = if spooled > 0 { drafts.len() } else { 0 };
        let handed_over = tokio::select! {
            handed_over = self.log.hand_over(drafts.clone(), true) => handed_over.ok(),
            () = self.log.is_slow() => None,
        };
        let Some(mut fate) = handed_over else {
            // The writer does not have them.
            self.keep(drafts.into_iter().skip(kept));
            return;
        };
        let known = tokio::select! {
            biased;
            fate = &mut fate => Some(fate.is_ok_and(|fate| fate.is_ok())),
            () = self.log.is_slow() => None,
        };
        let mut under_way = UnderWay { drafts, kept, spooled, fate };
        if let Some(written) = known {
            self.settle(under_way, written);
            return;
        }
        if spooled == 0 {
            // The spool was empty, or they would not be with the writer.
            let now = (self.clock)();
            let keeps = |draft: &&Draft| self.spool.keep(&late(Draft::clone(draft), now));
            under_way.kept = under_way.drafts.iter().take_while(keeps).inspect(|draft| tell(draft)).count();
            under_way.spooled = self.spool.bytes();
        }
        self.under_way = Some(under_way);
    }

    /// What the writer had is on the log, or will not be by its doing.
    fn settle(&mut self, under_way: UnderWay, written: bool) {
        let UnderWay { drafts, kept, spooled, .. } = under_way;
        let beside = drafts.into_iter().skip(kept);
        if !written {
            self.keep(beside);
            return;
        }
        beside.for_each(|draft| tell(&draft));
        if spooled > 0
            && let Err(error) = self.spool.forget(spooled)
        {
            tracing::error!(%error, "the refusals' spool cannot be emptied: its entries will be written again");
        }
    }

    /// Puts drafts into the spool.
    fn keep(&mut self, drafts: impl IntoIterator<Item = Draft>) {
        let now = (self.clock)();
        for draft in drafts {
            let draft = late(draft, now);
            // One short line at a time, and only while the log is down.
            if self.spool.keep(&draft) {
                tell(&draft);
            } else {
                self.lost.add(&draft.actor, draft.count.unwrap_or(1));
            }
        }
    }
}

/// What is written later says when it was.
fn late(draft: Draft, now: Timestamp) -> Draft {
    if draft.since.is_none() { draft.since(now) } else { draft }
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
