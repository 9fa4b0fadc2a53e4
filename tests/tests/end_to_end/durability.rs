//! kill -9, two hubs on one folder, a full disk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use shuniu_tests::{Hub, Publisher, citizen, person};

use crate::{consume, publish};

#[test]
fn p4_nothing_acknowledged_is_lost_or_doubled_across_kill_9_of_the_hub() {
    let mut hub = Hub::start();
    let publisher = Publisher::new(&hub);
    let total = 6_000_u32;
    for n in 0..total {
        publisher.publish(n);
        if n % 200 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        if n == total / 3 || n == 2 * total / 3 {
            hub.kill();
            hub.restart();
        }
    }
    let acknowledged: BTreeSet<String> = publisher.finish(Duration::from_secs(90)).into_keys().collect();
    assert_eq!(acknowledged.len(), usize::try_from(total).unwrap());
    hub.kill();
    hub.restart();

    let got = consume(&hub, "hall-yuzhong", "population", "check");
    let got_keys: BTreeSet<String> = got.keys().cloned().collect();
    assert_eq!(got_keys, acknowledged);
    let doubled: Vec<_> = got.iter().filter(|(_, records)| records.len() != 1).map(|(key, _)| key).collect();
    assert!(doubled.is_empty(), "{} records are there twice", doubled.len());
    hub.verify();
}

#[test]
fn a_second_hub_on_a_folder_is_turned_away_and_told_why() {
    let hub = Hub::start();
    let mut second = hub.spawn();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = second.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            second.kill().unwrap();
            panic!("the second hub runs");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!status.success());
    assert!(hub.curl("hall-yuzhong", "/subjects").contains("population-value"), "the first hub is disturbed");
}

#[test]
fn p4_damaged_records_refuse_the_start_until_the_loss_is_accepted_and_no_offset_comes_again() {
    let mut hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    let put = |hub: &Hub, n: u32| {
        let key = citizen(n);
        publish(&crate::producer(hub), &key, Some(&person(schema, &key, "张三", "500103")), b"");
    };
    (0..20).for_each(|n| put(&hub, n));
    hub.stop();
    // The fullest partition: one record a batch.
    let topics = hub.folder().join("records/topics");
    let folder_of = |partition: i32| topics.join(format!("population-{partition}"));
    let log_of = |partition: i32| folder_of(partition).join("00000000000000000000-0.log");
    let partition = (0..4).max_by_key(|it| std::fs::metadata(log_of(*it)).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(log_of(partition)).unwrap();
    let starts = batch_starts(&bytes);
    assert!(starts.len() > 2);
    let last = i64::try_from(starts.len()).unwrap() - 1;
    bytes[starts[1] + 70] ^= 1;
    std::fs::write(log_of(partition), &bytes).unwrap();

    let accept = refused(&hub, partition);
    assert_eq!(&accept[4..], ["--first", "1", "--last", &last.to_string()]);
    assert_eq!(std::fs::read(log_of(partition)).unwrap(), bytes, "nothing is cut");
    // Other offsets are not given up, nor the audit log's.
    assert!(
        !hub.command(&["records", "accept-loss", &accept[2], &accept[3], "--first", "0", "--last", "1"])
            .status
            .success()
    );
    assert!(
        !hub.command(&["records", "accept-loss", "shuniu.audit", "0", "--first", "0", "--last", "9"])
            .status
            .success()
    );
    hub.run(&accept.iter().map(String::as_str).collect::<Vec<_>>());
    hub.restart();
    let left = consume(&hub, "hall-yuzhong", "population", "check");
    assert_eq!(left.len(), 20 - usize::try_from(last).unwrap());
    assert_eq!(high(&hub, partition), last + 1, "the lost offsets stay used");
    let accepted = hub.run(&["audit", "search", "--action", "administered"]);
    assert!(accepted.contains(&format!("partition {partition}, offsets 1 to {last}")), "{accepted}");

    // Now what the record store alone cannot see: an end cut off at a batch, with the note of how far it was.
    (20..40).for_each(|n| put(&hub, n));
    let end = high(&hub, partition);
    assert!(end > last + 2);
    hub.stop();
    let mut logs: Vec<_> =
        std::fs::read_dir(folder_of(partition)).unwrap().map(|it| it.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|it| it == "log"));
    let active = logs.into_iter().max().unwrap();
    let bytes = std::fs::read(&active).unwrap();
    let starts = batch_starts(&bytes);
    std::fs::write(&active, &bytes[..starts[starts.len() - 2]]).unwrap();
    std::fs::remove_file(folder_of(partition).join("durable")).unwrap();
    let accept = refused(&hub, partition);
    assert_eq!(&accept[4..], ["--first", &(end - 2).to_string(), "--last", &(end - 1).to_string()]);
    assert!(hub.log().contains("the audit log has entries of records up to"));
    hub.run(&accept.iter().map(String::as_str).collect::<Vec<_>>());
    hub.restart();
    assert_eq!(high(&hub, partition), end);
    (40..60).for_each(|n| put(&hub, n));
    assert!(high(&hub, partition) > end);
    let left = consume(&hub, "hall-yuzhong", "population", "check-again");
    assert_eq!(left.len(), 60 - usize::try_from(last).unwrap() - 2);
    hub.verify();
}

