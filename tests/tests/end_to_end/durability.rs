//! kill -9, two hubs on one folder, a full disk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
