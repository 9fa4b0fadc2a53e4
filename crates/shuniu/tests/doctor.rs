//! The doctor, from a client's side, before a hub that runs as the program that users run.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail as the test does, and nothing else waits on its thread"
)]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shuniu::ca::Authority;
use shuniu::clock;
use shuniu_model::{SystemId, Timestamp};
use tempfile::TempDir;

const DAY_MICROSECONDS: i64 = 86_400 * 1_000_000;
const READER: &str = "hall-yuzhong";
const PUBLISHER: &str = "civil-affairs";

/// A hub with the demonstration's directory. Its certificate is for `localhost` only.
struct Hub {
    folder: TempDir,
    kafka: u16,
    http: u16,
    health: u16,
    process: Option<Child>,
}

/// What a doctor said.
struct Said {
    text: String,
    code: Option<i32>,
}

impl Said {
    /// The whole line, so that a failure shows what was said instead.
    #[track_caller]
    fn has(&self, level: &str, parts: &[&str]) {
        let found = |line: &str| line.starts_with(level) && parts.iter().all(|part| line.contains(part));
        assert!(self.text.lines().any(found), "no {level} line with {parts:?} in\n{}", self.text);
    }

    #[track_caller]
    fn has_no(&self, level: &str) {
        assert!(!self.text.lines().any(|line| line.starts_with(level)), "{}", self.text);
    }