/// Where the batches of a log file begin.
fn batch_starts(log: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < log.len() {
        starts.push(at);
        let length: [u8; 4] = log[at + 8..at + 12].try_into().unwrap();
        at += 12 + usize::try_from(u32::from_be_bytes(length)).unwrap();
    }
    starts
}

/// Starts the hub, which must end by itself before it serves; the command that it names for accepting the loss.
fn refused(hub: &Hub, partition: i32) -> Vec<String> {
    let log = refuses(hub);
    let command = log.split_once("shuniu records accept-loss").map(|(_, command)| command);
    assert!(command.is_some(), "{log}");
    let words: Vec<String> = "records accept-loss"
        .split(' ')
        .chain(command.unwrap_or_default().split_whitespace())
        .take(8)
        .map(str::to_owned)
        .collect();
    assert_eq!(words[2..4], ["population".to_owned(), partition.to_string()], "{log}");
    words
}

/// Starts the hub, which must end by itself before it serves; what it says.
fn refuses(hub: &Hub) -> String {
    let seen = hub.log().lines().count();
    let mut process = hub.spawn();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("the hub runs: {}", hub.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!status.success());
    let log = hub.log().lines().skip(seen).collect::<Vec<_>>().join("\n");
    assert!(!log.contains("the hub is open"), "{log}");
    log
}

