//! A grant over its limit, for an ordinary client.

use shuniu_tests::{Hub, citizen, person, repository};

use crate::{consume, producer, publish};

#[test]
fn a_throttled_consumer_gets_everything_all_the_same() {
    const PEOPLE: u32 = 60;
    let hub = Hub::start();
    let schema = hub.schema_id("population-register", "population");
    let producer = producer(&hub);
    for n in 0..PEOPLE {
        publish(&producer, &citizen(n), Some(&person(schema, &citizen(n), "张三", "500103")), b"");
    }
    let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    let id = "id = \"yuzhong-population\"";
    // The other codec by the way: this client reads it too.
    let terms = "codec = \"gzip\"\nlimits = { records_per_second = 20, bytes_per_second = 4000 }";
    let shown = hub.apply(&directory.replace(id, &format!("{id}\n{terms}")));
    assert!(shown.contains("records/s 20") && shown.contains("codec gzip"), "{shown}");
    // Until the hub follows.
    std::thread::sleep(std::time::Duration::from_secs(1));
    // To the end of every partition: a client that took a throttled partition for one at its end would stop short.
    let got = consume(&hub, "hall-yuzhong", "population", "throttled");
    assert_eq!(got.len(), usize::try_from(PEOPLE).unwrap());
    assert!(
        got.values().all(|records| matches!(records[..], [Some(_)])),
        "a record came twice or not at all"
    );
    // One for each answer with records: those that were empty are no deliveries.
    let log = hub.run(&["audit", "search", "--action", "delivered", "--system", "hall-yuzhong"]);
    let records = log.lines().map(|line| {
        let (_, after) = line.split_once(" records=").unwrap();
        after.split(' ').next().unwrap().parse::<u32>().unwrap()
    });
    let records: Vec<u32> = records.collect();
    assert_eq!(records.iter().sum::<u32>(), PEOPLE, "{log}");
    // Each batch is one record, so that no answer is over a second's worth, all partitions together.
    assert!(records.iter().all(|records| *records <= 20), "{log}");
    hub.verify();
}
