//! JSON: an array of flat objects. The file is read at once: an array cannot be told to be whole before its end.
//!
//! Objects become rows one by one, and what they take is counted: a file of some megabytes may have as many columns as objects.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::{Cell, FileError, Row, Rows, read_whole};
use crate::config::Source;
use crate::encoding::byte_order_mark;

const FILE_BYTES_MAX: u64 = 512 << 20;
/// Of the rows, as they are held.
const ROWS_BYTES_MAX: u64 = 2 << 30;
/// Of a column beside its name.
const COLUMN_BYTES: u64 = 128;

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
    let (columns, rows) = read(&text, &source.array, path, ROWS_BYTES_MAX)?;
    Ok(Rows::Whole { columns, rows: rows.into_iter(), digest })
}

fn read(text: &str, array: &str, path: &Path, bytes_max: u64) -> Result<(Vec<String>, Vec<Row>), FileError> {
    let keys: Vec<&str> = array.split('.').filter(|key| !key.is_empty()).collect();
    let mut table = Table { left: bytes_max, ..Table::default() };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = At { keys: &keys, table: &mut table }.deserialize(&mut reader).and_then(|()| reader.end());
    let too_large = || FileError::Sheet { path: path.to_owned(), bytes_max };
    if table.is_full {
        return Err(too_large());
    }
    read.map_err(|source| FileError::Json {
        path: path.to_owned(),
        array: array.to_owned(),
        source: Some(source),
    })?;
    if !table.is_there {
        return Err(FileError::Json { path: path.to_owned(), array: array.to_owned(), source: None });
    }
    let width = table.columns.len();
    table.take((table.rows.len() as u64).saturating_mul((width * size_of::<Cell>()) as u64));
    if table.is_full {
        return Err(too_large());
    }
    let rows = table.rows.into_iter().zip(1..).map(|(held, number)| {
        let mut cells = vec![Cell::Missing; width];
        for (column, cell) in held {
            if let Some(place) = cells.get_mut(column) {
                *place = cell;
            }
        }
        Row { number, at: None, cells }
    });
    let rows = rows.collect();
    Ok((table.columns, rows))
}

/// The rows so far. All keys are columns, in the order in which they appear first.
#[derive(Default)]
struct Table {
    columns: Vec<String>,
    positions: HashMap<String, usize>,
    rows: Vec<Vec<(usize, Cell)>>,
    /// The array was found.
    is_there: bool,
    /// Bytes that more may take.
    left: u64,
    /// More than may be held was to be.
    is_full: bool,
}

impl Table {
    fn take(&mut self, bytes: u64) {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => self.is_full = true,
        }
    }

    /// As above, for where reading ends with it.
    fn hold<E: serde::de::Error>(&mut self, bytes: u64) -> Result<(), E> {
        self.take(bytes);
        if self.is_full { Err(E::custom("it takes too much memory")) } else { Ok(()) }
    }

    fn column(&mut self, key: String) -> usize {
        let next = self.columns.len();
        if let Some(position) = self.positions.get(&key) {
            return *position;
        }
        self.take(COLUMN_BYTES + 2 * key.len() as u64);
        self.columns.push(key.clone());
        self.positions.insert(key, next);
        next
    }
}

/// The array behind these keys.
struct At<'a> {
    keys: &'a [&'a str],
    table: &'a mut Table,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() {
            deserializer.deserialize_seq(self)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys.first() {
            Some(key) => write!(f, "an object with `{key}`"),
            None => f.write_str("an array of objects"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, keys)) = self.keys.split_first() else { return Err(A::Error::custom("an object")) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(At { keys, table: &mut *self.table })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        // Of a key that is there twice the last counts.
        self.table.rows.clear();
        self.table.is_there = true;
        while elements.next_element_seed(Object { table: &mut *self.table })?.is_some() {}
        Ok(())
    }
}

/// One row.
struct Object<'a> {
    table: &'a mut Table,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut row = Vec::new();
        self.table.hold(size_of::<Vec<(usize, Cell)>>() as u64)?;
        while let Some(key) = map.next_key::<String>()? {
            let Value(cell) = map.next_value()?;
            let text = if let Cell::Text(text) = &cell { text.len() } else { 0 };
            self.table.hold((size_of::<(usize, Cell)>() + text) as u64)?;
            row.push((self.table.column(key), cell));
        }
        self.table.rows.push(row);
        Ok(())
    }
}

/// One value, as the text that it is.
struct Value(Cell);

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfCell).map(Self)
    }
}

struct OfCell;

impl<'de> Visitor<'de> for OfCell {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Cell, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"))?;
        Ok(Cell::Text(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Cell, E> {
        Ok(Cell::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Cell, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, array: &str, bytes_max: u64) -> Result<(Vec<String>, Vec<Vec<Cell>>), FileError> {
        let (columns, rows) = read(text, array, Path::new("1.json"), bytes_max)?;
        Ok((columns, rows.into_iter().map(|row| row.cells).collect()))
    }

    #[test]
    fn objects_are_rows_and_all_their_keys_columns() {
        let text = r#"{"x": 1, "data": {"y": [], "rows": [
            {"a": "t", "b": null, "c": [1, {}]}, {"d": 1e21, "a": -7, "e": 0.10, "a": true}
        ]}}"#;
        let (columns, found) = rows(text, "data.rows", 10_000).unwrap();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(columns, ["a", "b", "c", "d", "e"]);
        assert_eq!(found[0], [text("t"), Cell::Null, Cell::Nested, Cell::Missing, Cell::Missing]);
        assert_eq!(
            found[1],
            [
                text("true"),
                Cell::Missing,
                Cell::Missing,
                text(&Number::from_f64(1e21).unwrap().to_string()),
                text("0.1")
            ]
        );
        for (text, array) in
            [("[1]", ""), ("{}", ""), ("[]", "rows"), ("{}", "rows"), ("[{}] x", ""), ("[{}", "")]
        {
            let refused = rows(text, array, 10_000).unwrap_err();
            assert!(matches!(refused, FileError::Json { .. }), "{text}: {refused}");
        }
    }

    #[test]
    fn p10_json_takes_no_more_memory_than_it_may() {
        // A column for each object.
        let wide: Vec<_> = (0..2_000).map(|n| format!("{{\"k{n}\":1}}")).collect();
        let wide = format!("[{}]", wide.join(","));
        for (text, what) in
            [(wide.as_str(), "columns"), (&format!("[{}{{}}]", "{},".repeat(100_000)), "objects")]
        {
            assert!(text.len() < 400_000);
            let refused = rows(text, "", 2_000_000).unwrap_err();
            assert!(matches!(refused, FileError::Sheet { .. }), "{what}: {refused}");
        }
        // What no row needs is not held.
        let deep = format!("[{{\"a\":[{}0]}}]", "0,".repeat(100_000));
        assert_eq!(rows(&deep, "", 1_000).unwrap().1, [[Cell::Nested]]);
    }
}
