//! From one department to another, as granted, on a log that can be checked.

use shuniu_tests::Hub;

/// One line of what the Python consumer writes.
fn lines(output: &str, system: &str) -> Vec<serde_json::Value> {
    let all = output.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    all.filter(|line| line["system"] == system).collect()
}

#[test]
fn a_record_reaches_another_department_as_granted_and_stands_on_the_log() {
    let hub = Hub::start();
    // confluent-kafka's own Avro serialisers, on the hub's registry.
    let output = hub.python("avro.py", &[]);
    let yuzhong = lines(&output, "hall-yuzhong");
    let puts = |lines: &[serde_json::Value]| lines.iter().filter(|line| !line["value"].is_null()).count();
    assert_eq!(
        (yuzhong.len(), puts(&yuzhong)),
        (6, 4),
        "four people; one moved away, one was deleted: {output}"
    );
    let jiangbei = lines(&output, "hall-jiangbei");
    assert_eq!((jiangbei.len(), puts(&jiangbei)), (1, 1));
    let bank = lines(&output, "bank-supervisor");
    assert_eq!((bank.len(), puts(&bank)), (6, 5));
    let mut items: Vec<_> = yuzhong[0]["value"].as_object().unwrap().keys().cloned().collect();
    items.sort();
    assert_eq!(
        items,
        ["birth_date", "ethnic", "hukou_division", "id_no", "live_addr", "live_division", "name", "sex"]
    );
    assert!(output.contains("欧**") && !output.contains("欧阳修"));
    assert!(bank.iter().all(|line| line["key"].as_str().unwrap().len() == 32));

    // Debian's kcat reads the same, and is refused what it may not have.
    let read =
        hub.kcat("hall-jiangbei", &["-C", "-t", "population", "-e", "-o", "beginning", "-f", "%k|%h|%S\n"]);
    let records: Vec<&str> = read.lines().filter(|line| line.starts_with('5')).collect();
    assert_eq!(records.len(), 1, "{read}");
    assert!(!records[0].contains("before"), "{read}");
    for topic in ["legal-person", "no-such-topic"] {
        let refused = hub.kcat("hall-jiangbei", &["-C", "-t", topic, "-e", "-o", "beginning"]);
        assert!(refused.to_lowercase().contains("authorization failed"), "{topic}: {refused}");
    }

    // The log.
    let delivered = hub.recorded(
        &["--resource", "population", "--action", "delivered"],
        &["yuzhong-population", "jiangbei-population", "bank-population"],
    );
    hub.verify();
    assert!(!delivered.contains("欧"), "a payload is on the log");
}
