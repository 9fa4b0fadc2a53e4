//! Several equal hubs on one Apache Kafka cluster, one PostgreSQL and one object store, each with ways of its own to all of
//! them that can be cut.
//!
//! Hub n listens on an address of its own, 127.0.0.2 and on, at the same ports as the others. Clients are told `localhost`:
//! on 127.0.0.1 a relay stands before the hubs, as a TCP balancer does. Whoever looks names up elsewhere reaches the hubs
//! themselves.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bucket::{ACCESS, BUCKET, Objects};
use crate::disk::SmallDisk;
use crate::hub::{Hub, free_ports, repository, spawn_in};
use crate::kafka::{KAFKA, Kafka};
use crate::postgres::Postgres;
use crate::relay::{Link, Way, relay};

const BROKERS: usize = 3;
const START_MAX: Duration = Duration::from_secs(120);

/// The hubs and what they stand on.
pub struct Replicas {
    /// Its folder has straight ways to everything: for commands, and for clients of all hubs together. No hub runs on it.
    pub operator: Hub,
    hubs: Vec<Replica>,
    doors: Vec<u16>,
    /// The records.
    pub kafka: Kafka,
    /// The directory.
    pub postgres: Postgres,
    /// The audit log's tiles.
    pub tiles: Objects,
    /// Relays and object store run here; it ends last.
    _runtime: Runtime,
}

/// One of the hubs.
pub struct Replica {
    /// Its folder is a small file system of its own.
    disk: Option<SmallDisk>,
    folder: TempDir,
    address: Ipv4Addr,
    health: u16,
    process: Option<Child>,
    /// Its clock can be set.
    own_clock: bool,
    /// To the directory.
    pub to_postgres: Link,
    /// To each broker.
    pub to_brokers: Vec<Link>,
    /// To the tiles.
    pub to_tiles: Link,
    /// From clients, by the relay.
    pub from_clients: Vec<Link>,
}

/// What the hubs share.
struct Shared<'a> {
    kafka: &'a Kafka,
    postgres: u16,
    tiles: SocketAddr,
    doors: &'a [u16],
    http: u16,
}

impl Replicas {
    /// Starts everything, with the demonstration's directory; `None` without PostgreSQL.
    #[must_use]
    pub fn start(hubs: usize) -> Option<Self> {
        Some(Self::prepare(hubs)?.started())
    }

    /// As [`Replicas::start`], with a clock of its own for each hub, where Debian's libfaketime is installed.
    #[must_use]
    pub fn start_with_clocks(hubs: usize) -> Option<Self> {
        let mut replicas = Self::prepare(hubs)?;
        for hub in &mut replicas.hubs {
            hub.own_clock = faketime().is_some();
            hub.set_clock(0);
        }
        Some(replicas.started())
    }

