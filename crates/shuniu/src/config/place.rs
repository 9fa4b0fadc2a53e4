//! Where in the file something stands.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The line of a byte, counted from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Where a key stands, with its table; `None` if the file does not have it.
pub(super) fn of_key(text: &str, key: &str) -> Option<usize> {
    entries(text).into_iter().find(|entry| entry.key == key).map(|entry| entry.name.start)
}

/// Whose value it is that stands at a byte; `None` if no key's, or where the file is no TOML.
pub(super) fn key_at(text: &str, at: usize) -> Option<String> {
    let around = entries(text).into_iter().filter(|entry| entry.value.contains(&at));
    around.max_by_key(|entry| entry.key.len()).map(|entry| entry.key)
}

struct Entry {
    /// With its table.
    key: String,
    name: Range<usize>,
    value: Range<usize>,
}

fn entries(text: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(table.get_ref(), "", &mut found);
    }
    found
}

fn walk(table: &DeTable<'_>, prefix: &str, found: &mut Vec<Entry>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            walk(inner, &format!("{key}."), found);
        }
        found.push(Entry { key, name: name.span(), value: value.span() });
    }
}
