//! A hub, and everything that is done to it from outside.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tempfile::TempDir;

use crate::kafka::Kafka;

/// The systems of the demonstration's directory that the tests use.
const SYSTEMS: [&str; 5] =
    ["population-register", "hall-yuzhong", "hall-jiangbei", "bank-supervisor", "civil-affairs"];

/// A hub with the demonstration's directory, in a folder of its own, as the program that users run.
pub struct Hub {
    folder: TempDir,
    /// The ports of the virtual brokers.
    kafka: Vec<u16>,
    http: u16,
    health: u16,
    /// Its commands take its configuration, as they must where the directory is in PostgreSQL.
    configured: bool,
    process: Option<Child>,
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().unwrap()
}

/// The program, beside this test's own binary.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // Cargo puts tests into a folder beside programs.
    let folder = own.parent().filter(|folder| !folder.ends_with("deps")).or(own.ancestors().nth(2)).unwrap();
    let program = folder.join("shuniu");
    assert!(program.exists(), "build the program first: cargo build --package shuniu");
    program
}

fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Ports that nobody listens on now, all different.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Runs a subcommand on a data folder, which must succeed; gives its output.
pub fn run_on(folder: &Path, arguments: &[&str]) -> String {
    succeeded(arguments, command_on(folder, arguments))
}

