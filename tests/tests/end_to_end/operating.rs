//! What an operator sees of a running hub.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use shuniu_tests::{Hub, Publisher, citizen, person, repository};

use crate::{consume, producer, publish};

/// Every metric that docs/OPERATING.md lists, with its labels.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(repository().join("docs/OPERATING.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `shuniu_") || line.starts_with("| `process_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        (quoted(cells[0])[0].clone(), quoted(cells[2]).into_iter().collect())
    })
    .collect()
}

#[test]
fn the_metrics_are_the_listed_ones_and_count_what_happened() {
    let hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    let producer = producer(&hub);
    for n in 0..3 {
        publish(&producer, &citizen(n), Some(&person(schema, &citizen(n), "张三", "500103")), b"");
    }
    publish(&producer, "not a citizen's number", Some(&person(schema, &citizen(4), "张三", "500103")), b"");
    assert_eq!(consume(&hub, "hall-yuzhong", "population", "check").len(), 3);
    let shown = hub.health("/metrics");

    let listed = listed();
    for line in shown.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
        let bare = bare.filter(|bare| listed.contains_key(*bare)).unwrap_or(name);
        let labels = listed.get(bare).unwrap_or_else(|| panic!("{name} is shown and not listed"));
        let inner = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let given = inner.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        let given: BTreeSet<String> = given.filter(|label| label != "le").collect();
        assert_eq!(&given, labels, "{line}");
        assert!(!line.contains("citizen") && !line.contains("张三") && !line.contains(&citizen(0)), "{line}");
    }
    for expected in [
        "shuniu_published_records_total{resource=\"population\"} 3",
        "shuniu_delivered_records_total{resource=\"population\"} 3",
        "shuniu_refusals_total{code=\"record-rule\"} 1",
        "shuniu_ready 1",
        "shuniu_audit_down 0",
        "shuniu_outbox_drafts 0",
        "shuniu_requests_total{door=\"kafka\",api=\"Produce\",outcome=\"answered\"}",
        "shuniu_requests_total{door=\"http\",api=\"/registry/subjects\",outcome=\"answered\"}",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
}

/// Prometheus sees no increase in a series that begins at one: the first refused reload would alert nobody.
#[test]
fn what_an_alert_asks_the_increase_of_is_shown_from_the_start() {
    let shown = Hub::start().health("/metrics");
    let alerts = std::fs::read_to_string(repository().join("config/alerts.yml")).unwrap();
    let expressions = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let asked =
        expressions.flat_map(|it| it.split("increase(").skip(1)).map(|it| it.split('[').next().unwrap());
    let mut series = 0;
    for asked in asked {
        let (name, label) = asked.split_once('{').unwrap_or((asked, "=\"\""));
        let values = label.split('"').nth(1).unwrap();
        for value in values.split('|') {
            let mut lines = shown.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
            assert!(
                lines.any(|line| line.contains(value) && line.ends_with(" 0")),
                "{name} with {value} is not in\n{shown}"
            );
            series += 1;
        }
    }
    assert!(series > 5);
}

/// What a service manager hears on its socket, message by message.
pub(crate) fn service_manager(hub: &Hub) -> (String, mpsc::Receiver<String>) {
    let path = hub.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (sender, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut message = [0; 4_096];
        while let Ok(length) = socket.recv(&mut message) {
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (path.to_str().unwrap().to_owned(), heard)
}

/// Waits for a message that says something.
pub(crate) fn hears(heard: &mpsc::Receiver<String>, words: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = heard.recv_timeout(left).unwrap_or_else(|_| panic!("`{words}` was not said"));
        if message.contains(words) {
            return message;
        }
    }
}

#[test]
fn the_service_manager_hears_when_the_hub_is_open_that_it_lives_and_when_it_stops() {
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    let (socket, heard) = service_manager(&hub);
    hub.restart_with(&[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "200000")]);
    hears(&heard, "READY=1");
    hears(&heard, "WATCHDOG=1");
    hears(&heard, "WATCHDOG=1");
    hub.stop();
    hears(&heard, "STOPPING=1");
}

/// Waits until the health listener says something.
fn until_healthy(hub: &Hub, path: &str, words: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !hub.health(path).contains(words) {
        assert!(Instant::now() < deadline, "{path} does not say `{words}`: {}", hub.health(path));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn p4_a_hub_that_gives_notice_serves_on_and_loses_nothing_that_was_acknowledged() {
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    hub.configure("[hub]\n", "[hub]\nnotice_seconds = 300\n");
    hub.restart();
    let publisher = Publisher::new(&hub);
    (0..500).for_each(|n| publisher.publish(n));
    hub.signal("TERM");
    until_healthy(&hub, "/health/ready", "the hub is about to close");
    assert!(hub.health("/metrics").contains("\nshuniu_ready 0\n"));
    // It is not ready, and serves who comes all the same.
    assert!(hub.kcat("hall-yuzhong", &["-L"]).contains("topic \"population\""));
    (500..1_000).for_each(|n| publisher.publish(n));
    publisher.flush(Duration::from_secs(30));
    (1_000..1_500).for_each(|n| publisher.publish(n));
    // A second signal ends the notice, with requests under way.
    hub.signal("TERM");
    hub.ended();
    assert!(!hub.log().contains("did not end within"), "{}", hub.log());
    hub.restart();
    let acknowledged = publisher.finish(Duration::from_secs(90));
    assert_eq!(acknowledged.len(), 1_500);
    let got = consume(&hub, "hall-yuzhong", "population", "check");
    assert!(got.keys().eq(acknowledged.keys()), "{} of {}", got.len(), acknowledged.len());
    assert!(got.values().all(|records| records.len() == 1));
    hub.verify();
}

/// A collector of traces: its port, and the bodies that it is sent.
fn collector() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            // Requests on one connection, one after the other, until the hub closes it.
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    if sender.send(body).is_err() {
                        return;
                    }
                }
                line.clear();
            }
        }
    });
    (port, bodies)
}

#[test]
fn traces_say_how_long_each_part_took_and_nothing_of_a_record() {
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    let (port, bodies) = collector();
    let telemetry = format!(
        "[telemetry]\nendpoint = \"http://127.0.0.1:{port}/v1/traces\"\ntraced_per_thousand = 1000\n[api]\n"
    );
    hub.configure("[api]\n", &telemetry);
    hub.restart();
    let schema = hub.schema_id("population-register", "population");
    publish(&producer(&hub), &citizen(0), Some(&person(schema, &citizen(0), "张三", "500103")), b"");
    assert_eq!(consume(&hub, "hall-yuzhong", "population", "traced-group").len(), 1);
    // What is left is sent when it stops.
    hub.stop();
    let sent: Vec<u8> = bodies.try_iter().flatten().collect();
    let has = |text: &str| sent.windows(text.len()).any(|window| window == text.as_bytes());
    for name in ["request", "policy", "decide", "fetch", "project", "check", "append", "audit append"] {
        assert!(has(name), "no span `{name}`");
    }
    assert!(has("Fetch") && has("/registry/subjects") && has("hall-yuzhong"));
    for secret in [citizen(0).as_str(), "张三", "traced-group", "500103"] {
        assert!(!has(secret), "`{secret}` is in a trace");
    }
    assert!(!hub.log().contains("request{"), "spans are in the log:\n{}", hub.log());
}
