//! What a running hub takes over on SIGHUP.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shuniu_tests::{Hub, run_on};

use crate::doors::knock;
use crate::operating::{hears, service_manager};

/// ApiVersions 0, correlation 7, no client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// A connection that does nothing unless it is asked to.
struct Connection(Child);

impl Connection {
    fn open(hub: &Hub, certificate: &Path, key: &Path) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", &format!("localhost:{}", hub.kafka_port())]);
        command.arg("-CAfile").arg(hub.folder().join("ca/ca.pem"));
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut connection = Self(command.spawn().unwrap());
        connection.is_served();
        connection
    }

    fn is_served(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(&API_VERSIONS).unwrap();
        let answers = self.0.stdout.as_mut().unwrap();
        let mut length = [0; 4];
        answers.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        answers.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], [0, 0, 0, 7]);
    }

    fn ends(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the connection stays open");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn p6_who_is_of_an_authority_that_is_trusted_no_longer_is_cut_off_and_turned_away() {
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    // Another authority vouches for the same system.
    let other = tempfile::tempdir().unwrap();
    run_on(other.path(), &["ca", "init"]);
    run_on(other.path(), &["ca", "issue-system", "hall-yuzhong"]);
    let of_other = other.path().join("ca/systems");
    let of_other = (of_other.join("hall-yuzhong.pem"), of_other.join("hall-yuzhong.key"));
    let (own, own_key, authority) = hub.certificate("hall-yuzhong");
    let both = [&authority, &other.path().join("ca/ca.pem")].map(|path| std::fs::read(path).unwrap());
    std::fs::write(hub.folder().join("both.pem"), both.concat()).unwrap();
    hub.configure("[api]\n", "[tls]\nauthority = \"both.pem\"\n[api]\n");
    hub.restart();
    let mut stays = Connection::open(&hub, &own, &own_key);
    let mut goes = Connection::open(&hub, &of_other.0, &of_other.1);

    hub.configure("both.pem", "ca/ca.pem");
    hub.signal("HUP");
    goes.ends();
    let answer = knock(&hub, Some((&of_other.0, &of_other.1)), &authority);
    assert!(!answer.contains("topic \""), "{answer}");
    stays.is_served();
    assert!(knock(&hub, Some((&own, &own_key)), &authority).contains("topic \"population\""));
    assert!(hub.log().contains("authority-distrusted"), "{}", hub.log());
    hub.recorded(&["--action", "administered"], &["reloaded; changed: tls.authority; shows certificate"]);
}

/// The serial number of the certificate that the hub shows.
fn shown_serial(hub: &Hub) -> String {
    let (certificate, key, authority) = hub.certificate("hall-yuzhong");
    let text = format!(
        "openssl s_client -connect localhost:{} -CAfile {} -cert {} -key {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        hub.kafka_port(),
        authority.display(),
        certificate.display(),
        key.display(),
    );
    let output = Command::new("sh").args(["-c", &text]).output().unwrap();
    let serial = String::from_utf8(output.stdout).unwrap();
    assert!(serial.starts_with("serial="), "{serial}");
    serial
}

#[test]
fn a_running_hub_takes_over_what_can_change_and_nothing_of_what_is_faulty() {
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    let (socket, heard) = service_manager(&hub);
    hub.restart_with(&[("NOTIFY_SOCKET", &socket)]);
    hears(&heard, "READY=1");
    let reloaded = || {
        hub.signal("HUP");
        let begun = hears(&heard, "RELOADING=1");
        assert!(begun.contains("MONOTONIC_USEC="), "{begun}");
        hears(&heard, "READY=1")
    };
    let port = hub.kafka_port();

    // A level that can change, and a port that cannot.
    assert!(!hub.log().contains(" DEBUG "));
    hub.configure("[hub]\n", "[hub]\nlog = \"debug\"\n");
    hub.configure(&format!("port = {port}"), "port = 1");
    let said = reloaded();
    assert!(said.contains("reloaded: hub.log; only after a restart: gateway.port"), "{said}");
    assert!(
        hub.kcat("hall-yuzhong", &["-L"]).contains(&format!("localhost:{port}")),
        "clients hear of port 1"
    );
    assert!(hub.log().contains(" DEBUG "), "{}", hub.log());
    hub.configure("port = 1", &format!("port = {port}"));

    // A faulty file changes nothing, and is named with line and key.
    hub.configure("log = \"debug\"", "log = \"error\"\nidle_second = 60");
    let said = reloaded();
    for words in ["not reloaded", "hub.toml`, line 3", "`hub.idle_second`", "`gateway.idle_seconds`"] {
        assert!(
            said.contains(words) && hub.log().contains(words.trim_start_matches("not reloaded")),
            "{said}"
        );
    }
    assert!(hub.log().contains("nothing changed"), "the level is error all the same");
    hub.configure("log = \"error\"\nidle_second = 60", "log = \"info\"");

    // The hub's certificate, once it is good.
    let before = shown_serial(&hub);
    hub.run(&["ca", "issue-hub", "--name", "localhost", "--ip", "127.0.0.1"]);
    let pem = hub.folder().join("ca/hub.pem");
    let good = std::fs::read(&pem).unwrap();
    std::fs::write(&pem, &good[..good.len() / 2]).unwrap();
    let said = reloaded();
    assert!(said.contains("not reloaded") && said.contains("hub.pem"), "{said}");
    assert_eq!(shown_serial(&hub), before);
    std::fs::write(&pem, good).unwrap();
    let said = reloaded();
    assert!(said.contains("reloaded: hub.log; only after a restart: none"), "{said}");
    assert_ne!(shown_serial(&hub), before);
    let counted = hub.health("/metrics");
    for outcome in ["shuniu_reloads_total{outcome=\"done\"} 2", "shuniu_reloads_total{outcome=\"refused\"} 2"]
    {
        assert!(counted.contains(outcome), "{counted}");
    }
}
