//! Several equal hubs on one cluster, one directory and one audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use shuniu_tests::{Hub, Publisher, Replicas, Way, citizen, repository};

use crate::probe::Probe;

/// Everything that a system is given: of each key, where it stands and what it holds.
type Given = BTreeMap<String, Vec<(i32, i64, Vec<u8>)>>;

fn consumer(hub: &Hub, system: &str, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = hub
        .client(system)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .create()
        .unwrap();
    consumer.subscribe(&["population"]).unwrap();
    consumer
}

fn read(consumer: &BaseConsumer, wait: Duration, given: &mut Given) {
    // A broker or a hub that is gone is an error that passes.
    if let Some(Ok(message)) = consumer.poll(wait) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        let value = message.payload().unwrap_or_default().to_vec();
        given.entry(key).or_default().push((message.partition(), message.offset(), value));
    }
}

/// Reads until each of the keys was there.
fn read_all(consumer: &BaseConsumer, keys: &BTreeMap<String, usize>, given: &mut Given) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while keys.keys().any(|key| !given.contains_key(key)) {
        assert!(Instant::now() < deadline, "{} of {} records came", given.len(), keys.len());
        read(consumer, Duration::from_millis(500), given);
    }
}

/// A client for which `localhost` is both hubs and no relay, so that it takes the next address when one does not answer;
/// `None` where a process may not have names of its own. Its output goes to a file.
fn with_addresses(replicas: &Replicas, folder: &std::path::Path, messages: usize) -> Option<Child> {
    let (certificate, key, authority) = replicas.operator.certificate("hall-yuzhong");
    let hosts: String =
        (0..replicas.count()).map(|hub| format!("{} localhost\n", replicas.hub(hub).address())).collect();
    std::fs::write(folder.join("hosts"), hosts).unwrap();
    let names = |script: &str| {
        let mut command = Command::new("unshare");
        let mount = format!("mount --bind \"$0\" /etc/hosts && {script}");
        command.args(["-rm", "sh", "-c", &mount]).arg(folder.join("hosts"));
        // Cargo puts its own librdkafka before Debian's.
        command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null());
        command
    };
    if !names("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("left out: no client looks the hubs' addresses up, as none may have names of its own here");
        return None;
    }
    let client = names("exec kcat \"$@\"")
        .args(["-b", &replicas.operator.bootstrap(), "-X", "security.protocol=ssl"])
        .args(["-X", &format!("ssl.ca.location={}", authority.display())])
        .args(["-X", &format!("ssl.certificate.location={}", certificate.display())])
        .args(["-X", &format!("ssl.key.location={}", key.display())])
        .args(["-X", "socket.timeout.ms=10000", "-X", "topic.metadata.refresh.interval.ms=1000"])
        .args(["-C", "-t", "population", "-o", "beginning", "-f", "%k\\n", "-u", "-E"])
        .args(["-c", &messages.to_string()])
        .stdout(std::fs::File::create(folder.join("out")).unwrap())
        .stderr(std::fs::File::create(folder.join("err")).unwrap())
        .spawn();
    Some(client.unwrap())
}

/// The same answers from both, while the clients' way to the other is cut.
fn the_same_from_both(replicas: &Replicas, keys: &BTreeMap<String, usize>) {
    let answers: Vec<(String, Given)> = (0..2)
        .map(|hub| {
            replicas.hub(1 - hub).from_clients(Way::Cut);
            let schema = replicas.operator.curl("hall-yuzhong", "/subjects/population-value/versions/latest");
            let mut given = Given::new();
            read_all(&consumer(&replicas.operator, "hall-yuzhong", &format!("at-{hub}")), keys, &mut given);
            replicas.hub(1 - hub).from_clients(Way::Open);
            (schema, given)
        })
        .collect();
    assert!(answers[0].0.contains("\"id\""), "{}", answers[0].0);
    assert!(answers[0] == answers[1], "the two hubs answer differently");
}

