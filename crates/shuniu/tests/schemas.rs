//! The registers' schemas and the pages for their readers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use shuniu_model::{ResourceName, Sharing};
use shuniu_schema::Schema;

fn resources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 8);
    folders
}

/// The schema's versions, oldest first.
fn versions(folder: &Path) -> Vec<Schema> {
    (1..)
        .map(|version| folder.join(format!("v{version}.avsc")))
        .take_while(|path| path.exists())
        .map(|path| {
            Schema::parse(&fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{path:?}: {error}"))
        })
        .collect()
}

#[test]
fn every_version_of_every_schema_keeps_the_rules_for_resources() {
    for folder in resources() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        ResourceName::parse(&name).unwrap();
        let files = fs::read_dir(&folder).unwrap().filter(|entry| {
            entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "avsc")
        });
        assert_eq!(versions(&folder).len(), files.count(), "{name}: v1, v2, .. without a gap");
    }
}

#[test]
fn every_page_lists_the_items_of_the_latest_version() {
    for folder in resources() {
        let page = fs::read_to_string(folder.join("README.md")).unwrap();
        let rows: Vec<Vec<&str>> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let latest = versions(&folder).pop().unwrap();
        assert_eq!(rows.len(), latest.items().len(), "{folder:?}");
        for (row, item) in rows.iter().zip(latest.items()) {
            let sharing = match &item.sharing {
                Sharing::Unconditional => "unconditional",
                Sharing::Conditional => "conditional",
                Sharing::NotShared { basis } => {
                    assert!(row[9].contains(basis), "{folder:?} {}", item.name);
                    "not-shared"
                }
            };
            let expected = [
                format!("`{}`", item.name),
                item.name_zh.clone(),
                item.level.to_string(),
                sharing.to_owned(),
            ];
            assert_eq!(
                [row[1], row[2], row[7], row[8]],
                expected.each_ref().map(String::as_str),
                "{folder:?}"
            );
        }
    }
}
