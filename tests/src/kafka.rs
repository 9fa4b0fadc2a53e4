//! A real Apache Kafka: brokers that are controllers too (KRaft), on this machine's loopback, in a folder of its own.
//!
//! No broker outlives the tests.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::runtime::Handle;

use crate::disk::SmallDisk;
use crate::hub::{free_ports, repository};
use crate::kept::{Kept, signal};
use crate::network::Network;
use crate::relay::{Link, relay};
use crate::watched::Watched;

/// The newest Kafka that `tests/setup` fetches.
pub const KAFKA: &str = "4.4.0";
/// The last line of Kafka before it.
pub const KAFKA_3: &str = "3.9.1";

const START_MAX: Duration = Duration::from_secs(90);
/// Of a broker's own disk.
const DISK: &str = "2g";
const CLUSTER_ID: &str = "c2h1bml1LXRlc3RzLWthZg";

/// Starts soon and takes little.
const QUICK: &[&str] = &["-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// As Kafka's own scripts start it.
const AS_SHIPPED: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
];

/// A cluster of one to three brokers, with the ids 1 to 3.
pub struct Kafka {
    folder: PathBuf,
    version: &'static str,
    machine: &'static [&'static str],
    brokers: Vec<Mutex<Broker>>,
    /// The port of a tap before the one broker, if it is watched.
    tap: Option<u16>,
    /// Between the brokers, if it can be cut.
    network: Option<Network>,
    /// Removes the folder and the network when its pipe closes.
    _cleaner: Child,
}

struct Broker {
    /// Without TLS, for this machine alone.
    plain: u16,
    /// With mutual TLS.
    tls: u16,
    controller: u16,
    /// For the other brokers.
    peer: u16,
    /// With mutual TLS for each hub on its own: where the broker listens, and where it says that it does.
    hubs: Vec<(u16, u16)>,
    /// Its partitions are on a small file system of their own.
    disk: Option<SmallDisk>,
    running: Option<Kept>,
}

impl Kafka {
    /// Starts a cluster of the newest version and waits until every broker serves.
    #[must_use]
    pub fn start(brokers: usize) -> Self {
        Self::start_version(KAFKA, brokers)
    }

    /// Starts a cluster of a version that `tests/setup` fetches.
    #[must_use]
    pub fn start_version(version: &'static str, brokers: usize) -> Self {
        Self::make(version, QUICK, brokers, 0, None, None)
    }

    /// Starts one broker of the newest version that is reached through a tap, without TLS.
    #[must_use]
    pub fn start_watched(watched: &Watched) -> Self {
        Self::make(KAFKA, QUICK, 1, 0, Some(watched), None)
    }

    /// Starts a cluster with a way of its own from each of so many hubs to each broker: see [`Kafka::ways`]. Where that is
    /// allowed, the brokers are in a network of their own, and each on a small disk of its own.
    #[must_use]
    pub(crate) fn start_for_hubs(
        version: &'static str,
        brokers: usize,
        hubs: usize,
        runtime: &Handle,
    ) -> Self {
        Self::make(version, QUICK, brokers, hubs, None, Some(runtime))
    }

    /// Starts one broker of the newest version to measure, with ways of so many users: see [`Kafka::ways`].
    #[must_use]
    pub fn start_to_measure(users: usize) -> Self {
        Self::make(KAFKA, AS_SHIPPED, 1, users, None, None)
    }