    fn started(mut self) -> Self {
        let hubs = self.count();
        // The first makes the year's key, and the others get a copy, as an operator does it.
        self.spawn(0);
        self.wait_ready(0);
        let keys = fs::read_dir(self.hubs[0].folder().join("keys")).unwrap();
        for name in keys.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            for other in self.hubs.iter().skip(1).filter(|_| name.starts_with("subjects-")) {
                copy(&self.hubs[0].folder().join("keys"), &other.folder().join("keys"), &name);
            }
        }
        for number in 1..hubs {
            self.spawn(number);
        }
        for number in 1..hubs {
            self.wait_ready(number);
        }
        self.wait_topics();
        self
    }

    /// As [`Replicas::start`], without starting the hubs.
    #[must_use]
    pub fn prepare(hubs: usize) -> Option<Self> {
        let postgres = Postgres::start()?;
        let _url = postgres.database("directory");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let handle = runtime.handle();
        let kafka = Kafka::start_for_hubs(KAFKA, BROKERS, hubs, handle);
        let tiles = Objects::start(handle, hubs + 1);
        let ports = free_ports(BROKERS + 1 + 3 * hubs);
        let (doors, rest) = ports.split_at(BROKERS);
        let (http, rest) = (rest[0], &rest[1..]);
        let shared =
            Shared { kafka: &kafka, postgres: postgres.port(), tiles: tiles.address(hubs), doors, http };
        let operator = operator(&shared, hubs);
        let hubs: Vec<Replica> = rest
            .chunks(3)
            .enumerate()
            .map(|(number, own)| {
                let [database, objects, health] = *own else { unreachable!("chunks of three") };
                let to_postgres = Link::to(local(postgres.port()));
                relay(handle, local(database), vec![to_postgres.clone()]);
                let to_tiles = Link::to(tiles.address(number));
                relay(handle, local(objects), vec![to_tiles.clone()]);
                let ways = kafka.ways(number);
                let to_brokers: Vec<Link> = ways.iter().map(|(listen, _)| Link::to(*listen)).collect();
                for ((_, told), link) in ways.iter().zip(&to_brokers) {
                    relay(handle, local(*told), vec![link.clone()]);
                }
                let address = Ipv4Addr::new(127, 0, 0, u8::try_from(number + 2).unwrap());
                let from_clients =
                    doors.iter().chain([&http]).map(|port| Link::to((address, *port).into())).collect();
                let told: Vec<u16> = ways.iter().map(|(_, told)| *told).collect();
                let shared = Shared { postgres: database, tiles: local(objects), ..shared };
                let folder = tempfile::tempdir().unwrap();
                let disk = SmallDisk::on(folder.path(), "64m");
                copy(operator.folder(), folder.path(), "ca");
                copy(operator.folder(), folder.path(), "keys");
                configure(folder.path(), &shared, address, health, &told);
                Replica {
                    disk,
                    folder,
                    address,
                    health,
                    process: None,
                    own_clock: false,
                    to_postgres,
                    to_brokers,
                    to_tiles,
                    from_clients,
                }
            })
            .collect();
        for (at, port) in doors.iter().chain([&http]).enumerate() {
            let links = hubs.iter().map(|hub| hub.from_clients[at].clone()).collect();
            relay(handle, local(*port), links);
        }
        let doors = doors.to_vec();
        Some(Self { operator, hubs, doors, kafka, postgres, tiles, _runtime: runtime })
    }

    /// How many hubs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hubs.len()
    }

    /// The virtual brokers with their ports, the same at every hub.
    pub fn doors(&self) -> impl Iterator<Item = (i32, u16)> {
        (1..).zip(self.doors.iter().copied())
    }

    /// One of the hubs.
    #[must_use]
    pub fn hub(&self, number: usize) -> &Replica {
        &self.hubs[number]
    }

    /// Starts a hub's process.
    pub fn spawn(&mut self, number: usize) {
        let hub = &mut self.hubs[number];
        let environment = hub.environment();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        hub.process = Some(spawn_in(hub.folder.path(), &environment));
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.hubs[number].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self, number: usize) {
        if let Some(mut process) = self.hubs[number].process.take() {
            Command::new("kill").arg(process.id().to_string()).status().unwrap();
            let status = process.wait().unwrap();
            assert!(status.success(), "hub {number} ended with {status}:\n{}", self.hubs[number].log());
        }
    }

    /// Whether the hub's process is there. One that ended by itself says why in its log.
    #[must_use]
    pub fn runs(&mut self, number: usize) -> bool {
        self.hubs[number].process.as_mut().is_some_and(|it| it.try_wait().unwrap().is_none())
    }

    /// Waits until a hub says that it is ready.
    pub fn wait_ready(&mut self, number: usize) {
        let deadline = Instant::now() + START_MAX;
        while !self.hubs[number].is_ready() {
            let runs = self.runs(number);
            assert!(
                runs && Instant::now() < deadline,
                "hub {number} does not become ready: {}\n{}",
                self.hubs[number].health(),
                self.hubs[number].log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the topics that hubs make are there.
    pub fn wait_topics(&self) {
        let deadline = Instant::now() + START_MAX;
        while !self.operator.serves() {
            assert!(Instant::now() < deadline, "the topics are not made:\n{}", self.hubs[0].log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The hub that moved the audit log's tiles last.
    #[must_use]
    pub fn sequencing(&self) -> usize {
        self.tiles.writer().min(self.hubs.len() - 1)
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for number in 0..self.hubs.len() {
            self.kill(number);
            if std::thread::panicking() {
                eprintln!("--- hub {number}'s log ---\n{}", self.hubs[number].log());
            }
        }
    }
}

impl Replica {
    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of its own that it listens on.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: &str) {
        let Some(pid) = self.process_id() else { return };
        let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
        assert!(status.success(), "kill -{signal} {pid}");
    }

    /// Whether [`Replica::set_full`] can be done: it needs the right to mount.
    #[must_use]
    pub fn has_own_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Fills what is left of the file system of its folder, or frees it again.
    pub fn set_full(&self, full: bool) {
        let disk = self.disk.as_ref().unwrap();
        if full { disk.fill() } else { disk.free() }
    }

    /// Whether [`Replica::set_clock`] can be done: see [`Replicas::start_with_clocks`].
    #[must_use]
    pub fn has_own_clock(&self) -> bool {
        self.own_clock
    }

    /// Sets its clock so many seconds ahead, or behind, of this machine's. It is looked at every second.
    pub fn set_clock(&self, ahead_seconds: i32) {
        let (clock, new) = (self.clock(), self.folder().join("clock.new"));
        fs::write(&new, format!("{ahead_seconds:+}")).unwrap();
        fs::rename(new, clock).unwrap();
    }

    fn clock(&self) -> PathBuf {
        self.folder().join("clock")
    }

    /// A clock of its own, by libfaketime. The clock that intervals are measured by is left alone, as a step leaves it.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let Some(library) = faketime().filter(|_| self.own_clock) else { return Vec::new() };
        vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.clock().display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("hub.log")).unwrap_or_default()
    }

    /// Changes every way from clients.
    pub fn from_clients(&self, way: Way) {
        self.from_clients.iter().for_each(|link| link.set(way));
    }

    /// Changes every way to the cluster.
    pub fn to_brokers(&self, way: Way) {
        self.to_brokers.iter().for_each(|link| link.set(way));
    }

    /// What it answers when it is asked whether it is ready; empty without an answer.
    #[must_use]
    pub fn health(&self) -> String {
        let address = format!("http://{}:{}/health/ready", self.address, self.health);
        let output = Command::new("curl").args(["--silent", "--max-time", "2", &address]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether it says that it delivers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health().starts_with("ready")
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The folder that all begins with: authority, certificates, keys, directory.
fn operator(shared: &Shared<'_>, hubs: usize) -> Hub {
    let folder = tempfile::tempdir().unwrap();
    let plain: Vec<u16> = shared.kafka.bootstrap_tls().iter().map(|it| port_of(it)).collect();
    let health = free_ports(1)[0];
    configure(folder.path(), shared, Ipv4Addr::LOCALHOST, health, &plain);
    let hub = Hub::configured(folder, shared.doors.to_vec(), shared.http, health);
    let addresses: Vec<String> = (1..=hubs + 1).map(|last| format!("127.0.0.{last}")).collect();
    hub.make_certificates(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    hub.run(&["migrate"]);
    hub.apply(&fs::read_to_string(repository().join("config/directory.toml")).unwrap());
    hub
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// The configuration of a hub, and the secrets that it names.
fn configure(folder: &Path, shared: &Shared<'_>, address: Ipv4Addr, health: u16, brokers: &[u16]) {
    let (certificate, key, authority) = shared.kafka.certificate();
    let bootstrap: Vec<String> = brokers.iter().map(|port| format!("localhost:{port}")).collect();
    let mut text = format!(
        "[hub]\ndata_folder = {folder:?}\n\
         [directory]\nstore = \"postgresql\"\n\
         [records]\nstore = \"kafka\"\n\
         [kafka]\nbootstrap = {bootstrap:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
         authority = {authority:?}\nreplication = {BROKERS}\nanswer_seconds = 5\nnodes_seconds = 5\n\
         [audit]\ntiles = \"s3\"\n\
         [audit.s3]\nendpoint = \"http://{}\"\nbucket = \"{BUCKET}\"\n\
         [api]\nlisten = \"{address}:{}\"\nhealth_listen = \"{address}:{health}\"\n",
        shared.tiles, shared.http,
    );
    for (node, port) in shared.kafka.ids().zip(shared.doors) {
        write!(
            text,
            "[[gateway.brokers]]\nnode = {node}\nlisten = \"{address}:{port}\"\nhost = \"localhost\"\nport = {port}\n"
        )
        .unwrap();
    }
    fs::write(folder.join("hub.toml"), text).unwrap();
    fs::create_dir_all(folder.join("keys")).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/directory", shared.postgres);
    for (name, text) in [("directory-url", url.as_str()), ("s3-key-id", ACCESS.0), ("s3-secret", ACCESS.1)] {
        let path = folder.join("keys").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Debian's libfaketime, if it is installed.
fn faketime() -> Option<PathBuf> {
    let library = |folder: fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    fs::read_dir("/usr/lib").ok()?.flatten().map(library).find(|library| library.exists())
}

fn copy(from: &Path, to: &Path, name: &str) {
    let status =
        Command::new("cp").arg("-a").arg(from.join(name)).arg(to).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "copy {name}");
}
