//! The table of docs/CLIENTS.md: it is this matrix.

use std::fmt::Write as _;

use shuniu_tests::repository;

use crate::clients::{CLIENTS, NewGroups};
use crate::scenarios::{NEW_GROUPS, SCENARIOS};

const BEGIN: &str = "<!-- matrix: when a test says that this is not so, put in what it says -->\n";
const END: &str = "<!-- end of matrix -->\n";

fn table() -> String {
    let mut text = String::from("| Client | Version |");
    for scenario in &SCENARIOS {
        write!(text, " {} |", scenario.title).unwrap();
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(SCENARIOS.len()));
    text.push('\n');
    for client in &CLIENTS {
        let version = client.version().unwrap_or_else(|| "as installed".to_owned());
        write!(text, "| {} | {version} |", client.title).unwrap();
        for scenario in &SCENARIOS {
            let cell = match scenario.title {
                "codecs" => client.codecs.join(", "),
                "refused record" if client.tells_why => "code and reason".to_owned(),
                "refused record" => "code".to_owned(),
                NEW_GROUPS => new_groups(client.new_groups).to_owned(),
                _ => "yes".to_owned(),
            };
            write!(text, " {cell} |").unwrap();
        }
        text.push('\n');
    }
    text
}

fn new_groups(it: NewGroups) -> &'static str {
    match it {
        NewGroups::No => "does not speak it",
        NewGroups::Told => "on Kafka; says on the engine that it is not served",
        NewGroups::Classic => "on Kafka; on the engine by the classic one",
        NewGroups::Silent => "on Kafka; waits in silence on the engine",
    }
}

/// Holds the page to the matrix, and says what must stand there.
pub(crate) fn the_page_says_it() {
    let page = std::fs::read_to_string(repository().join("docs/CLIENTS.md")).unwrap();
    let inside = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(inside, _)| inside);
    let table = table();
    assert_eq!(
        inside.map(str::trim),
        Some(table.trim()),
        "docs/CLIENTS.md must have between its two marks:\n{table}"
    );
}
