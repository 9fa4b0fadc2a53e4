//! The policy in force, followed from the database.
//!
//! The version is asked for every 250 ms, and at once when the database says that it changed. How old the snapshot is
//! counts, on the monotonic clock, from before the question was sent: over 700 ms deliveries pause, over 10 s they are
//! refused. Where several replicas share a database, terms are held against its clock and the time that has gone by
//! since it answered, so that no replica's own clock lengthens a grant.

use std::sync::Arc;
use std::time::Duration;

use shuniu_model::{Clock, Timestamp};
use shuniu_policy::{Facts, InvalidFacts, Snapshot};
use shuniu_store::{PolicyFeed, PolicyState, Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const POLL_EVERY: Duration = Duration::from_millis(250);
const PAUSED_AFTER: Duration = Duration::from_millis(700);
const REFUSED_AFTER: Duration = Duration::from_secs(10);

/// The policy could not be confirmed for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy could not be confirmed for {} s: the directory's database does not answer", .0.as_secs())]
pub struct Stale(Duration);

/// Why the policy cannot be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The database cannot be read.
    #[error("cannot load the policy")]
    Store(#[from] StoreError),
    /// The facts contradict each other.
    #[error("the directory's facts contradict each other")]
    Facts(#[from] InvalidFacts),
}

/// The policy in force. Cloned freely.
#[derive(Clone)]
pub struct PolicyWatch {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    confirmed: watch::Receiver<Confirmed>,
    /// When the policy before the one in force was confirmed last: the change came after that.
    changed_after: watch::Receiver<Instant>,
    clock: Clock,
}

/// When the snapshot was last known to be in force.
#[derive(Debug, Clone, Copy)]
struct Confirmed {
    /// Before the database was asked.
    asked_at: Instant,
    /// Its clock while it answered; `None` where that is this machine's.
    database_time: Option<Timestamp>,
}

impl From<PolicyState> for Confirmed {
    fn from(state: PolicyState) -> Self {
        Self { asked_at: state.asked_at.into(), database_time: state.database_time }
    }
}

impl PolicyWatch {
    /// Loads the policy and follows it until cancelled.
    ///
    /// # Errors
    /// When it cannot be loaded now; later failures only make it stale.
    pub async fn start(
        store: Store,
        clock: Clock,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Result<Self, PolicyError> {
        let mut feed = store.policy_feed();
        let state = feed.ask().await?;
        // Of the version asked for, or a later one.
        let snapshot = Arc::new(Snapshot::new(store.facts().await?)?);
        let (snapshot_sender, snapshot) = watch::channel(snapshot);
        let (confirmed_sender, confirmed) = watch::channel(Confirmed::from(state));
        let (changed_sender, changed_after) = watch::channel(confirmed.borrow().asked_at);
        let follower = Follower {
            store,
            feed,
            snapshot: snapshot_sender,
            confirmed: confirmed_sender,
            changed_after: changed_sender,
        };
        tracker.spawn(follower.run(cancel));
        Ok(Self { snapshot, confirmed, changed_after, clock })
    }

    /// A policy that never changes, for tests and benches.
    ///
    /// # Errors
    /// When the facts contradict each other.
    pub fn fixed(facts: Facts, clock: Clock) -> Result<(Self, FixedPolicy), InvalidFacts> {
        let (snapshot_sender, snapshot) = watch::channel(Arc::new(Snapshot::new(facts)?));
        // Far enough ahead never to be old.
        let (confirmed_sender, confirmed) = watch::channel(Confirmed {
            asked_at: Instant::now() + Duration::from_secs(86_400),
            database_time: None,
        });
        let (changed_sender, changed_after) = watch::channel(Instant::now());
        let policy = FixedPolicy {
            snapshot: snapshot_sender,
            _confirmed: confirmed_sender,
            changed_after: changed_sender,
        };
        Ok((Self { snapshot, confirmed, changed_after, clock }, policy))
    }

    /// The snapshot that was loaded last, however old.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The snapshots that come into force.
    #[must_use]
    pub fn followed(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Whether the snapshot is young enough to deliver by.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.age() <= PAUSED_AFTER
    }

    /// How old the snapshot is.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.confirmed.borrow().asked_at.elapsed()
    }

    /// How long ago at most the policy in force was written: the one before was in force before that.
    #[must_use]
    pub fn changed_within(&self) -> Duration {
        self.changed_after.borrow().elapsed()
    }

    /// The snapshot once it is fresh: at once, as a rule; after a pause while the database does not answer.
    ///
    /// # Errors
    /// [`Stale`] when it stays old.
    pub async fn fresh(&self) -> Result<Arc<Snapshot>, Stale> {
        let mut confirmed = self.confirmed.clone();
        loop {
            let age = confirmed.borrow_and_update().asked_at.elapsed();
            if age <= PAUSED_AFTER {
                return Ok(self.snapshot());
            }
            if age >= REFUSED_AFTER {
                return Err(Stale(age));
            }
            // A sender that is gone never confirms again; the age then decides.
            let next = tokio::time::timeout(REFUSED_AFTER.saturating_sub(age), confirmed.changed()).await;
            if !matches!(next, Ok(Ok(()))) {
                return Err(Stale(self.age()));
            }
        }
    }

    /// Resolves when another snapshot is loaded after this call.
    pub fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        let mut changes = self.snapshot.clone();
        changes.mark_unchanged();
        changes
    }

    /// The time that terms are held against.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let Confirmed { asked_at, database_time } = *self.confirmed.borrow();
        let Some(database_time) = database_time else { return (self.clock)() };
        // Counted from before the question: ahead of the database by what the answer took, never behind.
        let elapsed = i64::try_from(asked_at.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(database_time.as_micros().saturating_add(elapsed))
    }
}

/// Changes a fixed policy.
pub struct FixedPolicy {
    snapshot: watch::Sender<Arc<Snapshot>>,
    _confirmed: watch::Sender<Confirmed>,
    changed_after: watch::Sender<Instant>,
}

impl FixedPolicy {
    /// Puts other facts in force.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn replace(&self, facts: Facts) -> Result<(), InvalidFacts> {
        self.changed_after.send_replace(Instant::now());
        self.snapshot.send_replace(Arc::new(Snapshot::new(facts)?));
        Ok(())
    }
}

struct Follower {
    store: Store,
    feed: PolicyFeed,
    snapshot: watch::Sender<Arc<Snapshot>>,
    confirmed: watch::Sender<Confirmed>,
    changed_after: watch::Sender<Instant>,
}

impl Follower {
    async fn run(mut self, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.feed.told() => {}
            }
            let followed = tokio::select! {
                () = cancel.cancelled() => return,
                followed = self.follow() => followed,
            };
            match followed {
                Ok(state) => {
                    self.confirmed.send_replace(state.into());
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the policy cannot be confirmed; deliveries pause until it is"
                ),
            }
        }
    }

    async fn follow(&mut self) -> Result<PolicyState, PolicyError> {
        let state = self.feed.ask().await?;
        if state.version == self.snapshot.borrow().version() {
            return Ok(state);
        }
        let snapshot = Snapshot::new(self.store.facts().await?)?;
        tracing::info!(version = snapshot.version(), "the policy changed");
        // The version before was still found then.
        self.changed_after.send_replace(self.confirmed.borrow().asked_at);
        self.snapshot.send_replace(Arc::new(snapshot));
        Ok(state)
    }
}
