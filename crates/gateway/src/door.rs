//! Listening, and letting connections in.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use shuniu_exchange::{Budget, Caller, Exchange, Handshake, Handshakes, NodeId, Strangers, WholeBudget};
use shuniu_model::SystemId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Serving;
use crate::meter;

/// After a failed accept (out of file descriptors, as a rule) the door waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of a Kafka frame's length: no frame is as long as 16 MiB before somebody is known.
const KAFKA_FRAME: u8 = 0;

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
    /// Connections at once, of all clients. A quarter as many may be in their handshake beside them.
    pub connections_max: usize,
    /// Connections at once, of one system.
    pub connections_per_system_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may be silent.
    pub idle_max: Duration,
    /// How long a request may take to arrive, once it has begun.
    pub frame_max: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_max: Duration,
    /// How long a shutdown waits for the answer under way.
    pub drain_max: Duration,
    /// The largest Produce request.
    pub produce_bytes_max: usize,
    /// What requests of all clients may take of memory at once; more wait.
    pub frames_bytes_max: usize,
    /// What requests of one system may take of it.
    pub frames_bytes_per_system_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: BTreeMap::new(),
            connections_max: 10_000,
            connections_per_system_max: 1_000,
            handshake_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(600),
            frame_max: Duration::from_secs(60),
            write_max: Duration::from_secs(60),
            drain_max: Duration::from_secs(5),
            produce_bytes_max: 16 << 20,
            frames_bytes_max: 256 << 20,
            frames_bytes_per_system_max: 64 << 20,
        }
    }
}

/// The door of all virtual brokers.
pub struct Door {
    /// TLS 1.3 with client certificates, as each handshake finds it. Without resumption: a resumed session shows no
    /// certificate again, so one that has ended since would still be let in.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// The use cases.
    pub exchange: Arc<Exchange>,
    /// Bounds and names, as each connection finds them when it comes. Those of all connections together, the memory for
    /// requests and the names stay as they are at the start.
    pub options: watch::Receiver<Arc<Options>>,
}

impl Door {
    /// Serves connections until cancelled, each listener's for its virtual broker; those that are open end after the
    /// answer under way. The bounds hold for all listeners together.
    pub async fn serve(
        self,
        listeners: Vec<(NodeId, TcpListener)>,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) {
        let options = Arc::clone(&self.options.borrow());
        let handshakes = Handshakes::beside(options.connections_max);
        let held = Held::new(&options);
        let strangers = Strangers::default();
        tracker.spawn(strangers.clone().tell(cancel.clone()));
        let door = Arc::new(self);
        let watching =
            crate::brokers::watch(Arc::clone(&door.exchange), Arc::clone(&options), cancel.clone());
        tracker.spawn(watching);
        let accepting = listeners.into_iter().map(|(node, listener)| {
            let (door, handshakes, held) = (Arc::clone(&door), handshakes.clone(), held.clone());
            let who = (handshakes, strangers.clone());
            door.accept(node, listener, who, held, tracker.clone(), cancel.clone())
        });
        futures_util::future::join_all(accepting).await;
    }

