//! The crates depend on each other in one direction only.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::Command;

use shuniu_tests::repository;

/// Low to high. A crate may use those before it, and of those only what `ONLY` leaves where it says so.
const ORDER: [&str; 14] = [
    "model",
    "policy",
    "schema",
    "ledger",
    "wire",
    "store",
    "broker",
    "engine",
    "archive",
    "exchange",
    "gateway",
    "api",
    "connector",
    "shuniu",
];

/// Crates that may use no more of the others than these.
const ONLY: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("policy", &["model"]),
    ("schema", &["model"]),
    ("ledger", &["model"]),
    ("wire", &[]),
    ("gateway", &["exchange", "model", "wire"]),
    ("api", &["exchange", "model", "wire"]),
    ("connector", &["model", "schema"]),
];

/// What the core crates must not reach for: I/O, async, clocks, randomness.
const CORE: [&str; 5] = ["model", "policy", "schema", "ledger", "wire"];
const NOT_IN_CORE: [&str; 7] = ["tokio", "tokio-util", "sqlx", "rand", "rdkafka", "axum", "tracing"];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(repository())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|it| it["kind"].is_null());
        found.insert(name, normal.map(|it| it["name"].as_str().unwrap().to_owned()).collect());
    }
    found
}

fn folder(package: &str) -> &str {
    package.strip_prefix("shuniu-").unwrap_or(package)
}

#[test]
fn a_crate_uses_only_crates_below_it() {
    for (package, uses) in dependencies() {
        let name = folder(&package);
        let Some(place) = ORDER.iter().position(|it| *it == name) else {
            assert!(matches!(name, "tests" | "fuzz"), "`{package}` is not in the table of layers");
            continue;
        };
        for used in uses.iter().map(|it| folder(it)).filter(|it| ORDER.contains(it)) {
            let below = ORDER.iter().position(|it| *it == used).unwrap();
            assert!(below < place, "`{name}` uses `{used}`, which is not below it");
            if let Some((_, allowed)) = ONLY.iter().find(|(it, _)| *it == name) {
                assert!(allowed.contains(&used), "`{name}` uses `{used}`");
            }
        }
    }
}

#[test]
fn the_core_has_no_io_no_async_and_no_clock() {
    let dependencies = dependencies();
    for name in CORE {
        let uses = &dependencies[&format!("shuniu-{name}")];
        for banned in NOT_IN_CORE {
            assert!(!uses.iter().any(|used| used == banned), "`{name}` uses `{banned}`");
        }
    }
}

#[test]
fn one_crate_knows_kafka_protocol_and_one_knows_rdkafka() {
    for (package, uses) in dependencies() {
        let name = folder(&package);
        assert!(
            name == "wire" || !uses.iter().any(|used| used == "kafka-protocol"),
            "`{name}` uses kafka-protocol"
        );
        let client = matches!(name, "connector" | "tests");
        assert!(client || !uses.iter().any(|used| used == "rdkafka"), "`{name}` uses rdkafka");
    }
}