#[test]
fn p8_two_hubs_are_one_and_clients_go_on_at_the_other_when_one_is_killed() {
    let Some(mut replicas) = Replicas::start(2) else {
        println!("left out: PostgreSQL is not installed here");
        return;
    };
    let publisher = Publisher::new(&replicas.operator);
    for n in 0..300 {
        publisher.publish(n);
    }
    let keys = publisher.finish(Duration::from_secs(60));
    assert_eq!(keys.len(), 300);

    the_same_from_both(&replicas, &keys);

    // Killed in turns, while records go in and out.
    let live = consumer(&replicas.operator, "hall-yuzhong", "live");
    let folder = tempfile::tempdir().unwrap();
    let total = 3_000_u32;
    let other = with_addresses(&replicas, folder.path(), usize::try_from(total).unwrap());
    let mut given = Given::new();
    for n in 300..total {
        publisher.publish(n);
        read(&live, Duration::ZERO, &mut given);
        if n % 100 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        match n {
            // The one that moves the log's tiles first: the other takes over.
            800 => {
                let victim = replicas.sequencing();
                replicas.kill(victim);
                publisher.flush(Duration::from_secs(90));
                replicas.spawn(victim);
                replicas.wait_ready(victim);
            }
            1_500 => {
                replicas.kill(0);
                publisher.flush(Duration::from_secs(90));
            }
            2_000 => {
                replicas.spawn(0);
                replicas.wait_ready(0);
                replicas.kill(1);
            }
            2_500 => {
                replicas.spawn(1);
                replicas.wait_ready(1);
            }
            _ => {}
        }
    }
    let keys = publisher.finish(Duration::from_secs(120));
    assert_eq!(keys.len(), usize::try_from(total).unwrap());
    read_all(&live, &keys, &mut given);
    let mut all = Given::new();
    read_all(&consumer(&replicas.operator, "hall-yuzhong", "check"), &keys, &mut all);
    let doubled = all.values().filter(|places| places.len() != 1).count();
    assert_eq!(doubled, 0, "records are there twice");
    if let Some(mut other) = other {
        let deadline = Instant::now() + Duration::from_secs(120);
        while other.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        other.kill().ok();
        other.wait().unwrap();
        let got = std::fs::read_to_string(folder.path().join("out")).unwrap();
        let got: BTreeSet<&str> = got.lines().collect();
        let missing = keys.keys().filter(|key| !got.contains(key.as_str())).count();
        assert_eq!(missing, 0, "{}", std::fs::read_to_string(folder.path().join("err")).unwrap());
    }

    replicas
        .operator
        .recorded(&["--resource", "population", "--action", "delivered"], &["yuzhong-population"]);
    replicas.stop(0);
    replicas.operator.verify();
    replicas.stop(1);
    replicas.operator.verify();
}

#[test]
fn p6_a_grant_that_is_revoked_at_the_database_stops_at_every_hub_within_a_second() {
    let Some(replicas) = Replicas::start(2) else {
        println!("left out: PostgreSQL is not installed here");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let probes: Vec<Probe> =
        (0..2).map(|hub| Probe::start(runtime.handle(), &replicas, hub, "hall-yuzhong")).collect();
    let publisher = Publisher::new(&replicas.operator);
    let mut sent = BTreeMap::new();
    let mut n = 0;
    let mut publish_for = |wait: Duration, sent: &mut BTreeMap<String, SystemTime>| {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            sent.insert(citizen(n), SystemTime::now());
            publisher.publish(n);
            n += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while probes.iter().any(|probe| probe.with(|notes| notes.seen.len()) < 20) {
        assert!(Instant::now() < deadline, "the hubs do not both deliver");
        publish_for(Duration::from_millis(200), &mut sent);
    }
    let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    let grant = "id = \"yuzhong-population\"";
    replicas.operator.apply(&directory.replace(grant, &format!("{grant}\nstate = \"revoked\"")));
    let revoked = SystemTime::now();
    publish_for(Duration::from_secs(3), &mut sent);
    for (hub, probe) in probes.iter().enumerate() {
        probe.with(|notes| {
            assert!(notes.refused.is_some(), "hub {hub} does not refuse");
            for record in &notes.seen {
                let late = sent[&record.key].duration_since(revoked).unwrap_or_default();
                assert!(late < Duration::from_secs(1), "hub {hub} delivered a record of {late:?} later");
            }
        });
    }
}