#[test]
fn p7_what_the_start_finds_lost_or_older_is_named_and_no_loss_is_offered() {
    let mut hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    (0..5).for_each(|n| {
        let key = citizen(n);
        publish(&crate::producer(&hub), &key, Some(&person(schema, &key, "张三", "500103")), b"");
    });
    hub.stop();
    let path = |name: &str| hub.folder().join(name);

    // The tables of whole records.
    let (tables, aside) = (path("records/engine.db"), path("aside"));
    std::fs::rename(&tables, &aside).unwrap();
    let log = refuses(&hub);
    assert!(log.contains("engine.db` is missing or empty") && !log.contains("accept-loss"), "{log}");
    std::fs::rename(&aside, &tables).unwrap();

    // The audit log's own topic.
    let evidence = path("records/topics/shuniu.audit-0/00000000000000000000-0.log");
    let whole = std::fs::read(&evidence).unwrap();
    let mut changed = whole.clone();
    changed[70] ^= 1;
    std::fs::write(&evidence, &changed).unwrap();
    let log = refuses(&hub);
    assert!(log.contains("They are evidence") && !log.contains("accept-loss"), "{log}");
    std::fs::write(&evidence, &whole).unwrap();

    // The directory: lost, and as it was before the revocation that a hub without its directory would not know of.
    let (directory, old, newest) = (path("directory.db"), path("old"), path("newest"));
    std::fs::copy(&directory, &old).unwrap();
    hub.run(&["ca", "revoke", "abcd", "--reason", "a lost key"]);
    std::fs::rename(&directory, &newest).unwrap();
    for put_back in [None, Some(&old)] {
        if let Some(old) = put_back {
            std::fs::copy(old, &directory).unwrap();
        }
        let log = refuses(&hub);
        assert!(log.contains("policy version") && log.contains("policy-version"), "{log}");
        let file = path("directory.toml");
        let apply = hub.command(&["directory", "apply", file.to_str().unwrap()]);
        assert!(String::from_utf8_lossy(&apply.stderr).contains("has seen version"), "{apply:?}");
    }
    std::fs::rename(&newest, &directory).unwrap();

    // A key: this year's, of which another would be made. In December there is the next year's too.
    let keys = std::fs::read_dir(path("keys")).unwrap().map(|it| it.unwrap().path());
    let subjects = keys.filter(|it| it.to_string_lossy().contains("subjects-")).min().unwrap();
    std::fs::rename(&subjects, &aside).unwrap();
    let log = refuses(&hub);
    assert!(log.contains("is missing, and") && log.contains("from a backup"), "{log}");
    std::fs::rename(&aside, &subjects).unwrap();

    hub.restart();
    assert_eq!(consume(&hub, "hall-yuzhong", "population", "check").len(), 5);
    hub.verify();
}

/// The offset after the last one of a partition of the population's topic.
fn high(hub: &Hub, partition: i32) -> i64 {
    let consumer: BaseConsumer = hub.client("hall-yuzhong").create().unwrap();
    consumer.fetch_watermarks("population", partition, Duration::from_secs(20)).unwrap().1
}

#[test]
fn p3_a_full_disk_stops_deliveries_and_acknowledgements_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("left out: a full disk needs the right to mount a small file system");
        return;
    }
    let place = folder.path().to_owned();
    let inner = tempfile::tempdir_in(&place).unwrap();
    let mut hub = Hub::prepare(inner);
    hub.restart();
    let schema = hub.schema_id("population-register", "population");
    let producer = crate::producer(&hub);
    publish(&producer, &citizen(1), Some(&person(schema, &citizen(1), "张三", "500103")), b"");
    // Everything that is left.
    let filler = place.join("filler");
    std::process::Command::new("sh")
        .args(["-c", &format!("cat /dev/zero > {} 2>/dev/null", filler.display())])
        .status()
        .unwrap();

    let refused = hub.kcat(
        "hall-yuzhong",
        &[
            "-C",
            "-t",
            "population",
            "-o",
            "beginning",
            "-c",
            "1",
            "-f",
            "record %k\n",
            "-X",
            "debug=",
            "-m",
            "5",
        ],
    );
    let short: BaseProducer =
        hub.client("population-register").set("message.timeout.ms", "4000").create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "before", value: Some("") });
    let key = citizen(2);
    let value = person(schema, &key, "李四", "500103");
    short
        .send(BaseRecord::to("population").key(&key).payload(&value).headers(headers))
        .map_err(|(e, _)| e)
        .unwrap();
    drop(short.flush(Duration::from_secs(8)));

    std::fs::remove_file(&filler).unwrap();
    hub.kill();
    hub.restart();
    let got = consume(&hub, "hall-yuzhong", "population", "check");
    assert!(got.contains_key(&citizen(1)));
    hub.verify();
    // What did leave while the disk was full is on the log all the same: a delivery needs its entry.
    if refused.contains("record ") {
        hub.recorded(&["--action", "delivered"], &["yuzhong-population"]);
    }
    drop(hub);
    std::process::Command::new("umount").arg(&place).status().unwrap();
}
