//! The documents say what the code says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use shuniu_policy::Code;
use shuniu_tests::repository;

fn document(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// Every test's name that begins with a promise's number, in the sources under a folder.
fn promises(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            promises(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.filter(|name| is_promise(name)).map(str::to_owned));
        }
    }
}

fn is_promise(name: &str) -> bool {
    let number = name.strip_prefix('p').and_then(|rest| rest.split_once('_'));
    number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()))
}

#[test]
fn every_denial_code_is_documented() {
    let errors = document("docs/ERRORS.md");
    for code in Code::ALL {
        assert!(errors.contains(&format!("| `{code}` |")), "docs/ERRORS.md lacks `{code}`");
    }
}

#[test]
fn the_architecture_names_each_promises_tests_and_no_others() {
    let architecture = document("docs/ARCHITECTURE.md");
    let named: BTreeSet<String> =
        architecture.split('`').filter(|name| is_promise(name)).map(str::to_owned).collect();
    let mut there = BTreeSet::new();
    for folder in ["crates", "tests"] {
        promises(&repository().join(folder), &mut there);
    }
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(gone.is_empty(), "docs/ARCHITECTURE.md names tests that are not there: {gone:?}");
    let unnamed: Vec<_> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "docs/ARCHITECTURE.md does not name the tests {unnamed:?}");
}

/// Every name in a text that looks like a metric's, without what Prometheus puts behind a histogram's.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let names = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let names = names.filter(|name| name.starts_with("shuniu_") || name.starts_with("process_"));
    names
        .map(|name| {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
            bare.unwrap_or(name).to_owned()
        })
        .collect()
}

/// The metrics that docs/OPERATING.md lists; a test of the program holds its list equal to that.
fn listed_metrics() -> BTreeSet<String> {
    let operating = document("docs/OPERATING.md");
    let rows = operating.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.filter(|name| name.starts_with("shuniu_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Every name that the sources under a folder measure.
fn measured(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            measured(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for call in ["counter!(", "gauge!(", "histogram!("] {
                let names = text.split(call).skip(1).filter_map(|rest| rest.split('"').nth(1));
                found.extend(names.filter(|name| name.starts_with("shuniu_")).map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_metric_that_is_measured_is_listed_and_every_one_listed_is_measured() {
    let mut there = BTreeSet::new();
    measured(&repository().join("crates"), &mut there);
    let listed: BTreeSet<_> = listed_metrics().into_iter().filter(|it| it.starts_with("shuniu_")).collect();
    assert_eq!(there, listed);
}

#[test]
fn the_board_and_the_alerts_ask_for_listed_metrics_alone() {
    let listed = listed_metrics();
    let board: serde_json::Value = serde_json::from_str(&document("config/grafana-board.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let asked = metrics_in(target["expr"].as_str().unwrap());
            assert!(!asked.is_empty() && asked.is_subset(&listed), "panel {}: {asked:?}", panel["title"]);
        }
    }
    let alerts = document("config/alerts.yml");
    let asked: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(asked.len() > 10);
    for expression in asked {
        assert!(metrics_in(expression).is_subset(&listed), "{expression}");
    }
}

#[test]
fn every_alert_says_in_the_document_what_to_do() {
    let (alerts, operating) = (document("config/alerts.yml"), document("docs/OPERATING.md"));
    for name in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(operating.contains(&format!("| `{name}` |")), "docs/OPERATING.md lacks `{name}`");
    }
}

#[test]
fn every_alert_rule_speaks_when_it_should_and_only_then() {
    let cases = "tests/alerts/alerts.test.yml";
    let (alerts, tested) = (document("config/alerts.yml"), document(cases));
    for name in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let quiet = format!("{{ eval_time: 2h, alertname: {name} }}");
        assert!(
            tested.contains(&quiet) && tested.contains(&format!("name: {name}\n")),
            "{cases} lacks {name}"
        );
    }
    let promtool = Command::new("promtool").args(["test", "rules", cases]).current_dir(repository()).output();
    let Ok(output) = promtool else {
        println!("left out: promtool is not installed here (Debian's package prometheus)");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_page_that_the_readme_names_is_there() {
    let readme = document("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        assert!(repository().join(link).exists(), "README.md names {link}");
    }
}