fn succeeded(arguments: &[&str], output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a hub process on a folder.
pub(crate) fn spawn_in(folder: &Path, environment: &[(&str, &str)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("hub.log")).unwrap();
    Command::new(program())
        .args(["hub", "--config"])
        .arg(folder.join("hub.toml"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn command_on(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).arg("--data").arg(folder).output().unwrap()
}

impl Hub {
    /// Makes the folder, authority, certificates and directory, and starts the hub.
    #[must_use]
    pub fn start() -> Self {
        let mut hub = Self::prepare(tempfile::tempdir().unwrap());
        hub.restart();
        hub
    }

    /// As [`Hub::start`], with an Apache Kafka cluster as its record store.
    #[must_use]
    pub fn on_kafka(kafka: &Kafka) -> Self {
        let mut hub = Self::prepare_on(tempfile::tempdir().unwrap(), Some(kafka));
        hub.restart();
        hub
    }

    /// As [`Hub::start`], in a folder made by the caller, without starting it.
    #[must_use]
    pub fn prepare(folder: TempDir) -> Self {
        Self::prepare_on(folder, None)
    }

    /// As [`Hub::prepare`], with an Apache Kafka cluster as its record store if there is one.
    #[must_use]
    pub fn prepare_on(folder: TempDir, kafka: Option<&Kafka>) -> Self {
        let brokers = kafka.map_or(1, |kafka| kafka.ids().count());
        let hub = Self {
            folder,
            kafka: free_ports(brokers),
            http: free_port(),
            health: free_port(),
            configured: false,
            process: None,
        };
        hub.make_certificates(&["127.0.0.1"]);
        let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
        hub.apply(&directory);
        let door = kafka.map_or_else(
            || format!("[gateway]\nlisten = \"127.0.0.1:{0}\"\nport = {0}\n", hub.kafka[0]),
            |kafka| hub.on(kafka),
        );
        let config = format!(
            "[hub]\ndata_folder = \"{}\"\n{door}\
             [api]\nlisten = \"127.0.0.1:{}\"\nhealth_listen = \"127.0.0.1:{}\"\n",
            hub.folder().display(),
            hub.http,
            hub.health,
        );
        std::fs::write(hub.folder().join("hub.toml"), config).unwrap();
        hub
    }

    /// A hub in a folder whose `hub.toml` is there already, with its doors at these ports. Commands take the
    /// configuration.
    pub(crate) fn configured(folder: TempDir, kafka: Vec<u16>, http: u16, health: u16) -> Self {
        Self { folder, kafka, http, health, configured: true, process: None }
    }

    /// The authority, the certificate of the hub and those of the systems.
    pub(crate) fn make_certificates(&self, addresses: &[&str]) {
        self.run(&["ca", "init"]);
        let addresses = addresses.iter().flat_map(|address| ["--ip", address]);
        self.run(
            &["ca", "issue-hub", "--name", "localhost"].into_iter().chain(addresses).collect::<Vec<_>>(),
        );
        for system in SYSTEMS {
            self.run(&["ca", "issue-system", system]);
        }
    }

    /// The configuration of a hub on a cluster, over mutual TLS, or without it where a tap looks on.
    fn on(&self, kafka: &Kafka) -> String {
        let (certificate, key, authority) = kafka.certificate();
        let (bootstrap, tls) = match kafka.tap() {
            Some(tap) => (vec![format!("127.0.0.1:{tap}")], false),
            None => (kafka.bootstrap_tls(), true),
        };
        let mut text = format!(
            "[records]\nstore = \"kafka\"\n[kafka]\nbootstrap = {bootstrap:?}\ntls = {tls}\n\
             certificate = {certificate:?}\nkey = {key:?}\nauthority = {authority:?}\nreplication = {}\n",
            kafka.ids().count(),
        );
        for (node, port) in kafka.ids().zip(&self.kafka) {
            write!(
                text,
                "[[gateway.brokers]]\nnode = {node}\nlisten = \"127.0.0.1:{port}\"\nhost = \"localhost\"\n\
                 port = {port}\n"
            )
            .unwrap();
        }
        text
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of the Kafka door; with several virtual brokers, of the first.
    #[must_use]
    pub fn kafka_port(&self) -> u16 {
        self.kafka[0]
    }

    /// Where clients begin.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let brokers: Vec<String> = self.kafka.iter().map(|port| format!("localhost:{port}")).collect();
        brokers.join(",")
    }

    /// The schema registry's address.
    #[must_use]
    pub fn registry(&self) -> String {
        format!("https://localhost:{}/registry", self.http)
    }

    /// What the health listener answers; empty when there is no answer.
    #[must_use]
    pub fn health(&self, path: &str) -> String {
        let address = format!("http://127.0.0.1:{}{path}", self.health);
        let output =
            Command::new("curl").args(["--silent", "--max-time", "5", address.as_str()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a subcommand on the data folder, which must succeed; gives its output.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.command(arguments))
    }

    /// Runs a subcommand on the data folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let config = self.folder().join("hub.toml");
        if self.configured && !arguments.contains(&"--config") {
            return command_on(self.folder(), &[arguments, &["--config", config.to_str().unwrap()]].concat());
        }
        command_on(self.folder(), arguments)
    }

    /// Runs a subcommand that takes no data folder.
    #[must_use]
    pub fn apart(arguments: &[&str]) -> Output {
        Command::new(program()).args(arguments).output().unwrap()
    }

    /// Verifies the whole audit log by its tiles and public key; it must hold. Gives what the program says.
    pub fn verify(&self) -> String {
        self.verified().unwrap_or_else(|text| panic!("{text}"))
    }

    /// As [`Hub::verify`]; what is wrong, where it does not hold.
    ///
    /// # Errors
    /// What the program says is wrong.
    pub fn verified(&self) -> Result<String, String> {
        let mut command = Command::new(program());
        command.args(["audit", "verify"]);
        if self.configured {
            command.arg("--config").arg(self.folder().join("hub.toml"));
        } else {
            command.arg(self.folder().join("audit"));
        }
        let output = command.output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    /// Searches the audit log until the entries found name all of `words`: an entry can be found once it is under a
    /// checkpoint, a moment after what it records. Gives what the program says.
    pub fn recorded(&self, conditions: &[&str], words: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.run(&[&["audit", "search"], conditions].concat());
            let Some(missing) = words.iter().find(|word| !found.contains(**word)) else { return found };
            assert!(Instant::now() < deadline, "`{missing}` is not on the log:\n{found}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A connector of the data folder, to be run once.
    #[must_use]
    pub fn connector(&self, file: &str) -> Command {
        let mut command = Command::new(program());
        command.args(["connector", "run"]).arg(self.folder().join(file)).arg("--once");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Applies a directory file, given as text.
    pub fn apply(&self, directory: &str) -> String {
        self.applied(directory).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Hub::apply`]; what is wrong, where the program refuses.
    ///
    /// # Errors
    /// What the program says.
    pub fn applied(&self, directory: &str) -> Result<String, String> {
        let schemas = format!("\"{}/schemas/", repository().display());
        let path = self.folder().join("directory.toml");
        std::fs::write(&path, directory.replace("\"../schemas/", &schemas)).unwrap();
        let output = self.command(&["directory", "apply", path.to_str().unwrap()]);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Puts something else into the configuration, for the next start or reload.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.folder().join("hub.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    /// Starts the hub and waits until it serves.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`Hub::restart`], with variables of the environment.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.process = Some(self.spawn_with(environment));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.serves() {
            assert!(
                Instant::now() < deadline,
                "the hub does not start: {}\n{}",
                self.kcat("hall-yuzhong", &["-L", "-m", "2"]),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a hub process on the folder without waiting. Its log goes to `hub.log`.
    #[must_use]
    pub fn spawn(&self) -> Child {
        spawn_in(self.folder(), &[])
    }

    fn spawn_with(&self, environment: &[(&str, &str)]) -> Child {
        spawn_in(self.folder(), environment)
    }

    /// Whether both doors serve, and the topics that the hub makes after it starts are there.
    pub(crate) fn serves(&self) -> bool {
        self.curl("hall-yuzhong", "/subjects").contains("population-value")
            && self.kcat("hall-yuzhong", &["-L", "-m", "2"]).contains("topic \"population\"")
    }

    /// The hub's process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// What the hub logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("hub.log")).unwrap_or_default()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends a signal: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let process = self.process_id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) {
        if self.process.is_some() {
            self.signal("TERM");
            self.ended();
        }
    }

    /// Waits for the end of a hub that was told to stop.
    pub fn ended(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let status = process.wait().unwrap();
        assert!(status.success(), "the hub ended with {status}:\n{}", self.log());
    }

    /// The certificate and key of a system, and the authority.
    #[must_use]
    pub fn certificate(&self, system: &str) -> (PathBuf, PathBuf, PathBuf) {
        let ca = self.folder().join("ca");
        (
            ca.join("systems").join(format!("{system}.pem")),
            ca.join("systems").join(format!("{system}.key")),
            ca.join("ca.pem"),
        )
    }

    /// An rdkafka configuration for a system.
    #[must_use]
    pub fn client(&self, system: &str) -> ClientConfig {
        let (certificate, key, authority) = self.certificate(system);
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("security.protocol", "ssl")
            .set("ssl.ca.location", authority.to_str().unwrap())
            .set("ssl.certificate.location", certificate.to_str().unwrap())
            .set("ssl.key.location", key.to_str().unwrap())
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    /// kcat with a system's certificate: standard output and standard error, one after the other.
    #[must_use]
    pub fn kcat(&self, system: &str, arguments: &[&str]) -> String {
        let (certificate, key, authority) = self.certificate(system);
        let output = Command::new("kcat")
            // Cargo puts its own librdkafka before Debian's.
            .env_remove("LD_LIBRARY_PATH")
            .args(["-b", &self.bootstrap(), "-X", "security.protocol=ssl"])
            .args(["-X", &format!("ssl.ca.location={}", authority.display())])
            .args(["-X", &format!("ssl.certificate.location={}", certificate.display())])
            .args(["-X", &format!("ssl.key.location={}", key.display())])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A GET from the registry with a system's certificate; empty when there is no answer.
    #[must_use]
    pub fn curl(&self, system: &str, path: &str) -> String {
        let (certificate, key, authority) = self.certificate(system);
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "5", "--cacert"])
            .arg(authority)
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg(format!("{}{path}", self.registry()))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The id of the newest schema of a resource, as a system sees it.
    #[must_use]
    pub fn schema_id(&self, system: &str, resource: &str) -> u32 {
        let answer = self.curl(system, &format!("/subjects/{resource}-value/versions/latest"));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        u32::try_from(answer["id"].as_u64().unwrap()).unwrap()
    }

    /// Runs a Python script of `tests/clients` in the environment with confluent-kafka; it must end with 0.
    pub fn python(&self, script: &str, arguments: &[&str]) -> String {
        let root = repository();
        let output = Command::new(root.join(".cache/venv/bin/python"))
            .env_remove("LD_LIBRARY_PATH")
            .arg(root.join("tests/clients").join(script))
            .args([self.bootstrap(), self.registry(), self.folder().join("ca").display().to_string()])
            .args(arguments)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {out}{err}");
        out.into_owned()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the hub's log ---\n{}", self.log());
        }
    }
}
