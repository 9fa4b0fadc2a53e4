//! JSON: an array of flat objects. The file is read at once: an array cannot be told to be whole before its end.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Cell, FileError, Row, Rows, read_whole};
use crate::config::Source;
use crate::encoding::byte_order_mark;

const FILE_BYTES_MAX: u64 = 512 << 20;

pub(super) fn open(source: &Source, path: &Path) -> Result<Rows, FileError> {
    let (content, digest) = read_whole(path, FILE_BYTES_MAX)?;
    let declared = source.encoding.name();
    let mark = byte_order_mark(source.encoding, &content).map_err(|found| FileError::Mark {
        path: path.to_owned(),
        declared,
        found,
    })?;
    let text = source.encoding.decode(content.get(mark..).unwrap_or_default()).map_err(|undecodable| {
        FileError::Undecodable { path: path.to_owned(), at: (undecodable.at + mark) as u64, declared }
    })?;
    drop(content);
    let wrong = |source_error| FileError::Json {
        path: path.to_owned(),
        array: source.array.clone(),
        source: source_error,
    };
    let mut found: Value = serde_json::from_str(&text).map_err(|error| wrong(Some(error)))?;
    for key in source.array.split('.').filter(|key| !key.is_empty()) {
        found = found.get_mut(key).map(Value::take).ok_or_else(|| wrong(None))?;
    }
    let Value::Array(elements) = found else { return Err(wrong(None)) };
    let objects: Vec<Map<String, Value>> = elements
        .into_iter()
        .map(|element| match element {
            Value::Object(object) => Ok(object),
            _ => Err(wrong(None)),
        })
        .collect::<Result<_, _>>()?;
    let (columns, rows) = table(objects);
    Ok(Rows::Whole { columns, rows: rows.into_iter(), digest })
}

/// All keys are columns, in the order in which they appear first.
fn table(objects: Vec<Map<String, Value>>) -> (Vec<String>, Vec<Row>) {
    let mut columns: Vec<String> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for key in objects.iter().flat_map(Map::keys) {
        if !positions.contains_key(key) {
            positions.insert(key.clone(), columns.len());
            columns.push(key.clone());
        }
    }
    let rows = objects.into_iter().zip(1..).map(|(object, number)| {
        let mut cells = vec![Cell::Missing; columns.len()];
        for (key, value) in object {
            if let Some(cell) = positions.get(&key).and_then(|position| cells.get_mut(*position)) {
                *cell = self::cell(value);
            }
        }
        Row { number, at: None, cells }
    });
    let rows = rows.collect();
    (columns, rows)
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Text(value.to_string()),
        Value::Number(number) => Cell::Text(number.to_string()),
        Value::String(text) => Cell::Text(text),
        Value::Array(_) | Value::Object(_) => Cell::Nested,
    }
}
