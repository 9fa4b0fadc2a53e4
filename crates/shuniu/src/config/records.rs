//! Where records are kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// A record store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStore {
    /// Files in the data folder, for one hub.
    Engine,
    /// An Apache Kafka cluster, for any number of hubs.
    Kafka,
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Records {
    /// The record store.
    pub store: RecordStore,
}

impl Default for Records {
    fn default() -> Self {
        Self { store: RecordStore::Engine }
    }
}

/// The Apache Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to ask first, each `host:port`.
    pub bootstrap: Vec<String>,
    /// Whether the cluster is spoken to over mutual TLS. Without it, brokers on this machine alone are spoken to.
    pub tls: bool,
    /// The hub's certificate for the cluster, with its chain.
    pub certificate: PathBuf,
    /// Its private key, readable by its owner alone.
    pub key: PathBuf,
    /// The authority of the brokers' certificates.
    pub authority: PathBuf,
    /// Replicas of each partition.
    pub replication: u16,
    /// For a connection to a broker to be made.
    pub connect_milliseconds: u64,
    /// For an answer, beyond what the request itself asks to wait.
    pub answer_seconds: u64,
    /// After which the list of brokers is asked for again.
    pub nodes_seconds: u64,
    /// The longest answer.
    pub answer_bytes_max: usize,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            tls: true,
            certificate: "kafka/hub.pem".into(),
            key: "kafka/hub.key".into(),
            authority: "kafka/ca.pem".into(),
            replication: 3,
            connect_milliseconds: 3_000,
            answer_seconds: 30,
            nodes_seconds: 30,
            answer_bytes_max: 64 << 20,
        }
    }
}

impl Kafka {
    pub(super) fn check(&self, records: &Records, fetch_bytes_max: u32) -> Result<(), ConfigError> {
        if records.store == RecordStore::Kafka {
            require(!self.bootstrap.is_empty(), "kafka.bootstrap", "given where records.store is kafka")?;
        }
        require(self.bootstrap.len() <= 100, "kafka.bootstrap", "at most 100 addresses")?;
        let address = |it: &String| {
            it.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        require(self.bootstrap.iter().all(address), "kafka.bootstrap", "addresses, each host:port")?;
        require((1..=9).contains(&self.replication), "kafka.replication", "1 to 9")?;
        require(
            (100..=60_000).contains(&self.connect_milliseconds),
            "kafka.connect_milliseconds",
            "100 to 60000",
        )?;
        require((1..=300).contains(&self.answer_seconds), "kafka.answer_seconds", "1 to 300")?;
        require((1..=3_600).contains(&self.nodes_seconds), "kafka.nodes_seconds", "1 to 3600")?;
        require(
            (1 << 20..=1 << 30).contains(&self.answer_bytes_max)
                && u64::try_from(self.answer_bytes_max)
                    .is_ok_and(|bytes| bytes / 2 >= u64::from(fetch_bytes_max)),
            "kafka.answer_bytes_max",
            "1 MiB (1048576) to 1 GiB (1073741824), and at least twice exchange.fetch_bytes_max",
        )
    }
}
