//! Unknown keys, and the known one that is nearest.

use toml::{Table, Value};

use super::ConfigError;

/// Likeness (Damerau and Levenshtein, 0 to 1) from which a known key is worth naming.
const NEAR: f64 = 0.6;

/// Refuses the first key that `known` lacks.
pub(super) fn check(given: &Table, known: &Table) -> Result<(), ConfigError> {
    walk(given, known, known, "")
}

fn walk(given: &Table, level: &Table, known: &Table, prefix: &str) -> Result<(), ConfigError> {
    for (key, value) in given {
        let path = format!("{prefix}{key}");
        match (level.get(key), value) {
            (Some(Value::Table(below)), Value::Table(inner)) => {
                walk(inner, below, known, &format!("{path}."))?
            }
            (Some(_), _) => {}
            (None, _) => {
                return Err(ConfigError::UnknownKey {
                    nearest: nearest(key, level, known, prefix),
                    key: path,
                });
            }
        }
    }
    Ok(())
}

/// First among the table's own keys, then among those of every table.
fn nearest(key: &str, level: &Table, known: &Table, prefix: &str) -> Option<String> {
    let own = level.keys().map(|name| (name.as_str(), format!("{prefix}{name}")));
    let others = known.iter().filter_map(|(table, value)| Some((table, value.as_table()?)));
    let others = others
        .flat_map(|(table, keys)| keys.keys().map(move |name| (name.as_str(), format!("{table}.{name}"))));
    best(key, own).or_else(|| best(key, others))
}

fn best<'a>(key: &str, names: impl Iterator<Item = (&'a str, String)>) -> Option<String> {
    names
        .map(|(name, path)| (strsim::normalized_damerau_levenshtein(key, name), path))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, path)| path)
}
