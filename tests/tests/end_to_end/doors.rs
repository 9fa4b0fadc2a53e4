//! Who gets in, and what those hear who do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use shuniu_tests::Hub;

/// kcat's metadata request with the given files; what it says.
pub(crate) fn knock(hub: &Hub, certificate: Option<(&Path, &Path)>, authority: &Path) -> String {
    let mut command = Command::new("kcat");
    command.env_remove("LD_LIBRARY_PATH");
    command.args(["-b", &hub.bootstrap(), "-L", "-m", "4", "-X", "security.protocol=ssl"]);
    command.args(["-X", &format!("ssl.ca.location={}", authority.display())]);
    if let Some((certificate, key)) = certificate {
        command.args(["-X", &format!("ssl.certificate.location={}", certificate.display())]);
        command.args(["-X", &format!("ssl.key.location={}", key.display())]);
    }
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the hub has logged something: it does so after it has closed the connection.
fn logged(hub: &Hub, words: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !hub.log().contains(words) {
        assert!(Instant::now() < deadline, "`{words}` is not in:\n{}", hub.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one certificate after the other, on one hub")]
fn only_a_good_certificate_of_the_authority_opens_the_door() {
    let hub = Hub::start();
    let (certificate, key, authority) = hub.certificate("hall-yuzhong");
    assert!(knock(&hub, Some((&certificate, &key)), &authority).contains("topic \"population\""));

    let refused = |what: &str, answer: String| {
        assert!(!answer.contains("topic \""), "{what}: {answer}");
        assert!(
            answer.to_lowercase().contains("ssl") || answer.contains("transport"),
            "{what} is told: {answer}"
        );
    };
    refused("no certificate", knock(&hub, None, &authority));

    // Somebody else's authority, with the same names in the certificate.
    let foreign = tempfile::tempdir().unwrap();
    let folder = foreign.path();
    let subject = "/CN=hall-yuzhong";
    openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "f.key",
            "-out",
            "f.pem",
            "-subj",
            subject,
            "-addext",
            "subjectAltName=URI:urn:shuniu:system:hall-yuzhong",
        ],
    );
    refused(
        "a foreign certificate",
        knock(&hub, Some((&folder.join("f.pem"), &folder.join("f.key"))), &authority),
    );

    // The hub's own authority, but the certificate is over.
    let ca = hub.folder().join("ca");
    openssl(
        folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "e.key",
            "-out",
            "e.csr",
            "-subj",
            subject,
        ],
    );
    std::fs::write(
        folder.join("e.ext"),
        "subjectAltName=URI:urn:shuniu:system:hall-yuzhong\nextendedKeyUsage=clientAuth\n",
    )
    .unwrap();
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            "e.csr",
            "-CA",
            ca.join("ca.pem").to_str().unwrap(),
            "-CAkey",
            ca.join("ca.key").to_str().unwrap(),
            "-set_serial",
            "77",
            "-days",
            "-1",
            "-extfile",
            "e.ext",
            "-out",
            "e.pem",
        ],
    );
    refused(
        "an expired certificate",
        knock(&hub, Some((&folder.join("e.pem"), &folder.join("e.key"))), &authority),
    );

    // A client that trusts another authority does not talk to this hub.
    let answer = knock(&hub, Some((&certificate, &key)), &folder.join("f.pem"));
    refused("a hub of another authority", answer);

    hub.run(&["ca", "revoke", certificate.to_str().unwrap(), "--reason", "lost"]);
    std::thread::sleep(Duration::from_secs(1));
    refused("a revoked certificate", knock(&hub, Some((&certificate, &key)), &authority));
    logged(&hub, "evoked");
    hub.recorded(&["--action", "revoked"], &["target=\"certificate "]);
    let shown = hub.run(&["ca", "show", certificate.to_str().unwrap()]);
    assert!(shown.contains("state   revoked at 20") && shown.contains("Z: lost"), "{shown}");
}

#[test]
fn p10_hostile_bytes_end_their_own_connection_and_nothing_else() {
    let hub = Hub::start();
    let open = || {
        let stream = TcpStream::connect(("127.0.0.1", hub.kafka_port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        stream
    };
    // Plain Kafka on the TLS port.
    let mut plain = open();
    plain.write_all(&[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 1, 0, 3, b'a', b'b', b'c', 0, 0, 0]).unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(answer.is_empty());
    logged(&hub, "plain text");
    // Garbage that begins like TLS.
    let mut garbage = open();
    garbage.write_all(&[0x16, 3, 1, 0xff, 0xff]).unwrap();
    garbage.write_all(&[0x41; 70_000]).ok();
    drop(garbage.read_to_end(&mut Vec::new()));
    // Connections that say nothing hold up nobody.
    let silent: Vec<TcpStream> = (0..100).map(|_| open()).collect();
    let started = Instant::now();
    assert!(hub.kcat("hall-yuzhong", &["-L"]).contains("topic \"population\""));
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(silent);
}

#[test]
fn a_hub_that_is_told_to_stop_stops_in_order() {
    let mut hub = Hub::start();
    // However little was sequenced yet: a log always has a checkpoint.
    hub.verify();
    for starts in 1..=3 {
        hub.stop();
        // Stopped in order, the log holds all that was recorded, the start itself too.
        hub.verify();
        let shown = hub.run(&["audit", "search", "--action", "administered"]);
        let started = shown.lines().filter(|line| line.ends_with("note=\"started\"")).count();
        assert_eq!(started, starts, "{shown}");
        hub.restart();
    }
    assert!(hub.kcat("hall-yuzhong", &["-L"]).contains("topic \"population\""));
    hub.verify();
}
