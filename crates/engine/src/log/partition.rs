//! A partition: what writers, readers and the maintenance share, and who waits for what.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use shuniu_model::Clock;
use shuniu_wire::messages::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::append::Writer;
use super::compact::Upkeep;
use super::index::Tally;
use super::mark::Mark;
use super::segment::{Segment, SegmentName};
use crate::EngineConfig;
use crate::epochs::Epochs;
use crate::settings::Settings;

/// What every partition needs of the engine.
pub(crate) struct LogContext {
    pub(crate) config: EngineConfig,
    pub(crate) clock: Clock,
    pub(crate) tracker: TaskTracker,
    /// Told when a segment is closed or settings change: something may be due sooner.
    pub(crate) maintenance: Notify,
}

impl LogContext {
    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)().as_millis()
    }
}

/// A topic's settings, shared by its partitions; replaced as a whole.
pub(crate) struct SettingsCell(RwLock<Arc<Settings>>);

impl SettingsCell {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(settings))))
    }

    pub(crate) fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

/// Whose partition it is, and where.
pub(super) struct Identity {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    pub(super) epochs: Epochs,
    pub(super) folder: PathBuf,
    pub(super) context: Arc<LogContext>,
    pub(super) settings: Arc<SettingsCell>,
}

/// One partition of a topic.
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    pub(crate) epochs: Epochs,
    pub(crate) folder: PathBuf,
    pub(crate) context: Arc<LogContext>,
    pub(crate) settings: Arc<SettingsCell>,
    queue: Mutex<Queue>,
    /// Told when the queue was worked off.
    idle: Condvar,
    /// Held by the thread that appends, closes a segment, or replaces segments. Never on an async worker.
    pub(crate) writer: Mutex<Writer>,
    /// Held while segments are compacted or dropped. Taken before the writer, where both are.
    pub(crate) upkeep: Mutex<Upkeep>,
    /// How far the log is durable. Taken last.
    pub(crate) mark: Mutex<Mark>,
    /// What readers see. Held for moments only, never across I/O.
    pub(crate) view: RwLock<View>,
    pub(crate) waiters: Waiters,
    #[cfg(test)]
    pub(crate) sync_fails: std::sync::atomic::AtomicBool,
}

/// What is durable, and so visible.
pub(crate) struct View {
    /// In offset order.
    pub(crate) closed: Vec<Arc<Segment>>,
    pub(crate) active_name: SegmentName,
    pub(crate) active: Tally,
    pub(crate) active_file: Arc<File>,
    /// When the active segment got its first batch.
    pub(crate) first_append_ms: Option<i64>,
}

impl View {
    /// The offset after the last durable record: no reader sees more.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.active.end
    }

    pub(crate) fn log_start(&self) -> i64 {
        self.closed.first().map_or(self.active.base, |segment| segment.name.base)
    }

    pub(crate) fn closed_bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.bytes).sum()
    }
}

/// Produces that wait for the writer.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Append>,
    bytes: usize,
    /// A thread is at work and will look at the queue again before it ends.
    running: bool,
    /// Nothing more is taken.
    closed: bool,
}

/// One Produce's records for this partition.
pub(crate) struct Append {
    pub(crate) records: Bytes,
    pub(crate) answer: oneshot::Sender<Result<Placed, Refused>>,
}

/// Where records went. They are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) base_offset: i64,
    /// -1 unless the topic's timestamps are LogAppendTime.
    pub(crate) append_time_ms: i64,
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Partition {
    pub(super) fn new(
        identity: Identity,
        writer: Writer,
        upkeep: Upkeep,
        mark: Mark,
        view: View,
    ) -> Arc<Self> {
        let Identity { topic, index, epochs, folder, context, settings } = identity;
        Arc::new(Self {
            topic,
            index,
            epochs,
            folder,
            context,
            settings,
            queue: Mutex::default(),
            idle: Condvar::new(),
            writer: Mutex::new(writer),
            upkeep: Mutex::new(upkeep),
            mark: Mutex::new(mark),
            view: RwLock::new(view),
            waiters: Waiters::default(),
            #[cfg(test)]
            sync_fails: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Hands records to the writer. Their place in the log is decided by the order of these calls; the answer comes
    /// when they are durable.
    pub(crate) fn submit(self: &Arc<Self>, records: Bytes) -> oneshot::Receiver<Result<Placed, Refused>> {
        let (answer, answered) = oneshot::channel();
        let mut queue = hold(&self.queue);
        if queue.closed {
            // Dropping the sender tells the caller that the engine is closed.
            return answered;
        }
        let bytes = queue.bytes.saturating_add(records.len());
        if bytes > self.context.config.waiting_bytes_max && !queue.waiting.is_empty() {
            let refused = Refused::new(ResponseError::RequestTimedOut, "too many bytes wait for the disk");
            // The receiver is right here.
            drop(answer.send(Err(refused)));
            return answered;
        }
        queue.bytes = bytes;
        queue.waiting.push_back(Append { records, answer });
        if !queue.running {
            queue.running = true;
            let partition = Arc::clone(self);
            self.context.tracker.spawn_blocking(move || partition.work_off());
        }
        answered
    }

    /// Appends what waits, round by round, until nothing waits. What comes while one round syncs is the next round:
    /// that is the group commit.
    fn work_off(&self) {
        let _refuse_if_it_panics = Refusing(self);
        loop {
            let waiting = {
                let mut queue = hold(&self.queue);
                if queue.waiting.is_empty() {
                    queue.running = false;
                    self.idle.notify_all();
                    return;
                }
                queue.bytes = 0;
                std::mem::take(&mut queue.waiting)
            };
            hold(&self.writer).append_all(self, waiting);
        }
    }

    /// Takes nothing more, and returns when what was taken is done. Blocking.
    pub(crate) fn drain(&self) {
        let mut queue = hold(&self.queue);
        queue.closed = true;
        while queue.running {
            queue = self.idle.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        // After a clean stop the mark is exact, whatever happens to the machine then.
        if let Err(error) = hold(&self.mark).sync() {
            tracing::warn!(topic = %self.topic, partition = self.index, %error,
                "cannot sync the note of how far a log is durable");
        }
    }

    /// What readers see now.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what readers see.
    pub(crate) fn show<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Should the writer panic, nobody waits for it in vain: those in the queue hear that it is closed, as do all later.
struct Refusing<'a>(&'a Partition);

impl Drop for Refusing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = hold(&self.0.queue);
            queue.closed = true;
            queue.running = false;
            queue.waiting.clear();
            self.0.idle.notify_all();
        }
    }
}

/// A mutex's guard. A panic of another holder leaves data that is still whole: every change is made in one step.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches that wait for a partition to grow.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    next: u64,
    by_id: BTreeMap<u64, Arc<Notify>>,
}

/// A fetch's place among the waiters of one partition; given up when dropped.
pub(crate) struct Waiting {
    partition: Arc<Partition>,
    id: u64,
}

impl Waiting {
    /// From now on `notify` hears of every growth.
    pub(crate) fn register(partition: &Arc<Partition>, notify: &Arc<Notify>) -> Self {
        let mut registered = hold(&partition.waiters.0);
        let id = registered.next;
        registered.next += 1;
        registered.by_id.insert(id, Arc::clone(notify));
        Self { partition: Arc::clone(partition), id }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        hold(&self.partition.waiters.0).by_id.remove(&self.id);
    }
}

impl Waiters {
    pub(crate) fn wake(&self) {
        for notify in hold(&self.0).by_id.values() {
            notify.notify_one();
        }
    }
}
