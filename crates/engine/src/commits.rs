//! Committed offsets on their way to disk: one transaction for all that wait, in the order of calls.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use crate::database::{CommittedRow, Database};
use crate::group::Groups;
use crate::log::partition::hold;

/// The rows that may wait. Over it a commit is refused, and its client tries again.
const WAITING_MAX: usize = 1_000_000;

/// The queue to the database.
pub(crate) struct Commits {
    database: Database,
    groups: Arc<Groups>,
    tracker: TaskTracker,
    queue: Mutex<Queue>,
    idle: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Commit>,
    rows: usize,
    running: bool,
    closed: bool,
}

struct Commit {
    rows: Vec<CommittedRow>,
    answer: oneshot::Sender<Result<(), NotStored>>,
}

/// Why offsets were not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// Too many wait.
    Busy,
    /// The database refused.
    Storage,
}

impl Commits {
    pub(crate) fn new(database: Database, groups: Arc<Groups>, tracker: TaskTracker) -> Arc<Self> {
        Arc::new(Self { database, groups, tracker, queue: Mutex::default(), idle: Notify::new() })
    }

    /// The answer comes when the rows are durable.
    pub(crate) fn submit(
        self: &Arc<Self>,
        rows: Vec<CommittedRow>,
    ) -> oneshot::Receiver<Result<(), NotStored>> {
        let (answer, answered) = oneshot::channel();
        let mut queue = hold(&self.queue);
        if queue.closed {
            // Dropping the sender tells the caller that the engine is closed.
            return answered;
        }
        if queue.rows.saturating_add(rows.len()) > WAITING_MAX {
            // The receiver is right here.
            drop(answer.send(Err(NotStored::Busy)));
            return answered;
        }
        queue.rows += rows.len();
        queue.waiting.push(Commit { rows, answer });
        if !queue.running {
            queue.running = true;
            let commits = Arc::clone(self);
            self.tracker.spawn(async move { commits.work_off().await });
        }
        answered
    }

    /// Resolves when everything submitted before is stored or refused; `None` if nothing is on its way.
    pub(crate) fn settled(&self) -> Option<oneshot::Receiver<Result<(), NotStored>>> {
        let mut queue = hold(&self.queue);
        if !queue.running {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        queue.waiting.push(Commit { rows: Vec::new(), answer });
        Some(answered)
    }

    async fn work_off(&self) {
        loop {
            let waiting = {
                let mut queue = hold(&self.queue);
                if queue.waiting.is_empty() {
                    queue.running = false;
                    self.idle.notify_waiters();
                    return;
                }
                queue.rows = 0;
                std::mem::take(&mut queue.waiting)
            };
            let mut rows = Vec::new();
            let mut answers = Vec::with_capacity(waiting.len());
            for commit in waiting {
                rows.extend(commit.rows);
                answers.push(commit.answer);
            }
            let stored = self.store(rows).await;
            for answer in answers {
                // Whoever is gone asks again.
                drop(answer.send(stored.clone()));
            }
        }
    }

    async fn store(&self, rows: Vec<CommittedRow>) -> Result<(), NotStored> {
        if rows.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.database.commit(&rows).await {
            tracing::error!(%error, "committed offsets cannot be stored; none was acknowledged");
            return Err(NotStored::Storage);
        }
        self.groups.committed(rows);
        Ok(())
    }

    /// Takes nothing more, and returns when what was taken is done.
    pub(crate) async fn drain(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let mut queue = hold(&self.queue);
                queue.closed = true;
                if !queue.running {
                    return;
                }
            }
            idle.await;
        }
    }
}
