//! What an operator sees of a running hub.

use std::collections::{BTreeMap, BTreeSet};

use shuniu_tests::{Hub, citizen, person, repository};

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
