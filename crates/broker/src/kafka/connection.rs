//! One connection to a broker: requests go out in the order of the calls, answers come in the same order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use shuniu_wire::messages::TopicName;
use shuniu_wire::{
    ApiKey, BrokerApis, Request, Response, api_versions_request, decode_response, encode_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::KafkaOptions;
use super::dial::Stream;
use crate::upstream::{BoxFuture, Connection, UpstreamError};

/// No request is waited for longer than this, whatever it says itself.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// A SyncGroup waits for the group's leader as long as the group gives it; the request does not say how long.
const SYNC_MAX: Duration = Duration::from_secs(300);
/// Of the answer to the first question.
const FIRST_ANSWER_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;

/// A connection. When it is dropped, what was called is still sent and waited for, and then it ends.
pub(super) struct KafkaConnection {
    address: String,
    apis: BrokerApis,
    options: Arc<KafkaOptions>,
    shared: Arc<Shared>,
    frames: mpsc::Sender<Bytes>,
}

struct Shared {
    state: Mutex<State>,
    /// Something was called.
    called: Notify,
    /// Nobody calls any more.
    dropped: CancellationToken,
    /// The connection is broken, or has ended.
    ended: CancellationToken,
}

#[derive(Default)]
struct State {
    next_id: i32,
    waiting: VecDeque<Waiting>,
    /// Until when the requests under way may keep the broker: it works on one at a time.
    busy_until: Option<Instant>,
    /// What broke the connection.
    broken: Option<UpstreamError>,
}

/// A request that has no answer yet.
struct Waiting {
    id: i32,
    api: ApiKey,
    version: i16,
    topics: Topics,
    deadline: Instant,
    reply: oneshot::Sender<Result<Response, UpstreamError>>,
}

/// Names and ids of a request's topics. An answer has one of the two, whichever its version says.
struct Topics(Vec<(TopicName, Uuid)>);

impl KafkaConnection {
    /// Asks the broker for its APIs and begins to listen.
    pub(super) async fn open(
        stream: Box<dyn Stream>,
        address: String,
        options: Arc<KafkaOptions>,
        tracker: &TaskTracker,
    ) -> Result<Self, UpstreamError> {
        let (read, mut write) = tokio::io::split(stream);
        let mut frames_in = Frames { read, buffer: BytesMut::new(), bytes_max: FIRST_ANSWER_BYTES_MAX };
        let unreachable = |what: String| UpstreamError::Unreachable { detail: format!("{address} {what}") };
        let asked = async {
            write.write_all(&api_versions_request(0, &options.client_id)).await?;
            write.flush().await
        };
        asked.await.map_err(|error| unreachable(format!("takes no request: {error}")))?;
        let answer = frames_in.next().await.map_err(&unreachable)?;
        let (_, apis) = BrokerApis::read(answer).map_err(|error| unreachable(error.to_string()))?;
        frames_in.bytes_max = options.answer_bytes_max;
        let (frames, frames_out) = mpsc::channel(options.in_flight_max);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            called: Notify::new(),
            dropped: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        tracker.spawn(write_all(Arc::clone(&shared), write, frames_out, address.clone(), options.answer_max));
        tracker.spawn(read_all(Arc::clone(&shared), frames_in, address.clone()));
        Ok(Self { address, apis, options, shared, frames })
    }

    fn submit(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Response, UpstreamError>>, UpstreamError> {
        let (api, wait, topics) = (request.api(), wait_of(&request), Topics::of(&request));
        let (version, request) = self.apis.fit(request).map_err(|error| UpstreamError::Unsupported {
            api: format!("{api:?} at {}: {error}", self.address),
        })?;
        let (reply, answer) = oneshot::channel();
        // The lock is held until the frame is queued: the order of calls is the order on the wire.
        let mut state = self.shared.lock();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let unreachable =
            |what: &str| UpstreamError::Unreachable { detail: format!("{} {what}", self.address) };
        if state.waiting.len() >= self.options.in_flight_max {
            return Err(unreachable("has as many requests under way as allowed"));
        }
        let id = state.next_id;
        let frame = encode_request(version, id, &self.options.client_id, &request)
            .map_err(|error| UpstreamError::Unsupported { api: error.to_string() })?;
        self.frames.try_send(frame).map_err(|_| unreachable("takes no more requests"))?;
        state.next_id = id.wrapping_add(1) & i32::MAX;
        let now = Instant::now();
        let busy_until = state.busy_until.map_or(now, |until| until.max(now)) + wait;
        state.busy_until = Some(busy_until);
        let deadline = busy_until + self.options.answer_max;
        state.waiting.push_back(Waiting { id, api, version, topics, deadline, reply });
        drop(state);
        self.shared.called.notify_one();
        Ok(answer)
    }
}

impl Connection for KafkaConnection {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>> {
        let submitted = self.submit(request);
        let address = self.address.clone();
        Box::pin(async move {
            submitted?.await.unwrap_or_else(|_| {
                Err(UpstreamError::Unreachable { detail: format!("the connection to {address} has ended") })
            })
        })
    }

    fn has(&self, api: ApiKey) -> bool {
        self.apis.has(api)
    }
}

impl Drop for KafkaConnection {
    fn drop(&mut self) {
        self.shared.dropped.cancel();
    }
}

impl Shared {
    /// A panic under the lock leaves nothing half done that matters: the connection is broken then.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails everything that waits, and everything that is called from now on.
    fn fail(&self, error: &UpstreamError) {
        let waiting = {
            let mut state = self.lock();
            state.broken.get_or_insert_with(|| error.clone());
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting {
            // Who has gone does not need to know.
            waiting.reply.send(Err(error.clone())).ok();
        }
        self.ended.cancel();
    }
}

/// Sends what is called, in that order, until nobody calls any more or the connection ends.
async fn write_all(
    shared: Arc<Shared>,
    mut write: WriteHalf<Box<dyn Stream>>,
    mut frames: mpsc::Receiver<Bytes>,
    address: String,
    write_max: Duration,
) {
    loop {
        let frame = tokio::select! {
            () = shared.ended.cancelled() => return,
            frame = frames.recv() => frame,
        };
        let Some(frame) = frame else { return };
        let written = tokio::time::timeout(write_max, async {
            write.write_all(&frame).await?;
            write.flush().await
        });
        let written = tokio::select! {
            () = shared.ended.cancelled() => return,
            written = written => written,
        };
        let what = match written {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not within {} s", write_max.as_secs()),
        };
        let detail = format!("a request cannot be sent to {address}: {what}");
        shared.fail(&UpstreamError::Unreachable { detail });
        return;
    }
}

/// Hands out the answers, until the connection breaks, an answer is late, or nobody calls and nothing waits.
async fn read_all(shared: Arc<Shared>, mut frames: Frames, address: String) {
    let detail = loop {
        let deadline = shared.lock().waiting.front().map(|waiting| waiting.deadline);
        if deadline.is_none() && shared.dropped.is_cancelled() {
            break "it was closed".to_owned();
        }
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            frame = frames.next() => frame,
            () = shared.ended.cancelled() => return,
            // Asked again whether something waits, and until when.
            () = shared.called.notified(), if deadline.is_none() => continue,
            () = shared.dropped.cancelled(), if deadline.is_none() => continue,
            () = late => break "it gave no answer in time".to_owned(),
        };
        let answered = frame.and_then(|frame| answer(&shared, frame));
        if let Err(what) = answered {
            break what;
        }
    };
    shared
        .fail(&UpstreamError::Unreachable { detail: format!("the connection to {address} ended: {detail}") });
}

/// Gives an answer to the one that waits for it, which is always the first.
fn answer(shared: &Shared, frame: Bytes) -> Result<(), String> {
    let waiting = shared.lock().waiting.pop_front().ok_or("it answered what nobody asked")?;
    let Waiting { id, api, version, topics, reply, .. } = waiting;
    let read = decode_response(api, version, frame).map_err(|error| error.to_string()).and_then(
        |(found, response)| {
            if found == id { Ok(response) } else { Err("its answers are not in order".to_owned()) }
        },
    );
    match read {
        Ok(response) => {
            // Who has gone does not need the answer.
            reply.send(Ok(topics.complete(response))).ok();
            Ok(())
        }
        Err(what) => {
            reply.send(Err(UpstreamError::Unreachable { detail: what.clone() })).ok();
            Err(what)
        }
    }
}

/// Frames as they come. [`Frames::next`] can be dropped half-way and loses nothing.
struct Frames {
    read: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
    bytes_max: usize,
}

impl Frames {
    /// The next frame, without its length.
    async fn next(&mut self) -> Result<Bytes, String> {
        loop {
            let missing = match self.buffer.first_chunk::<4>().map(|length| i32::from_be_bytes(*length)) {
                None => READ_BYTES,
                Some(length) => {
                    let length =
                        usize::try_from(length).ok().filter(|length| *length <= self.bytes_max).ok_or_else(
                            || format!("an answer of {length} bytes is over the bound of {}", self.bytes_max),
                        )?;
                    if self.buffer.len() >= 4 + length {
                        self.buffer.advance(4);
                        // Not copied: the records of the answer are slices of what was read.
                        return Ok(self.buffer.split_to(length).freeze());
                    }
                    4 + length - self.buffer.len()
                }
            };
            self.buffer.reserve(missing);
            let read = self.read.read_buf(&mut self.buffer).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("the broker closed it".to_owned());
            }
        }
    }
}

impl Topics {
    fn of(request: &Request) -> Self {
        Self(match request {
            Request::Produce(request) => {
                request.topic_data.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect()
            }
            Request::Fetch(request) => {
                request.topics.iter().map(|topic| (topic.topic.clone(), topic.topic_id)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Both name and id of each topic, as far as the request had them.
    fn complete(&self, mut response: Response) -> Response {
        match &mut response {
            Response::Produce(response) => {
                for topic in &mut response.responses {
                    self.fill(&mut topic.name, &mut topic.topic_id);
                }
            }
            Response::Fetch(response) => {
                for topic in &mut response.responses {
                    self.fill(&mut topic.topic, &mut topic.topic_id);
                }
            }
            _ => {}
        }
        response
    }

    fn fill(&self, name: &mut TopicName, id: &mut Uuid) {
        let asked = self.0.iter().find(|(of, by)| if id.is_nil() { of == name } else { by == id });
        if let Some((of, by)) = asked {
            (*name, *id) = (of.clone(), *by);
        }
    }
}

/// How long a request itself asks to wait.
fn wait_of(request: &Request) -> Duration {
    let wait_ms = match request {
        Request::Fetch(request) => request.max_wait_ms,
        Request::Produce(request) => request.timeout_ms,
        Request::JoinGroup(request) => request.rebalance_timeout_ms.max(request.session_timeout_ms),
        Request::CreateTopics(request) => request.timeout_ms,
        Request::CreatePartitions(request) => request.timeout_ms,
        Request::DeleteRecords(request) => request.timeout_ms,
        Request::SyncGroup(_) => return SYNC_MAX,
        _ => 0,
    };
    Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(WAIT_MAX)
}
