//! Kroxylicious, the proxy that the hub is measured beside: mutual TLS on both sides, one broker behind it.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tempfile::TempDir;

use crate::hub::{Hub, free_ports, repository};
use crate::kafka::Kafka;
use crate::kept::Kept;

const START_MAX: Duration = Duration::from_secs(60);

/// The proxy's process, and the ports that it takes.
pub struct Kroxylicious {
    process: Kept,
    port: u16,
    _folder: TempDir,
}

impl Kroxylicious {
    /// Starts it before a cluster of one broker, with the certificates of a hub: its clients are the hub's. With a filter it
    /// decompresses and builds anew the record batches of every fetch.
    #[must_use]
    pub fn start(kafka: &Kafka, hub: &Hub, rebuilds_records: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The bootstrap's, and the one broker's.
        let port = loop {
            let port = free_ports(1)[0];
            if std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
                break port;
            }
        };
        let file = folder.path().join("kroxylicious.yaml");
        std::fs::write(&file, settings(kafka, hub, port, rebuilds_records)).unwrap();
        let jars = repository().join(".cache/kroxylicious");
        assert!(jars.join("ready").exists(), "Kroxylicious is not there: tests/setup bench");
        let mut java = Command::new("java");
        java.args(["-Xms1g", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(format!("{0}/*:{0}/classes", jars.display()))
            .arg("Measured")
            .arg(&file);
        let process = Kept::start(&java, folder.path(), "kroxylicious");
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "Kroxylicious does not start: {}", log(folder.path()));
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, port, _folder: folder }
    }

    /// A system's client of the proxy.
    #[must_use]
    pub fn client(&self, hub: &Hub, system: &str) -> ClientConfig {
        let mut client = hub.client(system);
        client.set("bootstrap.servers", format!("localhost:{}", self.port));
        client
    }

    /// The proxy's process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.process_id()
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("kroxylicious.log")).unwrap_or_default()
}

fn settings(kafka: &Kafka, hub: &Hub, port: u16, rebuilds_records: bool) -> String {
    let (certificate, key, authority) = kafka.certificate();
    let ca = hub.folder().join("ca");
    let (own_certificate, own_key, own_authority) =
        (ca.join("hub.pem"), ca.join("hub.key"), ca.join("ca.pem"));
    let filters = if rebuilds_records {
        "filterDefinitions:\n  - name: rebuild\n    type: RebuildRecords\ndefaultFilters: [rebuild]\n"
    } else {
        ""
    };
    format!(
        "{filters}virtualClusters:
  - name: measured
    targetCluster:
      bootstrapServers: {}
      tls:
        key: {{ certificateFile: {certificate:?}, privateKeyFile: {key:?} }}
        trust: {{ storeFile: {authority:?}, storeType: PEM }}
    gateways:
      - name: default
        portIdentifiesNode:
          bootstrapAddress: localhost:{port}
          nodeStartPort: {}
          nodeIdRanges: [{{ name: brokers, start: 1, end: 1 }}]
        tls:
          key: {{ certificateFile: {own_certificate:?}, privateKeyFile: {own_key:?} }}
          trust:
            storeFile: {own_authority:?}
            storeType: PEM
            trustOptions: {{ clientAuth: REQUIRED }}
",
        kafka.bootstrap_tls()[0],
        port + 1,
    )
}