    async fn accept(
        self: Arc<Self>,
        node: NodeId,
        listener: TcpListener,
        (handshakes, strangers): (Handshakes, Strangers),
        held: Held,
        tracker: TaskTracker,
        cancel: CancellationToken,
    ) {
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
            let handshake = handshakes.begin(source.ip());
            let (door, held, cancel) = (Arc::clone(&self), held.clone(), cancel.clone());
            let (of_connection, strangers) = (tracker.clone(), strangers.clone());
            tracker.spawn(async move {
                let came = (source, handshake);
                if let Err(refused) = door.admit(node, stream, came, &held, &of_connection, cancel).await {
                    refused.tell(source, &strangers);
                }
            });
        }
    }

    async fn admit(
        &self,
        node: NodeId,
        stream: TcpStream,
        (source, under_way): (SocketAddr, Handshake),
        held: &Held,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Result<(), Refused> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %source, "cannot switch off Nagle's algorithm");
        }
        let options = Arc::clone(&self.options.borrow());
        let stream = tokio::select! {
            // Nobody is known yet: nothing is lost.
            () = cancel.cancelled() => return Ok(()),
            () = under_way.crowded_out() => {
                Err("its address has most of the handshakes under way, and another came".to_owned())
            }
            handshake = tokio::time::timeout(options.handshake_max, self.handshake(stream)) => {
                handshake.unwrap_or_else(|_| Err("its TLS handshake took too long".to_owned()))
            }
        };
        let stream = stream.map_err(|reason| Refused::stranger("handshake-failed", reason))?;
        let caller = caller(&stream, source).map_err(|reason| Refused::stranger("not-a-system", reason))?;
        drop(under_way);
        let refused = |outcome, reason| Refused { outcome, system: Some(caller.system.clone()), reason };
        let _connection = held
            .connections
            .try_acquire()
            .map_err(|_| refused("too-many", "as many as allowed are open".to_owned()))?;
        let place = held
            .take(&caller.system, options.connections_per_system_max)
            .ok_or_else(|| refused("system-too-many", "its system has as many as allowed".to_owned()))?;
        let session = self.exchange.session(caller.clone(), node).await;
        let session = session.map_err(|closed| refused("unavailable", closed.to_string()))?;
        meter::DOOR.connection("served");
        let _open = meter::DOOR.open();
        let (caller, options, budget) = (&caller, options.as_ref(), place.budget.clone());
        Serving { session, caller, options, budget, tracker, cancel }.run(stream).await;
        Ok(())
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let mut first = [0];
        let seen = stream.peek(&mut first).await.map_err(|error| error.to_string())?;
        if seen == 0 {
            return Err("it was closed before a byte came".to_owned());
        }
        let [first] = first;
        match first {
            TLS_HANDSHAKE => {}
            KAFKA_FRAME => {
                return Err(
                    "it speaks Kafka in plain text: set security.protocol=SSL at the client".to_owned()
                );
            }
            letter if letter.is_ascii_uppercase() => {
                return Err("it speaks plain text, as HTTP does: this is the Kafka door".to_owned());
            }
            _ => return Err("it speaks neither TLS nor Kafka".to_owned()),
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.borrow()));
        acceptor.accept(stream).await.map_err(|error| format!("TLS: {error}"))
    }
}

/// A connection that is not served.
struct Refused {
    outcome: &'static str,
    /// `None` before it is known.
    system: Option<SystemId>,
    reason: String,
}

impl Refused {
    fn stranger(outcome: &'static str, reason: String) -> Self {
        Self { outcome, system: None, reason }
    }

    /// Counts it, and writes a line where its address has not had many.
    fn tell(self, source: SocketAddr, strangers: &Strangers) {
        let Self { outcome, system, reason } = self;
        meter::DOOR.connection(outcome);
        if !strangers.note(source.ip(), &reason) {
            return;
        }
        match system {
            None => tracing::info!(%source, "a connection is refused: {reason}"),
            Some(system) => tracing::warn!(%source, %system, "a connection is refused: {reason}"),
        }
    }
}

fn caller(stream: &TlsStream<TcpStream>, source: SocketAddr) -> Result<Caller, String> {
    let (_, connection) = stream.get_ref();
    let chain = connection.peer_certificates().ok_or_else(|| "it showed no certificate".to_owned())?;
    Caller::of_chain(chain, source).map_err(|error| error.to_string())
}

/// What each system holds.
#[derive(Clone)]
struct Held {
    /// Places for connections whose caller is known.
    connections: Arc<Semaphore>,
    systems: Arc<Mutex<HashMap<SystemId, (usize, Budget)>>>,
    frames: WholeBudget,
    frames_bytes_max: usize,
}

/// One connection of a system; given back when dropped.
struct Place {
    held: Held,
    system: SystemId,
    budget: Budget,
}

impl Held {
    fn new(options: &Options) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(options.connections_max)),
            systems: Arc::default(),
            frames: Budget::of_all(options.frames_bytes_max),
            frames_bytes_max: options.frames_bytes_per_system_max,
        }
    }

    fn take(&self, system: &SystemId, connections_max: usize) -> Option<Place> {
        let mut systems = self.systems.lock().unwrap_or_else(PoisonError::into_inner);
        if systems.get(system).map_or(0, |(count, _)| *count) >= connections_max {
            return None;
        }
        let (count, budget) =
            systems.entry(system.clone()).or_insert_with(|| (0, self.frames.of_one(self.frames_bytes_max)));
        *count += 1;
        Some(Place { held: self.clone(), system: system.clone(), budget: budget.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut systems = self.held.systems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = systems.get_mut(&self.system) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                systems.remove(&self.system);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_one_system_cannot_take_every_connection() {
        let held = Held::new(&Options::default());
        let (hall, bank) = (SystemId::parse("hall").unwrap(), SystemId::parse("bank").unwrap());
        let one = held.take(&hall, 1).unwrap();
        assert!(held.take(&hall, 1).is_none());
        assert!(held.take(&bank, 1).is_some());
        drop(one);
        assert!(held.take(&hall, 1).is_some());
    }
}
