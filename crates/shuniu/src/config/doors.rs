//! The two doors that take connections.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{ConfigError, RecordStore, require};

/// Where clients reach one virtual broker, which is the cluster's broker of that id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualBroker {
    /// The broker's id in the cluster.
    pub node: i32,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Its name, as clients are told; the hub's certificate must carry it.
    pub host: String,
    /// Its port, as clients are told.
    pub port: u16,
}

/// The Kafka door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The name of the virtual broker, as clients are told; the hub's certificate must carry it.
    pub host: String,
    /// The port of the virtual broker, as clients are told.
    pub port: u16,
    /// The virtual brokers of an Apache Kafka cluster, one for each of its brokers: instead of the three above.
    pub brokers: Vec<VirtualBroker>,
    /// Connections at one time.
    pub connections_max: usize,
    /// Connections of one system at one time.
    pub connections_per_system_max: usize,
    /// For a TLS handshake to be over.
    pub handshake_seconds: u64,
    /// Without a request, after which a connection is closed.
    pub idle_seconds: u64,
    /// For a client to take the next bytes of an answer.
    pub write_seconds: u64,
    /// For a request to arrive, once it has begun.
    pub frame_seconds: u64,
    /// For the answer under way, when the hub shuts down.
    pub drain_seconds: u64,
    /// The largest Produce request.
    pub produce_bytes_max: usize,
    /// What requests of all clients may take of memory at once; more wait.
    pub frames_bytes_max: usize,
    /// What requests of one system may take of it.
    pub frames_bytes_per_system_max: usize,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9093)),
            host: "localhost".into(),
            port: 9093,
            brokers: Vec::new(),
            connections_max: 2_000,
            connections_per_system_max: 200,
            handshake_seconds: 10,
            idle_seconds: 600,
            write_seconds: 60,
            frame_seconds: 60,
            drain_seconds: 5,
            produce_bytes_max: 16 << 20,
            frames_bytes_max: 256 << 20,
            frames_bytes_per_system_max: 64 << 20,
        }
    }
}

impl Gateway {
    pub(super) fn check(&self, store: RecordStore) -> Result<(), ConfigError> {
        let is_host = |host: &str| (1..=255).contains(&host.len()) && !host.contains(char::is_whitespace);
        require(is_host(&self.host), "gateway.host", "a host name of at most 255 characters")?;
        require(self.port > 0, "gateway.port", "1 to 65535")?;
        match store {
            RecordStore::Engine => {
                require(self.brokers.is_empty(), "gateway.brokers", "left out unless records.store is kafka")?
            }
            RecordStore::Kafka => require(
                (1..=100).contains(&self.brokers.len()),
                "gateway.brokers",
                "given where records.store is kafka: one [[gateway.brokers]] for each broker of the cluster",
            )?,
        }
        for (at, broker) in self.brokers.iter().enumerate() {
            require(
                broker.node >= 0
                    && is_host(&broker.host)
                    && broker.port > 0
                    && self.brokers.iter().take(at).all(|other| {
                        other.node != broker.node
                            && other.listen != broker.listen
                            && (&other.host, other.port) != (&broker.host, broker.port)
                    }),
                "gateway.brokers",
                "brokers with their own node (0 or more), listen, and host with port each",
            )?;
        }
        require((1..=100_000).contains(&self.connections_max), "gateway.connections_max", "1 to 100000")?;
        require(
            (1..=self.connections_max).contains(&self.connections_per_system_max),
            "gateway.connections_per_system_max",
            "1 to gateway.connections_max",
        )?;
        require((1..=120).contains(&self.handshake_seconds), "gateway.handshake_seconds", "1 to 120")?;
        require((10..=86_400).contains(&self.idle_seconds), "gateway.idle_seconds", "10 to 86400")?;
        require((1..=600).contains(&self.write_seconds), "gateway.write_seconds", "1 to 600")?;
        require(
            (1 << 20..=256 << 20).contains(&self.produce_bytes_max),
            "gateway.produce_bytes_max",
            "1 MiB (1048576) to 256 MiB (268435456)",
        )?;
        require((1..=600).contains(&self.frame_seconds), "gateway.frame_seconds", "1 to 600")?;
        require((1..=600).contains(&self.drain_seconds), "gateway.drain_seconds", "1 to 600")?;
        require(
            (self.produce_bytes_max..=1 << 40).contains(&self.frames_bytes_max),
            "gateway.frames_bytes_max",
            "gateway.produce_bytes_max to 1 TiB (1099511627776)",
        )?;
        require(
            (self.produce_bytes_max..=self.frames_bytes_max).contains(&self.frames_bytes_per_system_max),
            "gateway.frames_bytes_per_system_max",
            "gateway.produce_bytes_max to gateway.frames_bytes_max",
        )
    }
}

/// The HTTP door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Connections at one time.
    pub connections_max: usize,
    /// Connections of one system at one time.
    pub connections_per_system_max: usize,
    /// For a TLS handshake to be over.
    pub handshake_seconds: u64,
    /// After which a connection is closed, whatever goes over it.
    pub connection_seconds: u64,
    /// The largest body of a request.
    pub body_bytes_max: usize,
    /// Address and port of `/health/live` and `/health/ready`, without TLS: for this machine's own supervisor.
    pub health_listen: SocketAddr,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9443)),
            connections_max: 500,
            connections_per_system_max: 100,
            handshake_seconds: 10,
            connection_seconds: 300,
            body_bytes_max: 1 << 20,
            health_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9444)),
        }
    }
}

impl Api {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        require((1..=100_000).contains(&self.connections_max), "api.connections_max", "1 to 100000")?;
        require(
            (1..=self.connections_max).contains(&self.connections_per_system_max),
            "api.connections_per_system_max",
            "1 to api.connections_max",
        )?;
        require((1..=120).contains(&self.handshake_seconds), "api.handshake_seconds", "1 to 120")?;
        require((1..=3_600).contains(&self.connection_seconds), "api.connection_seconds", "1 to 3600")?;
        require(
            (1 << 10..=64 << 20).contains(&self.body_bytes_max),
            "api.body_bytes_max",
            "1 KiB (1024) to 64 MiB (67108864)",
        )?;
        require(
            self.health_listen.ip().is_loopback(),
            "api.health_listen",
            "an address of this machine alone",
        )
    }
}
