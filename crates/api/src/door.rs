//! Listening, over mutual TLS; health on a listener of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use shuniu_exchange::{Caller, Exchange, Handshake, Handshakes, Strangers};
use shuniu_model::SystemId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::{self, Notes};
use crate::{meter, problem, registry};

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADERS_BYTES_MAX: usize = 16 << 10;
const HEADERS_READ_MAX: Duration = Duration::from_secs(10);
/// How long an answer under way may take once the connection is to end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Bounds of the door.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections at once, of all clients. A quarter as many may be in their handshake beside them.
    pub connections_max: usize,
    /// Connections at once, of one system.
    pub connections_per_system_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may last, whatever goes over it.
    pub connection_max: Duration,
    /// The largest body.
    pub body_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 1_000,
            connections_per_system_max: 100,
            handshake_max: Duration::from_secs(10),
            connection_max: Duration::from_secs(300),
            body_bytes_max: 1 << 20,
        }
    }
}

/// The HTTP door.
pub struct Door {
    /// TLS 1.3 with client certificates, as each handshake finds it. Without resumption: a resumed session shows no
    /// certificate again, so one that has ended since would still be let in.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// The use cases.
    pub exchange: Arc<Exchange>,
    /// Bounds, as each connection finds them when it comes. Those of all connections together and of bodies stay as they
    /// are at the start.
    pub options: watch::Receiver<Options>,
}

impl Door {
    /// Serves until cancelled.
    pub async fn serve(self, listener: TcpListener, tracker: TaskTracker, cancel: CancellationToken) {
        let options = self.options.borrow().clone();
        let handshakes = Handshakes::beside(options.connections_max);
        let held = Held::new(options.connections_max);
        let strangers = Strangers::default();
        tracker.spawn(strangers.clone().tell(cancel.clone()));
        let router = router(Arc::clone(&self.exchange), options.body_bytes_max);
        let door = Arc::new(self);
        while let Some((stream, source)) = accept(&listener, &cancel).await {
            let came = (source, handshakes.begin(source.ip()));
            let (door, router, held, cancel) =
                (Arc::clone(&door), router.clone(), held.clone(), cancel.clone());
            let strangers = strangers.clone();
            tracker.spawn(async move {
                if let Err((outcome, reason)) = door.admit(stream, came, router, &held, &cancel).await {
                    meter::DOOR.connection(outcome);
                    if strangers.note(source.ip(), &reason) {
                        tracing::info!(%source, "an HTTP connection is refused: {reason}");
                    }
                }
            });
        }
    }

    async fn admit(
        &self,
        stream: TcpStream,
        (source, under_way): (SocketAddr, Handshake),
        router: Router,
        held: &Held,
        cancel: &CancellationToken,
    ) -> Result<(), (&'static str, String)> {
        let options = self.options.borrow().clone();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.borrow()));
        let stream = tokio::select! {
            // Nobody is known yet: nothing is lost.
            () = cancel.cancelled() => return Ok(()),
            () = under_way.crowded_out() => {
                let reason = "its address has most of the handshakes under way, and another came";
                return Err(("handshake-failed", reason.to_owned()));
            }
            handshake = tokio::time::timeout(options.handshake_max, acceptor.accept(stream)) => handshake,
        };
        let stream = stream
            .map_err(|_| ("handshake-failed", "its TLS handshake took too long".to_owned()))?
            .map_err(|error| ("handshake-failed", format!("TLS: {error}")))?;
        let chain = stream.get_ref().1.peer_certificates();
        let chain = chain.ok_or_else(|| ("handshake-failed", "it showed no certificate".to_owned()))?;
        let caller = Caller::of_chain(chain, source).map_err(|error| ("not-a-system", error.to_string()))?;
        drop(under_way);
        let _connection = held
            .connections
            .try_acquire()
            .map_err(|_| ("too-many", "as many as allowed are open".to_owned()))?;
        let _place = held
            .take(&caller.system, options.connections_per_system_max)
            .ok_or_else(|| ("system-too-many", format!("system {} has as many as allowed", caller.system)))?;
        meter::DOOR.connection("served");
        let _open = meter::DOOR.open();
        let router = router.layer(axum::Extension(caller.clone()));
        tokio::select! {
            biased;
            withdrawn = self.exchange.withdrawn(&caller) => {
                tracing::info!(system = %caller.system, %source, code = withdrawn.code, "an HTTP connection is cut");
                self.exchange.note_cut(&withdrawn);
            }
            () = serve_connection(stream, router, options.connection_max, cancel) => {}
        }
        Ok(())
    }
}

/// What connections of known callers hold.
#[derive(Clone)]
struct Held {
    connections: Arc<Semaphore>,
    /// How many each system has.
    systems: Arc<Mutex<HashMap<SystemId, usize>>>,
}

/// One connection of a system; given back when dropped.
struct Place {
    held: Held,
    system: SystemId,
}

impl Held {
    fn new(connections_max: usize) -> Self {
        Self { connections: Arc::new(Semaphore::new(connections_max)), systems: Arc::default() }
    }

    fn take(&self, system: &SystemId, max: usize) -> Option<Place> {
        let mut held = self.systems.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(system).copied().unwrap_or_default() >= max {
            return None;
        }
        *held.entry(system.clone()).or_default() += 1;
        Some(Place { held: self.clone(), system: system.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.systems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.system) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.system);
            }
        }
    }
}

/// What is asked by the machine's own supervisor, without TLS.
pub struct Health {
    /// The use cases.
    pub exchange: Arc<Exchange>,
    /// What is told beside `ready`.
    pub notes: Notes,
    /// Fires when the hub is about to close: it is not ready from then on, though it still serves.
    pub closing: CancellationToken,
    /// What else is answered there.
    pub routes: Router,
}

impl Health {
    /// Serves `/health/live`, `/health/ready` and `routes` until cancelled. Bind it to loopback.
    pub async fn serve(self, listener: TcpListener, tracker: TaskTracker, cancel: CancellationToken) {
        const CONNECTIONS_MAX: usize = 32;
        const CONNECTION_MAX: Duration = Duration::from_secs(30);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let router = health::router(self.exchange, self.notes, self.closing).merge(self.routes);
        while let Some((stream, _)) = accept(&listener, &cancel).await {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (router, cancel) = (router.clone(), cancel.clone());
            tracker.spawn(async move {
                serve_connection(stream, router, CONNECTION_MAX, &cancel).await;
                drop(place);
            });
        }
    }
}

fn router(exchange: Arc<Exchange>, body_bytes_max: usize) -> Router {
    Router::new()
        .nest("/registry", registry::router(Arc::clone(&exchange)))
        .fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(axum::middleware::from_fn(meter::request))
}

async fn accept(listener: &TcpListener, cancel: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    connection_max: Duration,
    cancel: &CancellationToken,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_READ_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended_with(ended),
        () = cancel.cancelled() => {}
        () = tokio::time::sleep(connection_max) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A client that takes no bytes of its answer does not hold the door open.
    match tokio::time::timeout(DRAIN_MAX, connection).await {
        Ok(ended) => ended_with(ended),
        Err(_) => tracing::debug!("an HTTP connection is cut: its client did not take the answer"),
    }
}

fn ended_with(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
