//! What the tests say raw requests with, and how they look at answers.

use std::collections::BTreeMap;
use std::fmt::Debug;

pub(crate) use shuniu_tests::Raw;

/// The fields of an answer: each one's path, elements of arrays counted, and what is in it.
pub(crate) fn fields(answer: &impl Debug) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    // Names of what is open, and how many elements it has had.
    let mut open: Vec<(String, usize)> = Vec::new();
    for line in format!("{answer:#?}").lines() {
        let line = line.trim().trim_end_matches(',');
        if matches!(line, "}" | "]" | ")" | "},") {
            open.pop();
            continue;
        }
        // A field's name, or the place in an array or a tuple.
        let (name, value) = match line.split_once(": ") {
            Some((name, value))
                if name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_') =>
            {
                (name.to_owned(), value)
            }
            _ => {
                let at = open.last_mut().map_or(0, |(_, count)| {
                    *count += 1;
                    *count - 1
                });
                (at.to_string(), line)
            }
        };
        if value.ends_with(['{', '[', '(']) {
            open.push((name, 0));
        } else {
            let path: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).chain([name.as_str()]).collect();
            fields.insert(path.join("."), value.to_owned());
        }
    }
    fields
}
