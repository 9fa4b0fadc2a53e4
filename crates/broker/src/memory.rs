//! A record store in memory, for tests and benches: it keeps nothing, but answers as Kafka does, and fails on demand.
//!
//! It serves Metadata, CreateTopics, Produce (idempotent producers too), Fetch (with long poll), ListOffsets,
//! InitProducerId, DeleteRecords (whole batches) and DescribeCluster. It trusts the batches that it is given.

mod log;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shuniu_wire::messages::{FetchRequest, FetchResponse};
use shuniu_wire::{ApiKey, Request, Response};
use tokio::sync::watch;

use self::log::Topics;
use crate::upstream::{BoxFuture, Connection, Node, NodeId, Upstream, UpstreamError};

/// How the store fails from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// It works.
    #[default]
    None,
    /// Nothing is answered and nothing done: connections cannot be made or break.
    Down,
    /// Writes are refused, as by a full disk; the rest works.
    Full,
    /// Writes are done, but their answers are lost with the connection.
    AnswersLost,
    /// Writes are neither done nor answered: they hang. The rest works.
    Hangs,
}

/// A record store in memory with one node.
#[derive(Debug)]
pub struct MemoryUpstream {
    node: NodeId,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    topics: Mutex<Topics>,
    failure: Mutex<Failure>,
    /// Counts appends; fetches wait on it.
    appended: watch::Sender<u64>,
    bytes_fetched: AtomicUsize,
}

impl MemoryUpstream {
    /// An empty store with one node of that id.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        let state = State {
            topics: Mutex::new(Topics::default()),
            failure: Mutex::new(Failure::None),
            appended: watch::Sender::new(0),
            bytes_fetched: AtomicUsize::new(0),
        };
        Self { node, state: Arc::new(state) }
    }

    /// Fails in that way from now on, until told otherwise. A hanging write stays so for good.
    pub fn fail(&self, failure: Failure) {
        *lock(&self.state.failure) = failure;
        self.state.appended.send_modify(|count| *count += 1);
    }

    /// Forgets what it knows of idempotent producers, as a broker does after long silence.
    pub fn forget_producers(&self) {
        lock(&self.state.topics).forget_producers();
    }

    /// Keeps of idempotent producers how far they came, and forgets where their batches stand: what is sent again is
    /// answered DUPLICATE_SEQUENCE_NUMBER.
    pub fn forget_places(&self) {
        lock(&self.state.topics).forget_places();
    }

    /// Gives nothing from `offset` on to those who fetch, as a leader that does not know yet how far the others are;
    /// `None` gives all again.
    pub fn show_until(&self, topic: &str, partition: i32, offset: Option<i64>) {
        lock(&self.state.topics).show_until(topic, partition, offset);
    }

    /// How many bytes of records fetches were answered with so far.
    #[must_use]
    pub fn bytes_fetched(&self) -> usize {
        self.state.bytes_fetched.load(Ordering::Relaxed)
    }

    /// The batches of a partition as they are stored, one after the other; none for an unknown one.
    #[must_use]
    pub fn stored(&self, topic: &str, partition: i32) -> Vec<bytes::Bytes> {
        lock(&self.state.topics).stored(topic, partition)
    }

    /// Removes everything before an offset, as retention does. Whole batches only.
    pub fn forget_before(&self, topic: &str, partition: i32, offset: i64) {
        lock(&self.state.topics).forget_before(topic, partition, offset);
    }
}

impl Upstream for MemoryUpstream {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, UpstreamError>> {
        let answer = match self.state.failure() {
            Failure::Down => Err(down("list the brokers")),
            _ => Ok(vec![Node { id: self.node, rack: None }]),
        };
        Box::pin(async move { answer })
    }

    fn connect(&self, node: NodeId) -> BoxFuture<'_, Result<Arc<dyn Connection>, UpstreamError>> {
        let answer = if self.state.failure() == Failure::Down {
            Err(down("connect"))
        } else if node == self.node {
            let connection = MemoryConnection { node, state: Arc::clone(&self.state) };
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        } else {
            Err(UpstreamError::NoSuchNode(node))
        };
        Box::pin(async move { answer })
    }
}

struct MemoryConnection {
    node: NodeId,
    state: Arc<State>,
}

impl Connection for MemoryConnection {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>> {
        let failure = self.state.failure();
        if failure == Failure::Down {
            return Box::pin(async move { Err(down("send a request")) });
        }
        let answer = match request {
            Request::Fetch(request) => return Box::pin(long_poll(Arc::clone(&self.state), request)),
            Request::Produce(request) => match failure {
                Failure::Full => Err(UpstreamError::Storage { detail: "no space left".to_owned() }),
                Failure::Hangs => return Box::pin(std::future::pending()),
                _ => {
                    let response = self.topics().produce(request);
                    self.state.appended.send_modify(|count| *count += 1);
                    if failure == Failure::AnswersLost {
                        Err(down("read the answer"))
                    } else {
                        Ok(response.into())
                    }
                }
            },
            Request::Metadata(request) => Ok(self.topics().metadata(self.node, request).into()),
            Request::CreateTopics(request) => Ok(self.topics().create_topics(request).into()),
            Request::DeleteRecords(request) => Ok(self.topics().delete_records(request).into()),
            Request::ListOffsets(request) => Ok(self.topics().list_offsets(request).into()),
            Request::InitProducerId(_) => Ok(self.topics().init_producer_id().into()),
            Request::DescribeCluster(_) => Ok(serve::describe_cluster(self.node).into()),
            other => Err(UpstreamError::Unsupported { api: format!("{:?}", other.api()) }),
        };
        Box::pin(async move { answer })
    }

    fn has(&self, _: ApiKey) -> bool {
        false
    }
}

impl MemoryConnection {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        lock(&self.state.topics)
    }
}

impl State {
    fn failure(&self) -> Failure {
        *lock(&self.failure)
    }
}

/// Answers when there is enough, when the time is over, or with an error at once.
async fn long_poll(state: Arc<State>, request: FetchRequest) -> Result<Response, UpstreamError> {
    let mut appended = state.appended.subscribe();
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        appended.borrow_and_update();
        if state.failure() == Failure::Down {
            return Err(down("read the answer"));
        }
        let answer = lock(&state.topics).fetch(&request);
        let enough = answer.failed || answer.bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
        if enough || tokio::time::timeout_at(deadline, appended.changed()).await.is_err() {
            state.bytes_fetched.fetch_add(answer.bytes, Ordering::Relaxed);
            return Ok(Response::from(answer.response));
        }
    }
}

/// What a fetch finds at one moment.
struct Found {
    response: FetchResponse,
    bytes: usize,
    failed: bool,
}

fn down(attempted: &str) -> UpstreamError {
    UpstreamError::Unreachable { detail: format!("cannot {attempted}: the store in memory is down") }
}

/// A panic under the lock is the test's own failure: what it leaves is still readable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