    /// Trouble is told by the exit code, and each trouble says what to do.
    #[track_caller]
    fn is_trouble(&self, parts: &[&str]) {
        self.has("trouble", parts);
        self.has("trouble", &["What to do: "]);
        assert_eq!(self.code, Some(1), "{}", self.text);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Hub {
    /// A hub that serves.
    fn start() -> Self {
        let mut hub = Self::prepare();
        hub.restart(hub.kafka);
        let until_served = |hub: &Self| hub.doctor(&hub.papers(), &["--resource", "division"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while until_served(&hub).code != Some(0) {
            assert!(Instant::now() < deadline, "the hub does not serve:\n{}", until_served(&hub).text);
        }
        hub
    }

    fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("ca"), "Test authority", now()).unwrap();
        authority.issue_hub(&["localhost".to_owned()], &[], now(), 365).unwrap();
        for system in [READER, PUBLISHER] {
            authority.issue_system(&SystemId::parse(system).unwrap(), now(), 365).unwrap();
        }
        Self { folder, kafka: free_port(), http: free_port(), health: free_port(), process: None }
    }

    /// Starts the hub, which sends its clients on to a port, and waits until it listens.
    fn restart(&mut self, advertised: u16) {
        self.kill();
        let config = self.folder.path().join("hub.toml");
        let text = format!(
            "[hub]\ndata_folder = \"{}\"\n[gateway]\nlisten = \"127.0.0.1:{}\"\nport = {advertised}\n\
             [api]\nlisten = \"127.0.0.1:{}\"\nhealth_listen = \"127.0.0.1:{}\"\n",
            self.folder.path().display(),
            self.kafka,
            self.http,
            self.health,
        );
        std::fs::write(&config, text).unwrap();
        // Without --data: the configuration says where.
        let directory = repository().join("config/directory.toml");
        run(&["directory", "apply", directory.to_str().unwrap(), "--config", config.to_str().unwrap()]);
        let log = std::fs::File::create(self.folder.path().join("hub.log")).unwrap();
        let hub = Command::new(env!("CARGO_BIN_EXE_shuniu"))
            .args(["hub", "--config", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(hub.unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while [self.kafka, self.http].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(Instant::now() < deadline, "the hub does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Publishes two divisions.
    fn publish(&self) {
        let [authority, certificate, key] = papers(&self.ca(), &self.ca(), PUBLISHER);
        let folder = self.folder.path();
        std::fs::write(
            folder.join("divisions-2016-07-31.csv"),
            "code,name,cityCode,provinceCode\n110101,东城区,1101,11\n110102,西城区,1101,11\n",
        )
        .unwrap();
        let text = format!(
            "[hub]\nbrokers = \"localhost:{}\"\nregistry = \"https://localhost:{}/registry\"\n\
             ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [source]\nresource = \"division\"\nschema = \"{}\"\nkey = \"code\"\n\
             files = [\"divisions-2016-07-31.csv\"]\nformat = \"csv\"\ncoverage = \"whole\"\nduplicates = \"last\"\n\
             source_time = \"file-name\"\nstate = \"division.db\"\nrejects = \"rejects\"\n\
             [source.items]\ncode = \"code\"\nname = \"name\"\nprefecture = \"cityCode\"\nprovince = \"provinceCode\"\n",
            self.kafka,
            self.http,
            authority.display(),
            certificate.display(),
            key.display(),
            repository().join("schemas/division/v1.avsc").display(),
        );
        let connector = folder.join("division.toml");
        std::fs::write(&connector, text).unwrap();
        run(&["connector", "run", connector.to_str().unwrap(), "--once"]);
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    /// Authority, certificate and key of the reader.
    fn papers(&self) -> [PathBuf; 3] {
        papers(&self.ca(), &self.ca(), READER)
    }

    fn doctor(&self, papers: &[PathBuf; 3], more: &[&str]) -> Said {
        self.doctor_at("localhost", papers, more)
    }

    fn doctor_at(&self, host: &str, papers: &[PathBuf; 3], more: &[&str]) -> Said {
        let registry = format!("https://{host}:{}/registry", self.http);
        let more: Vec<_> = ["--registry", &registry].into_iter().chain(more.iter().copied()).collect();
        doctor(&format!("{host}:{}", self.kafka), papers, &more)
    }
}

fn now() -> Timestamp {
    clock::system()()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn papers(authority: &Path, issuer: &Path, system: &str) -> [PathBuf; 3] {
    let of_system = |ending| issuer.join(format!("systems/{system}.{ending}"));
    [authority.join("ca.pem"), of_system("pem"), of_system("key")]
}

/// An authority in a folder of its own, with a certificate for the reader.
fn elsewhere() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "Another authority", now()).unwrap();
    authority.issue_system(&SystemId::parse(READER).unwrap(), now(), 365).unwrap();
    folder
}

fn run(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_shuniu")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn doctor(hub: &str, [authority, certificate, key]: &[PathBuf; 3], more: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_shuniu"))
        .args(["doctor", "--hub", hub, "--ca"])
        .arg(authority)
        .arg("--certificate")
        .arg(certificate)
        .arg("--key")
        .arg(key)
        .args(more)
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Said { text, code: output.status.code() }
}

#[test]
fn a_reader_with_a_grant_is_told_that_all_is_well() {
    let hub = Hub::start();
    let said = hub.doctor(&hub.papers(), &["--resource", "population"]);
    for parts in [
        ["certificate: ", "`hall-yuzhong`"],
        ["name: ", "127.0.0.1"],
        ["tls: ", "localhost"],
        ["hub certificate: ", "good until"],
        ["kafka: ", "it speaks Kafka"],
        ["broker: ", "the address that was asked"],
        ["grant: ", "population"],
        ["clock: ", "agrees"],
        ["resource: ", "4 partitions"],
        ["schema: ", "population-value is at version 1, schema id "],
    ] {
        said.has("ok", &parts);
    }
    said.has("ok", &["record: ", "population can be read", "no record for you"]);
    said.has_no("warning");
    assert_eq!(said.code, Some(0), "{}", said.text);

    hub.publish();
    let said = hub.doctor(&hub.papers(), &["--resource", "division"]);
    said.has("ok", &["record: ", "division can be read; a record came"]);
    said.has("ok", &["schema: ", "the record's schema ", "is in the registry"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    // A publishing system may read its own back.
    let said = hub.doctor(&papers(&hub.ca(), &hub.ca(), PUBLISHER), &["--resource", "division"]);
    said.has("ok", &["record: ", "division can be read; a record came"]);
}

#[test]
fn what_a_client_asks_wrongly_is_told_with_what_to_ask() {
    let hub = Hub::start();
    // A resource without a grant and one that does not exist are told the same.
    for resource in ["legal-person", "no-such-resource"] {
        let said = hub.doctor(&hub.papers(), &["--resource", resource]);
        said.is_trouble(&[
            "resource: ",
            resource,
            "no grant in force",
            "no resource of that name",
            "ask the provider",
        ]);
    }

    let said = hub.doctor_at("127.0.0.1", &hub.papers(), &[]);
    said.is_trouble(&["tls: ", "is not for `127.0.0.1`", "it is for `localhost`"]);

    // The two doors taken for each other.
    let said = doctor(
        &format!("localhost:{}", hub.http),
        &hub.papers(),
        &["--registry", &format!("https://localhost:{}/registry", hub.kafka)],
    );
    said.is_trouble(&["kafka: ", "does not speak Kafka", "--hub"]);
    said.has("trouble", &["registry: "]);

    let said = doctor(&format!("localhost:{}", hub.health), &hub.papers(), &[]);
    said.is_trouble(&["tls: ", "does not speak TLS"]);
}

#[test]
fn what_the_hub_has_wrong_is_told_to_its_operator() {
    let mut hub = Hub::prepare();
    let nowhere = free_port();
    hub.restart(nowhere);
    let deadline = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let said = hub.doctor(&hub.papers(), &[]);
        if said.text.contains("it speaks Kafka") || Instant::now() > deadline {
            break said;
        }
    };
    said.is_trouble(&["network: ", &nowhere.to_string(), "refuses the connection"]);
    said.is_trouble(&["broker: ", &nowhere.to_string(), "[gateway]"]);

    let long_ago = Timestamp::from_micros(now().as_micros() - 10 * DAY_MICROSECONDS);
    let names = ["localhost".to_owned()];
    Authority::open(&hub.ca()).unwrap().issue_hub(&names, &[], long_ago, 1).unwrap();
    hub.restart(hub.kafka);
    let said = hub.doctor(&hub.papers(), &[]);
    said.is_trouble(&["tls: ", "the hub's certificate ended at", "operator"]);
}

#[test]
fn a_certificate_that_the_hub_refuses_is_told_with_its_reason() {
    let hub = Hub::start();
    let other = elsewhere();

    let said = hub.doctor(&papers(other.path(), &hub.ca(), READER), &[]);
    said.is_trouble(&[
        "tls: ",
        "`CN=Test authority`",
        "not the trusted authority `CN=Another authority`",
        "--ca",
    ]);

    let said = hub.doctor(&papers(&hub.ca(), other.path(), READER), &[]);
    said.has("warning", &["certificate: ", "issued by `CN=Another authority`"]);
    said.is_trouble(&["tls: ", "does not know the authority that issued your certificate"]);

    let authority = Authority::open(&hub.ca()).unwrap();
    let long_ago = Timestamp::from_micros(now().as_micros() - 10 * DAY_MICROSECONDS);
    authority.issue_system(&SystemId::parse("bank-supervisor").unwrap(), long_ago, 1).unwrap();
    let said = hub.doctor(&papers(&hub.ca(), &hub.ca(), "bank-supervisor"), &[]);
    said.is_trouble(&["certificate: ", "it ended at"]);
    said.is_trouble(&["tls: ", "your certificate has ended"]);

    authority.issue_system(&SystemId::parse("nobody").unwrap(), now(), 10).unwrap();
    let said = hub.doctor(&papers(&hub.ca(), &hub.ca(), "nobody"), &[]);
    said.has("warning", &["certificate: ", "it ends in "]);
    said.is_trouble(&["tls: ", "ended the connection", "a system that is not in the directory"]);

    let [_, certificate, _] = hub.papers();
    let data = hub.folder.path().to_str().unwrap();
    run(&["ca", "revoke", certificate.to_str().unwrap(), "--reason", "lost", "--data", data]);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let said = hub.doctor(&hub.papers(), &[]);
        if said.code == Some(1) || Instant::now() > deadline {
            said.is_trouble(&["tls: ", "your certificate is revoked"]);
            break;
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let mine = elsewhere();
    let other = elsewhere();
    let [authority, certificate, key] = papers(mine.path(), mine.path(), READER);
    let [_, _, other_key] = papers(other.path(), other.path(), READER);
    let hub = format!("localhost:{}", free_port());

    let said = doctor(&hub, &[authority.clone(), certificate.clone(), other_key], &[]);
    said.is_trouble(&["key: ", "is not the key of"]);
    let said = doctor(&hub, &[authority.clone(), certificate.clone(), mine.path().join("none.key")], &[]);
    said.is_trouble(&["file: ", "none.key", "no such file"]);
    let said = doctor(&hub, &[authority.clone(), key.clone(), key.clone()], &[]);
    said.is_trouble(&["file: ", "holds no certificate in PEM"]);
    let said = doctor(&hub, &[certificate.clone(), certificate.clone(), key.clone()], &[]);
    said.is_trouble(&["authority: ", "which is no authority"]);
    let said = doctor(&hub, &[authority.clone(), authority.clone(), key.clone()], &[]);
    said.is_trouble(&["certificate: ", "is not that of a system"]);
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let said = doctor(&hub, &[authority, certificate, key], &[]);
    said.has("warning", &["key: ", "can be read by others (mode 644)"]);
}

#[test]
fn a_port_without_a_hub_is_told_from_a_hub_that_refuses() {
    let folder = elsewhere();
    let papers = papers(folder.path(), folder.path(), READER);
    let said = doctor(&format!("localhost:{}", free_port()), &papers, &[]);
    said.is_trouble(&["network: ", "refuses the connection", "nothing listens"]);
    let said = doctor("no-such-host.invalid:9093", &papers, &[]);
    said.is_trouble(&["name: ", "no-such-host.invalid", "not known here"]);

    // Speaks plain text at once, and ends the connection without a word.
    for greeting in ["220 mail ready\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let plain = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
        });
        let said = doctor(&hub, &papers, &[]);
        said.is_trouble(&["tls: ", "speak TLS"]);
        plain.join().unwrap();
    }
}
