//! Listening, and letting connections in.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use shuniu_exchange::{Caller, Exchange, NodeId};
use shuniu_model::SystemId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;

/// After a failed accept (out of file descriptors, as a rule) the door waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where clients reach a virtual broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The name that is in the hub's certificate.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Bounds and names of the door.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients reach each virtual broker.
    pub brokers: BTreeMap<NodeId, Broker>,
    /// Connections at once, of all clients.
    pub connections_max: usize,
    /// Connections at once, of one system.
    pub connections_per_system_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may be silent.
    pub idle_max: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_max: Duration,
    /// The largest Produce request.
    pub produce_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: BTreeMap::new(),
            connections_max: 10_000,
            connections_per_system_max: 1_000,
            handshake_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(600),
            write_max: Duration::from_secs(60),
            produce_bytes_max: 16 << 20,
        }
    }
}

/// The door of one virtual broker.
pub struct Door {
    /// Which virtual broker it is.
    pub node: NodeId,
    /// TLS 1.3 with client certificates.
    pub tls: Arc<ServerConfig>,
    /// The use cases.
    pub exchange: Arc<Exchange>,
    /// Bounds and names.
    pub options: Arc<Options>,
}

impl Door {
    /// Serves connections until cancelled; those that are open end after the answer under way.
    pub async fn serve(self, listener: TcpListener, tracker: TaskTracker, cancel: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.options.connections_max));
        let held = Held::default();
        let door = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, source) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; pausing");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%source, "a connection is refused: as many as allowed are open");
                continue;
            };
            let (door, held, cancel) = (Arc::clone(&door), held.clone(), cancel.clone());
            tracker.spawn(async move {
                door.admit(stream, source, &held, cancel).await;
                drop(place);
            });
        }
    }

    async fn admit(&self, stream: TcpStream, source: SocketAddr, held: &Held, cancel: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %source, "cannot switch off Nagle's algorithm");
        }
        let handshake = tokio::time::timeout(self.options.handshake_max, self.handshake(stream, source));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(reason)) => {
                tracing::info!(%source, "a connection is refused: {reason}");
                return;
            }
            Err(_) => {
                tracing::info!(%source, "a connection is refused: its TLS handshake took too long");
                return;
            }
        };
        let caller = match caller(&stream, source) {
            Ok(caller) => caller,
            Err(reason) => {
                tracing::info!(%source, "a connection is refused: {reason}");
                return;
            }
        };
        let Some(_place) = held.take(&caller.system, self.options.connections_per_system_max) else {
            tracing::warn!(%source, system = %caller.system, "a connection is refused: its system has as many as allowed");
            return;
        };
        match self.exchange.session(caller.clone(), self.node).await {
            Ok(session) => connection::run(stream, session, &caller, &self.options, cancel).await,
            Err(closed) => {
                tracing::warn!(system = %caller.system, %source, "a connection is refused: {closed}")
            }
        }
    }

    async fn handshake(&self, stream: TcpStream, source: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
        let mut first = [0];
        let seen = stream.peek(&mut first).await.map_err(|error| error.to_string())?;
        if seen == 0 {
            return Err("it was closed before a byte came".to_owned());
        }
        if first != [TLS_HANDSHAKE] {
            return Err("it speaks plain text: set security.protocol=SSL at the client".to_owned());
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        acceptor.accept(stream).await.map_err(|error| format!("TLS with {source}: {error}"))
    }
}

fn caller(stream: &TlsStream<TcpStream>, source: SocketAddr) -> Result<Caller, String> {
    let (_, connection) = stream.get_ref();
    let certificate = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or_else(|| "it showed no certificate".to_owned())?;
    Caller::of_certificate(certificate, source).map_err(|error| error.to_string())
}

/// How many connections each system has.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<HashMap<SystemId, usize>>>);

/// One connection of a system; given back when dropped.
struct Place {
    held: Held,
    system: SystemId,
}

impl Held {
    fn take(&self, system: &SystemId, max: usize) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(system.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { held: self.clone(), system: system.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.system) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.system);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_one_system_cannot_take_every_connection() {
        let held = Held::default();
        let (hall, bank) = (SystemId::parse("hall").unwrap(), SystemId::parse("bank").unwrap());
        let one = held.take(&hall, 1).unwrap();
        assert!(held.take(&hall, 1).is_none());
        assert!(held.take(&bank, 1).is_some());
        drop(one);
        assert!(held.take(&hall, 1).is_some());
    }
}
