//! Debian's kcat (librdkafka 2.0.2), unchanged, against the door. Left out, and said so, where it is not installed.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use shuniu_wire::messages::ProduceResponse;
use tokio::process::Command;

use crate::client::Open;
use crate::records::{produce, schema_id, shop};
use crate::world::Claim;

/// One system's kcat, its certificate in a folder.
struct Kcat {
    folder: PathBuf,
    port: u16,
}

impl Kcat {
    fn of(open: &Open, folder: &Path, system: &'static str) -> Self {
        let folder = folder.join(system);
        std::fs::create_dir(&folder).unwrap();
        let certificate = open.world.authority.issue(&Claim::of(system));
        std::fs::write(folder.join("ca.pem"), &open.world.authority.pem).unwrap();
        std::fs::write(folder.join("system.pem"), &certificate.pem).unwrap();
        std::fs::write(folder.join("system.key"), certificate.key.serialize_pem()).unwrap();
        Self { folder, port: open.at.port() }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let kcat = Command::new("kcat")
            .args(["-b", &format!("localhost:{}", self.port), "-X", "security.protocol=SSL"])
            .args(["-X", &format!("ssl.ca.location={}", file("ca.pem"))])
            .args(["-X", &format!("ssl.certificate.location={}", file("system.pem"))])
            .args(["-X", &format!("ssl.key.location={}", file("system.key"))])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(Duration::from_secs(30), kcat).await.expect("kcat ends").unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_publishes_consumes_and_is_refused() {
    if Command::new("kcat").arg("-V").output().await.is_err() {
        eprintln!("left out: kcat is not installed");
        return;
    }
    let open = Open::new().await;
    let folder = tempfile::tempdir().unwrap();
    let schema = schema_id(&open, "shop").await;

    let register = Kcat::of(&open, folder.path(), "register");
    let value = folder.path().join("value");
    std::fs::write(&value, shop(schema, "k1", "Tea House")).unwrap();
    let value = value.display().to_string();
    let sent = register.run(&["-P", "-t", "shop", "-k", "k1", &value]).await;
    assert!(sent.status.success(), "{}", text(&sent));
    let sent = register.run(&["-P", "-t", "shop", "-k", "k1", "-X", "enable.idempotence=true", &value]).await;
    assert!(sent.status.success(), "{}", text(&sent));
    // The key says one thing and the record another: refused, and kcat says so.
    let sent = register.run(&["-P", "-t", "shop", "-k", "other", &value]).await;
    assert!(text(&sent).contains("Delivery failed"), "{}", text(&sent));

    let hall = Kcat::of(&open, folder.path(), "hall");
    let listed = text(&hall.run(&["-L"]).await);
    assert!(listed.contains(&format!("broker 1 at localhost:{}", open.at.port())), "{listed}");
    assert!(listed.contains("topic \"shop\"") && !listed.contains("permit"), "{listed}");
    let read = ["-C", "-o", "beginning", "-e", "-f", "%o %k %S\\n"];
    let consumed = hall.run(&[&read[..], &["-t", "shop"]].concat()).await;
    // Frame, id and masked name: 5 + 3 + 10 bytes; the owner is not among them.
    assert_eq!(String::from_utf8_lossy(&consumed.stdout), "0 k1 18\n1 k1 18\n", "{}", text(&consumed));
    let grouped =
        hall.run(&["-G", "g", "-X", "auto.offset.reset=earliest", "-c", "2", "-f", "%o %k\\n", "shop"]).await;
    assert_eq!(String::from_utf8_lossy(&grouped.stdout), "0 k1\n1 k1\n", "{}", text(&grouped));
    for topic in ["permit", "nowhere"] {
        let refused = text(&hall.run(&[&read[..], &["-t", topic]].concat()).await);
        assert!(refused.contains("Topic authorization failed"), "{refused}");
    }
    let bank = Kcat::of(&open, folder.path(), "bank");
    let refused = bank.run(&["-P", "-t", "shop", "-k", "k1", &value]).await;
    assert!(text(&refused).contains("authorization failed"), "{}", text(&refused));

    // What another publisher sends meanwhile arrives too.
    let mut other = open.client("register").await;
    let _: ProduceResponse = other.ask(9, produce("shop", schema, &[("k2", "Inn")])).await;
    let consumed = hall.run(&[&read[..], &["-t", "shop", "-o", "2"]].concat()).await;
    assert_eq!(String::from_utf8_lossy(&consumed.stdout), "2 k2 12\n", "{}", text(&consumed));
    open.world.close().await;
}
