//! The documents say what the code says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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

#[test]
fn every_page_that_the_readme_names_is_there() {
    let readme = document("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        assert!(repository().join(link).exists(), "README.md names {link}");
    }
}
