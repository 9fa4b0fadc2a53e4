//! The table of docs/CLIENTS.md: it is this matrix.

use std::fmt::Write as _;

use shuniu_tests::repository;

use crate::clients::CLIENTS;
use crate::scenarios::SCENARIOS;

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
    let mut notes: Vec<&str> = Vec::new();
    for client in &CLIENTS {
        let version = client.version().unwrap_or_else(|| "as installed".to_owned());
        write!(text, "| {} | {version} |", client.title).unwrap();
        for scenario in &SCENARIOS {
            match client.cannot(scenario.name) {
                Some(why) => {
                    let place = notes.iter().position(|it| *it == why).unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    write!(text, " no ({}) |", place + 1).unwrap();
                }
                None if scenario.title == "codecs" => {
                    write!(text, " {} |", client.codecs.join(", ")).unwrap()
                }
                None if scenario.title == "refused record" => {
                    text.push_str(if client.tells_why { " code and reason |" } else { " code |" });
                }
                None => text.push_str(" yes |"),
            }
        }
        text.push('\n');
    }
    for (n, note) in (1..).zip(notes) {
        write!(text, "\n({n}) {note}").unwrap();
    }
    text
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
