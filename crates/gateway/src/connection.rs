//! One client's connection. Answers come in the order of the requests, as Kafka's broker gives them. One request at a
//! time is worked on, but several Produce requests may wait for their records to be durable.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use shuniu_exchange::{Budget, Caller, Recorded, Session, Withdrawn};
use shuniu_wire::ApiKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::api::{self, Answer, Asked};
use crate::door::Options;
use crate::frames::{self, Frame, Frames, ReadError};
use crate::meter;

/// Kafka's idempotent producers have at most this many requests under way.
const PRODUCES_WAITING_MAX: usize = 5;
/// How long a client has to take the goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// How a connection ended.
enum End {
    /// Closed in order: by the client, by the hub's own end, or after a refusal.
    Closed(String),
    /// Reset, so that nothing of an answer under way arrives.
    Reset(Withdrawn),
}

/// What a connection is served with.
pub(crate) struct Serving<'a> {
    pub(crate) session: Session,
    pub(crate) caller: &'a Caller,
    pub(crate) options: &'a Options,
    pub(crate) budget: Budget,
    pub(crate) tracker: &'a TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl Serving<'_> {
    /// Serves a connection until it ends.
    pub(crate) async fn run(self, mut stream: TlsStream<TcpStream>) {
        let (system, source) = (&self.caller.system, self.caller.source);
        let end = tokio::select! {
            // A revoked certificate ends the connection whatever it is doing, before a request that came with it.
            biased;
            withdrawn = self.session.withdrawn() => End::Reset(withdrawn),
            () = self.patience_over() => End::Closed("the hub is shutting down".to_owned()),
            end = self.serve(&mut stream) => end,
        };
        match end {
            End::Closed(reason) => {
                tracing::debug!(%system, %source, "a connection ended: {reason}");
                // The client may be gone, or take nothing: then there is nobody to say goodbye to.
                drop(tokio::time::timeout(GOODBYE_MAX, stream.shutdown()).await);
            }
            End::Reset(withdrawn) => {
                tracing::info!(%system, %source, code = withdrawn.code, "a connection is reset");
                self.session.note_cut(&withdrawn);
                // Without this the kernel would still deliver what it has buffered.
                if let Err(error) = stream.get_ref().0.set_zero_linger() {
                    tracing::warn!(%error, %source, "a connection is closed but not reset");
                }
            }
        }
    }

    /// Resolves when the hub shuts down and has waited for the answer under way.
    async fn patience_over(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(self.options.drain_max).await;
    }

    async fn serve(&self, stream: &mut TlsStream<TcpStream>) -> End {
        let options = self.options;
        let mut frames =
            Frames::new(self.budget.clone(), options.produce_bytes_max, options.idle_max, options.frame_max);
        let mut waiting = Waiting::default();
        loop {
            let until = waiting.until;
            let frame = tokio::select! {
                // An answer that is there goes out before another request comes in, also to who is to send none for a while.
                biased;
                answer = waiting.next(), if !waiting.is_empty() => {
                    match self.send(stream, answer).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                () = self.cancel.cancelled() => Err("the hub is shutting down".to_owned()),
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    waiting.until = None;
                    continue;
                }
                frame = frames.next(stream), if waiting.takes_more() => frame.map_err(|error| self.unread(&error)),
            };
            if let Err(end) = self.handle(stream, frame, &mut waiting).await {
                return end;
            }
        }
    }

    /// Takes one request. All but Produce wait until what came before them is answered.
    async fn handle(
        &self,
        stream: &mut TlsStream<TcpStream>,
        frame: Result<Frame, String>,
        waiting: &mut Waiting,
    ) -> Result<(), End> {
        let began = Instant::now();
        let (asked, share) = match frame {
            Ok(frame) => {
                let asked = api::parse(&self.session, frame.bytes);
                if asked.is_err() {
                    meter::request(None, "refused", began.elapsed());
                }
                (asked, frame.share)
            }
            Err(reason) => (Err(reason), None),
        };
        let submitted = match asked {
            Ok(Asked::Produce(header, request)) => {
                let span = meter::span(Some(ApiKey::Produce), &self.caller.system);
                let submitted = api::produce::submit(&self.session, request);
                let submitted = submitted.instrument(span.clone()).await;
                submitted.map(|submitted| {
                    waiting.throttle(submitted.throttle());
                    let brokers = self.options.brokers.clone();
                    // On a task of its own: what was appended is recorded also when the client is gone by then.
                    let answered = async move {
                        let answer = submitted.answer(&brokers, &header).await;
                        drop(share);
                        let outcome = if answer.is_ok() { "answered" } else { "closed" };
                        meter::request(Some(ApiKey::Produce), outcome, began.elapsed());
                        answer
                    };
                    waiting.push(self.tracker.spawn(answered.instrument(span)));
                })
            }
            Ok(asked) => {
                self.drain(stream, waiting).await?;
                let (api, refused) = (asked.api(), matches!(asked, Asked::Refused(_)));
                let mut throttle = Duration::ZERO;
                let span = meter::span(api, &self.caller.system);
                let answered = async {
                    match api::answer(&self.session, asked, self.options).await {
                        Ok(Answer::Frame(bytes)) => self.write(stream, bytes).await,
                        Ok(Answer::Recorded(recorded)) => {
                            throttle = recorded.throttle();
                            self.write_recorded(stream, recorded).await
                        }
                        Err(reason) => Err(End::Closed(reason)),
                    }
                };
                let done = answered.instrument(span).await;
                let outcome = if refused { "refused" } else { outcome(&done) };
                meter::request(api, outcome, began.elapsed());
                done?;
                self.mute(throttle).await;
                return Ok(());
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = submitted {
            self.drain(stream, waiting).await?;
            return Err(End::Closed(reason));
        }
        Ok(())
    }

    /// Takes no request for as long as the client was told to wait, whether it does or not.
    async fn mute(&self, throttle: Duration) {
        if !throttle.is_zero() {
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = tokio::time::sleep(throttle) => {}
            }
        }
    }

    /// Sends the answers that are due, in their order.
    async fn drain(&self, stream: &mut TlsStream<TcpStream>, waiting: &mut Waiting) -> Result<(), End> {
        while !waiting.is_empty() {
            let answer = waiting.next().await;
            self.send(stream, answer).await?;
        }
        Ok(())
    }

    fn unread(&self, error: &ReadError) -> String {
        if let ReadError::Length { .. } = error {
            self.session.refused(None, "frame-too-long", &error.to_string());
        }
        error.to_string()
    }

    async fn send(
        &self,
        stream: &mut TlsStream<TcpStream>,
        answer: Result<Bytes, String>,
    ) -> Result<(), End> {
        self.write(stream, answer.map_err(End::Closed)?).await
    }

    async fn write(&self, stream: &mut TlsStream<TcpStream>, bytes: Bytes) -> Result<(), End> {
        let written = frames::write(stream, bytes, self.options.write_max).await;
        written.map_err(|error| End::Closed(format!("an answer cannot be written: {error}")))
    }

    /// Writes a response with records: the permission is looked at before each chunk, and while a chunk waits for the
    /// client to take it.
    async fn write_recorded(
        &self,
        stream: &mut TlsStream<TcpStream>,
        mut recorded: Recorded,
    ) -> Result<(), End> {
        while let Some(chunk) = recorded.next_chunk().await.map_err(End::Reset)? {
            tokio::select! {
                biased;
                withdrawn = recorded.withdrawn() => return Err(End::Reset(withdrawn)),
                written = self.write(stream, chunk) => written?,
            }
        }
        Ok(())
    }
}

/// What became of a request.
fn outcome(done: &Result<(), End>) -> &'static str {
    match done {
        Ok(()) => "answered",
        Err(End::Closed(_)) => "closed",
        Err(End::Reset(_)) => "cut",
    }
}

/// Produce requests that wait for their answers, in their order.
#[derive(Default)]
struct Waiting {
    answers: VecDeque<JoinHandle<Result<Bytes, String>>>,
    /// Until when no request is taken, whether the client waits as it was told or not.
    until: Option<Instant>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn takes_more(&self) -> bool {
        self.until.is_none() && self.answers.len() < PRODUCES_WAITING_MAX
    }

    fn throttle(&mut self, throttle: Duration) {
        if !throttle.is_zero() {
            self.until = self.until.max(Some(Instant::now() + throttle));
        }
    }

    fn push(&mut self, answer: JoinHandle<Result<Bytes, String>>) {
        self.answers.push_back(answer);
    }

    /// The first one's answer; never while there is none. Dropped half-way, it loses nothing.
    async fn next(&mut self) -> Result<Bytes, String> {
        let Some(first) = self.answers.front_mut() else { return std::future::pending().await };
        let answer = first.await;
        self.answers.pop_front();
        answer.unwrap_or_else(|error| Err(format!("an answer was not finished: {error}")))
    }
}