    fn make(
        version: &'static str,
        machine: &'static [&'static str],
        brokers: usize,
        hubs: usize,
        watched: Option<&Watched>,
        runtime: Option<&Handle>,
    ) -> Self {
        assert!((1..=3).contains(&brokers));
        let folder = tempfile::Builder::new().prefix("shuniu-kafka-").tempdir().unwrap().keep();
        let network = runtime.and_then(|_| Network::make(brokers));
        let remove_network = network.as_ref().map_or(String::new(), |network| network.removal(brokers));
        let clean = format!(
            "cat >/dev/null; sleep 1; umount -l \"$0\"/data-* 2>/dev/null; rm -rf \"$0\"; {remove_network}"
        );
        let cleaner = Command::new("sh")
            .args(["-c", &clean])
            .arg(&folder)
            // What a terminal tells this program by Ctrl-C is not for those that clean up behind it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        make_certificates(&folder);
        let each = 4 + 2 * hubs;
        let ports = free_ports(brokers * each);
        let tap = watched.map(|watched| watched.clone().start(ports[0]));
        let brokers = ports
            .chunks(each)
            .map(|ports| {
                let hubs = ports[4..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
                Mutex::new(Broker {
                    plain: ports[0],
                    tls: ports[1],
                    controller: ports[2],
                    peer: ports[3],
                    hubs,
                    disk: None,
                    running: None,
                })
            })
            .collect();
        let cluster = Self { folder, version, machine, brokers, tap, network, _cleaner: cleaner };
        for id in cluster.ids() {
            if let Some(runtime) = runtime {
                let partitions = cluster.partitions(id);
                std::fs::create_dir(&partitions).unwrap();
                cluster.broker(id).disk = SmallDisk::on(&partitions, DISK);
                cluster.pass_on(id, runtime);
            }
            cluster.format(id);
        }
        for id in cluster.ids() {
            cluster.spawn(id);
        }
        cluster.wait_ready(cluster.brokers.len());
        cluster
    }

    /// One broker for all tests of the binary that need no cluster of their own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(1))
    }

    /// The brokers' ids.
    pub fn ids(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.brokers.len()
    }

    /// Addresses without TLS, one for each broker.
    #[must_use]
    pub fn bootstrap(&self) -> Vec<String> {
        self.ids().map(|id| format!("127.0.0.1:{}", self.broker(id).plain)).collect()
    }

    /// The tap's port, if the broker is watched.
    pub(crate) fn tap(&self) -> Option<u16> {
        self.tap
    }

    /// Addresses with mutual TLS, one for each broker.
    #[must_use]
    pub fn bootstrap_tls(&self) -> Vec<String> {
        self.ids().map(|id| format!("localhost:{}", self.broker(id).tls)).collect()
    }

    /// The ways of a hub, counted from 0, to each broker: where the broker listens for it, and the port on this machine where it
    /// says that it does. Whoever starts the hub passes connections on from the second to the first.
    #[must_use]
    pub fn ways(&self, hub: usize) -> Vec<(SocketAddr, u16)> {
        let way = |id| {
            let (listen, told) = self.broker(id).hubs[hub];
            ((self.address(id), listen).into(), told)
        };
        self.ids().map(way).collect()
    }

    /// Where a broker listens.
    fn address(&self, id: usize) -> Ipv4Addr {
        self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| network.address(id))
    }

    /// Passes on what comes to this machine's loopback for a broker that is in a network of its own.
    fn pass_on(&self, id: usize, runtime: &Handle) {
        if self.network.is_none() {
            return;
        }
        let broker = self.broker(id);
        let ports = [broker.plain, broker.tls];
        drop(broker);
        for port in ports {
            let link = Link::to((self.address(id), port).into());
            relay(runtime, (Ipv4Addr::LOCALHOST, port).into(), vec![link]);
        }
    }

    /// Whether [`Kafka::set_cut`] can be done: it needs the right to make network namespaces.
    #[must_use]
    pub fn has_own_network(&self) -> bool {
        self.network.is_some()
    }

    /// Drops what goes between two brokers, or lets it through again. Everybody else reaches both.
    pub fn set_cut(&self, between: (usize, usize), cut: bool) {
        self.network.as_ref().unwrap().set_cut(between, cut);
    }

    /// Whether [`Kafka::set_full`] can be done: it needs the right to mount.
    #[must_use]
    pub fn has_own_disk(&self, id: usize) -> bool {
        self.broker(id).disk.is_some()
    }

    /// Fills a broker's disk, or frees it again. The broker ends by itself once it finds out.
    pub fn set_full(&self, id: usize, full: bool) {
        let broker = self.broker(id);
        let disk = broker.disk.as_ref().unwrap();
        if full { disk.fill() } else { disk.free() }
    }

    /// Certificate and key that the brokers let in, and the authority they are of (PEM files).
    #[must_use]
    pub fn certificate(&self) -> (PathBuf, PathBuf, PathBuf) {
        let at = |name| self.folder.join(name);
        (at("client.pem"), at("client.key"), at("authority.pem"))
    }

    /// Certificate and key of an authority that the brokers do not know (PEM files).
    #[must_use]
    pub fn strange_certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("stranger.pem"), self.folder.join("stranger.key"))
    }

    /// A plain client of the cluster itself, past every hub.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap().join(","))
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("log_level", "0");
        config
    }

    /// Ends a broker in order: what it knows of producers is on its disk then.
    pub fn stop(&self, id: usize) {
        let running = self.broker(id).running.take().unwrap();
        let pid = running.process_id();
        signal("-TERM", pid);
        // The process that started it kills it when it is let go. Of one that has ended nothing is left to read.
        let deadline = Instant::now() + START_MAX;
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(Instant::now() < deadline, "broker {id} does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(running);
    }

    /// As [`Kafka::client`], over mutual TLS.
    #[must_use]
    pub fn client_tls(&self) -> ClientConfig {
        let (certificate, key, authority) = self.certificate();
        let mut config = self.client();
        config
            .set("bootstrap.servers", self.bootstrap_tls().join(","))
            .set("security.protocol", "ssl")
            .set("ssl.ca.location", authority.to_str().unwrap())
            .set("ssl.certificate.location", certificate.to_str().unwrap())
            .set("ssl.key.location", key.to_str().unwrap());
        config
    }

    /// A broker's process.
    #[must_use]
    pub fn process_id(&self, id: usize) -> u32 {
        self.broker(id).running.as_ref().unwrap().process_id()
    }

    /// Ends a broker with SIGKILL.
    pub fn kill(&self, id: usize) {
        self.broker(id).running.take();
    }

    /// Starts a broker that was ended, and waits until it serves.
    pub fn restart(&self, id: usize) {
        self.spawn(id);
        let running = self.ids().filter(|id| self.broker(*id).running.is_some()).count();
        self.wait_ready(running);
    }

    /// Holds a broker's process: its connections stay, and nothing answers.
    pub fn pause(&self, id: usize) {
        signal("-STOP", self.process_id(id));
    }

    /// Lets a held broker go on.
    pub fn resume(&self, id: usize) {
        signal("-CONT", self.process_id(id));
    }

    /// The leader of a partition, as the cluster says.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<usize> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let topic = metadata.topics().first()?;
        let partition = topic.partitions().iter().find(|it| it.id() == partition)?;
        usize::try_from(partition.leader()).ok()
    }

    fn broker(&self, id: usize) -> MutexGuard<'_, Broker> {
        self.brokers[id - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn java(&self) -> Command {
        let jars = repository().join(".cache/kafka").join(self.version);
        assert!(jars.join("ready").exists(), "Apache Kafka {} is not there: tests/setup tests", self.version);
        let mut command = Command::new("java");
        command.args(self.machine).arg("-cp").arg(jars.join("*")).current_dir(&self.folder);
        command
    }

    fn format(&self, id: usize) {
        std::fs::write(self.properties(id), self.settings(id)).unwrap();
        let output = self
            .java()
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(self.properties(id))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn properties(&self, id: usize) -> PathBuf {
        self.folder.join(format!("broker-{id}.properties"))
    }

    fn settings(&self, id: usize) -> String {
        let broker = self.broker(id);
        let (plain, tls, controller, peer) = (broker.plain, broker.tls, broker.controller, broker.peer);
        let hubs = broker.hubs.clone();
        drop(broker);
        let own = self.address(id);
        let (mut listeners, mut told_to_hubs, mut protocols) = (String::new(), String::new(), String::new());
        for (number, (listen, told)) in hubs.into_iter().enumerate() {
            write!(listeners, ",HUB{number}://{own}:{listen}").unwrap();
            write!(told_to_hubs, ",HUB{number}://localhost:{told}").unwrap();
            write!(protocols, ",HUB{number}:SSL").unwrap();
        }
        let folder = self.folder.display();
        let advertised = self.tap.unwrap_or(plain);
        let replicas = self.brokers.len();
        let in_sync = replicas.saturating_sub(1).max(1);
        let voters: Vec<String> = self
            .ids()
            .map(|id| format!("{id}@{}:{}", self.address(id), self.broker(id).controller))
            .collect();
        let mut text = String::new();
        for (key, value) in [
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", id.to_string()),
            ("controller.quorum.voters", voters.join(",")),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            (
                "listeners",
                format!(
                    "PLAIN://{own}:{plain},TLS://{own}:{tls},PEER://{own}:{peer},CONTROLLER://{own}:{controller}{listeners}"
                ),
            ),
            (
                "advertised.listeners",
                format!(
                    "PLAIN://127.0.0.1:{advertised},TLS://localhost:{tls},PEER://{own}:{peer}{told_to_hubs}"
                ),
            ),
            (
                "listener.security.protocol.map",
                format!("PLAIN:PLAINTEXT,TLS:SSL,PEER:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}"),
            ),
            ("inter.broker.listener.name", "PEER".to_owned()),
            ("ssl.client.auth", "required".to_owned()),
            ("ssl.keystore.type", "PEM".to_owned()),
            ("ssl.keystore.location", format!("{folder}/broker.pem")),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", format!("{folder}/authority.pem")),
            ("log.dirs", self.partitions(id).display().to_string()),
            ("auto.create.topics.enable", "false".to_owned()),
            ("offsets.topic.num.partitions", "5".to_owned()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("transaction.state.log.num.partitions", "1".to_owned()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", in_sync.to_string()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            // A broker that is killed is known to be gone soon.
            ("broker.session.timeout.ms", "3000".to_owned()),
            ("broker.heartbeat.interval.ms", "500".to_owned()),
            ("controller.quorum.election.timeout.ms", "1000".to_owned()),
            ("controller.quorum.fetch.timeout.ms", "2000".to_owned()),
            ("replica.lag.time.max.ms", "5000".to_owned()),
            ("num.network.threads", "2".to_owned()),
            ("num.io.threads", "2".to_owned()),
            ("log.cleaner.dedupe.buffer.size", "4194304".to_owned()),
        ] {
            writeln!(text, "{key}={value}").unwrap();
        }
        text
    }

    fn spawn(&self, id: usize) {
        let mut java = self.java();
        java.arg("kafka.Kafka").arg(self.properties(id));
        let java = match &self.network {
            Some(network) => network.within(id, &java),
            None => java,
        };
        self.broker(id).running = Some(Kept::start(&java, &self.folder, &format!("broker-{id}")));
    }

    /// Waits until that many brokers are members of the cluster, as each of the running ones sees it.
    fn wait_ready(&self, members: usize) {
        let deadline = Instant::now() + START_MAX;
        for id in self.ids().filter(|id| self.broker(*id).running.is_some()) {
            let address = format!("127.0.0.1:{}", self.broker(id).plain);
            while std::net::TcpStream::connect(&address).is_err() {
                assert!(Instant::now() < deadline, "broker {id} does not start: {}", self.log(id));
                std::thread::sleep(Duration::from_millis(50));
            }
            let consumer: BaseConsumer = self.client().set("bootstrap.servers", &address).create().unwrap();
            loop {
                let metadata = consumer.fetch_metadata(None, Duration::from_secs(2));
                if metadata.is_ok_and(|metadata| metadata.brokers().len() >= members) {
                    break;
                }
                assert!(Instant::now() < deadline, "broker {id} does not serve: {}", self.log(id));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Where a broker keeps its partitions.
    #[must_use]
    pub fn partitions(&self, id: usize) -> PathBuf {
        self.folder.join(format!("data-{id}"))
    }

    fn log_path(&self, id: usize) -> PathBuf {
        self.folder.join(format!("broker-{id}.log"))
    }

    /// What a broker wrote to its standard output.
    #[must_use]
    pub fn log(&self, id: usize) -> String {
        std::fs::read_to_string(self.log_path(id)).unwrap_or_default()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for id in self.ids() {
            if std::thread::panicking() {
                eprintln!("--- broker {id}'s log ---\n{}", self.log(id));
            }
            self.kill(id);
            self.broker(id).disk = None;
        }
    }
}

/// An authority, a certificate of it for all brokers and one for the hub, and one of another authority.
fn make_certificates(folder: &Path) {
    let (authority, authority_pem) = make_authority("the cluster's authority");
    std::fs::write(folder.join("authority.pem"), authority_pem).unwrap();
    let (broker, key) = issue(&authority, "kafka", ExtendedKeyUsagePurpose::ServerAuth);
    std::fs::write(folder.join("broker.pem"), format!("{key}{broker}")).unwrap();
    let (client, key) = issue(&authority, "shuniu", ExtendedKeyUsagePurpose::ClientAuth);
    write_pair(folder, "client", &client, &key);
    let (stranger, _) = make_authority("another authority");
    let (client, key) = issue(&stranger, "shuniu", ExtendedKeyUsagePurpose::ClientAuth);
    write_pair(folder, "stranger", &client, &key);
}

fn write_pair(folder: &Path, name: &str, certificate: &str, key: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
    let path = folder.join(format!("{name}.key"));
    std::fs::write(&path, key).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn make_authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn issue(
    authority: &Issuer<'static, KeyPair>,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
    ];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}
