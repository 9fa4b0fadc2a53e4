//! The record store that the configuration names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use shuniu_broker::{KafkaCluster, KafkaOptions, Upstream};
use shuniu_engine::{Engine, EngineConfig};
use shuniu_model::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::{TlsError, authority, certificates, private_key};
use super::{ServeError, close};
use crate::config::{self, Config, RecordStore, VirtualBroker};

/// One machine: records have no other replica.
const ENGINE_REPLICATION: u16 = 1;

/// The record store, open.
pub(crate) struct Records {
    pub(crate) upstream: Arc<dyn Upstream>,
    /// Replicas of each partition that the hub makes.
    pub(crate) replication: u16,
    pub(super) engine: Option<Arc<Engine>>,
    tracker: TaskTracker,
}

impl Records {
    pub(crate) async fn open(config: &Config, clock: &Clock) -> Result<Self, ServeError> {
        let tracker = TaskTracker::new();
        let folder = &config.hub.data_folder;
        Ok(match config.records.store {
            RecordStore::Engine => {
                // The engine's lock on its folder is what keeps a second hub out: it comes before the directory is
                // touched.
                let settings = engine_config(folder, &config.engine);
                let engine = Engine::open(settings, Arc::clone(clock), tracker.clone()).await;
                let engine = Arc::new(engine.map_err(ServeError::engine)?);
                let upstream = Arc::clone(&engine) as _;
                Self { upstream, replication: ENGINE_REPLICATION, engine: Some(engine), tracker }
            }
            RecordStore::Kafka => {
                let cluster = KafkaCluster::new(kafka_options(folder, &config.kafka)?, tracker.clone());
                let replication = config.kafka.replication;
                Self { upstream: Arc::new(cluster), replication, engine: None, tracker }
            }
        })
    }

    pub(crate) async fn close(self, patience: Duration) {
        let Self { upstream, engine, tracker, .. } = self;
        if let Some(engine) = engine {
            engine.close().await;
        }
        drop(upstream);
        close(&tracker, &CancellationToken::new(), patience, "the record store").await;
    }
}

/// Where each virtual broker listens and is reached: virtual broker n is the record store's broker n.
pub(super) fn virtual_brokers(config: &Config) -> Vec<VirtualBroker> {
    let gateway = &config.gateway;
    match config.records.store {
        RecordStore::Engine => vec![VirtualBroker {
            node: shuniu_engine::NODE.0,
            listen: gateway.listen,
            host: gateway.host.clone(),
            port: gateway.port,
        }],
        RecordStore::Kafka => gateway.brokers.clone(),
    }
}

fn engine_config(folder: &Path, config: &config::Engine) -> EngineConfig {
    let mut engine = EngineConfig::new(folder.join("records"));
    engine.segment_bytes = config.segment_bytes;
    engine.initial_rebalance_delay = Duration::from_millis(config.rebalance_delay_milliseconds);
    engine
}

/// How the cluster is reached.
fn kafka_options(folder: &Path, config: &config::Kafka) -> Result<KafkaOptions, ServeError> {
    let tls = if config.tls { Some(client_tls(folder, config).map_err(ServeError::KafkaTls)?) } else { None };
    Ok(KafkaOptions {
        bootstrap: config.bootstrap.clone(),
        tls,
        connect_max: Duration::from_millis(config.connect_milliseconds),
        answer_max: Duration::from_secs(config.answer_seconds),
        nodes_max: Duration::from_secs(config.nodes_seconds),
        answer_bytes_max: config.answer_bytes_max,
        ..KafkaOptions::default()
    })
}

/// The hub's own certificate for the cluster, and the one authority that it believes.
fn client_tls(folder: &Path, config: &config::Kafka) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = authority(folder.join(&config.authority))?;
    let chain = certificates(&folder.join(&config.certificate))?;
    let key = private_key(folder.join(&config.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map_err(TlsError::Fit)?;
    Ok(Arc::new(client))
}
