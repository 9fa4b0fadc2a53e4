//! An Apache Kafka cluster: brokers found by Metadata, connections over TLS, or over plain TCP on this machine alone.

mod connection;
mod dial;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shuniu_wire::messages::{MetadataRequest, MetadataResponse};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::upstream::{BoxFuture, Connection, Node, NodeId, Upstream, UpstreamError};
use connection::KafkaConnection;

/// How the hub reaches its cluster.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Brokers to ask first, each `host:port`.
    pub bootstrap: Vec<String>,
    /// Authority and client certificate. `None` is for brokers on this machine alone: any other is refused then.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// What the hub calls itself to the brokers.
    pub client_id: String,
    /// For a connection to be made, TLS and the first question included.
    pub connect_max: Duration,
    /// For an answer, beyond what the request itself asks to wait. A connection that is later is given up.
    pub answer_max: Duration,
    /// After which the list of brokers is asked for again.
    pub nodes_max: Duration,
    /// Requests of one connection without an answer yet.
    pub in_flight_max: usize,
    /// The longest answer.
    pub answer_bytes_max: usize,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            tls: None,
            client_id: "shuniu".to_owned(),
            connect_max: Duration::from_secs(3),
            answer_max: Duration::from_secs(30),
            nodes_max: Duration::from_secs(30),
            in_flight_max: 64,
            answer_bytes_max: 64 << 20,
        }
    }
}

/// An Apache Kafka cluster as the record store.
///
/// A connection that breaks fails all its calls with [`UpstreamError::Unreachable`] and stays broken; whoever holds it
/// connects anew. After any failure to connect the list of brokers is asked for again.
pub struct KafkaCluster {
    options: Arc<KafkaOptions>,
    tracker: TaskTracker,
    brokers: Mutex<Brokers>,
}

/// The brokers as the cluster last told.
#[derive(Default)]
struct Brokers {
    addresses: BTreeMap<NodeId, Address>,
    asked_at: Option<Instant>,
    /// Those that could not be reached last: they are asked last.
    failing: BTreeSet<NodeId>,
}

#[derive(Clone)]
struct Address {
    host: String,
    port: u16,
    rack: Option<String>,
}

type Addresses<'a> = Vec<(&'a NodeId, &'a Address)>;

impl Brokers {
    /// Those that could be reached last, and those that could not.
    fn by_reach(&self) -> (Addresses<'_>, Addresses<'_>) {
        self.addresses.iter().partition(|(id, _)| !self.failing.contains(id))
    }
}

impl KafkaCluster {
    /// A cluster; nothing is asked of it yet. Each connection's tasks run on `tracker`, and end when it is dropped.
    #[must_use]
    pub fn new(options: KafkaOptions, tracker: TaskTracker) -> Self {
        Self { options: Arc::new(options), tracker, brokers: Mutex::default() }
    }

    async fn nodes_now(&self) -> Result<Vec<Node>, UpstreamError> {
        let mut brokers = self.brokers.lock().await;
        self.refresh(&mut brokers).await?;
        let (good, failing) = brokers.by_reach();
        let node = |(id, address): (&NodeId, &Address)| Node { id: *id, rack: address.rack.clone() };
        Ok(good.into_iter().chain(failing).map(node).collect())
    }

    async fn connect_to(&self, node: NodeId) -> Result<Arc<dyn Connection>, UpstreamError> {
        let address = {
            let mut brokers = self.brokers.lock().await;
            if !brokers.addresses.contains_key(&node) {
                brokers.asked_at = None;
            }
            self.refresh(&mut brokers).await?;
            brokers.addresses.get(&node).cloned().ok_or(UpstreamError::NoSuchNode(node))?
        };
        let connected = self.open(&address.host, address.port).await;
        let mut brokers = self.brokers.lock().await;
        match connected {
            Ok(connection) => {
                brokers.failing.remove(&node);
                Ok(Arc::new(connection))
            }
            Err(error) => {
                brokers.failing.insert(node);
                // It may be elsewhere, or gone.
                brokers.asked_at = None;
                Err(error)
            }
        }
    }

    /// Asks for the brokers when what is known is too old: those that are known, then the first addresses.
    async fn refresh(&self, brokers: &mut Brokers) -> Result<(), UpstreamError> {
        if brokers.asked_at.is_some_and(|asked_at| asked_at.elapsed() < self.options.nodes_max) {
            return Ok(());
        }
        let (good, failing) = brokers.by_reach();
        let of = |(_, address): (&NodeId, &Address)| (address.host.clone(), address.port);
        let mut asked: Vec<(String, u16)> = good.into_iter().map(of).collect();
        for address in &self.options.bootstrap {
            let address = dial::split(address)?;
            if !asked.contains(&address) {
                asked.push(address);
            }
        }
        for address in failing.into_iter().map(of) {
            if !asked.contains(&address) {
                asked.push(address);
            }
        }
        let mut failures = Vec::new();
        for (host, port) in asked {
            match self.ask_brokers(&host, port).await {
                Ok(addresses) => {
                    brokers.failing.retain(|id| addresses.contains_key(id));
                    brokers.addresses = addresses;
                    brokers.asked_at = Some(Instant::now());
                    return Ok(());
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(UpstreamError::Unreachable {
            detail: format!("no broker says which brokers there are: {}", failures.join("; ")),
        })
    }

    async fn ask_brokers(&self, host: &str, port: u16) -> Result<BTreeMap<NodeId, Address>, UpstreamError> {
        let connection = self.open(host, port).await?;
        let unreachable = |what: &str| UpstreamError::Unreachable { detail: format!("{host}:{port} {what}") };
        let request =
            MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false);
        let answer = tokio::time::timeout(self.options.connect_max, connection.call(request.into())).await;
        let answer = answer.map_err(|_| unreachable("does not say which brokers there are"))??;
        let answer = MetadataResponse::try_from(answer).map_err(|_| unreachable("gave another answer"))?;
        let mut addresses = BTreeMap::new();
        for broker in answer.brokers {
            let Ok(port) = u16::try_from(broker.port) else { continue };
            let rack = broker.rack.map(|rack| rack.to_string());
            addresses.insert(NodeId(broker.node_id.0), Address { host: broker.host.to_string(), port, rack });
        }
        if addresses.is_empty() { Err(unreachable("knows of no broker")) } else { Ok(addresses) }
    }

    async fn open(&self, host: &str, port: u16) -> Result<KafkaConnection, UpstreamError> {
        let within = self.options.connect_max;
        let opened = async {
            let stream = dial::dial(host, port, self.options.tls.clone()).await?;
            KafkaConnection::open(stream, format!("{host}:{port}"), Arc::clone(&self.options), &self.tracker)
                .await
        };
        tokio::time::timeout(within, opened).await.unwrap_or_else(|_| {
            let detail = format!("{host}:{port} was not connected within {} ms", within.as_millis());
            Err(UpstreamError::Unreachable { detail })
        })
    }
}

impl Upstream for KafkaCluster {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, UpstreamError>> {
        Box::pin(self.nodes_now())
    }

    fn connect(&self, node: NodeId) -> BoxFuture<'_, Result<Arc<dyn Connection>, UpstreamError>> {
        Box::pin(self.connect_to(node))
    }
}
