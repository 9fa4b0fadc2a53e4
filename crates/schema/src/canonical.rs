//! The part of a schema that readers and writers depend on, for telling whether two texts say the same.

use serde_json::{Map, Value};

/// Attributes that change what a record's bytes mean, or how they resolve.
const KEPT: [&str; 13] = [
    "type",
    "name",
    "namespace",
    "fields",
    "items",
    "values",
    "symbols",
    "size",
    "logicalType",
    "precision",
    "scale",
    "default",
    "aliases",
];

/// The schema without documentation and attributes of other tools. Client libraries write the text anew from their
/// own model, which forgets some of them.
pub(crate) fn canonical(json: &Value) -> Value {
    match json {
        Value::Array(branches) => Value::Array(branches.iter().map(canonical).collect()),
        Value::Object(object) => {
            let kept: Map<String, Value> = object
                .iter()
                .filter(|(name, _)| KEPT.contains(&name.as_str()))
                .map(|(name, value)| {
                    let value =
                        if name == "default" || name == "aliases" { value.clone() } else { canonical(value) };
                    (name.clone(), value)
                })
                .collect();
            // `{"type": "string"}` and `"string"` are the same type.
            match kept.get("type") {
                Some(inner @ Value::String(_)) if kept.len() == 1 => inner.clone(),
                _ => Value::Object(kept),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json.clone(),
    }
}
