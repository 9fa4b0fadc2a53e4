//! The table's columns, from the schema of what is delivered.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value as Json;

use super::SinkError;
use crate::avro::{Damaged, Kind, Shape, Value};

/// What a column holds, as both databases name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Integer,
    Number,
    Boolean,
    Bytes,
    Decimal,
    Date,
    Instant,
    Local,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    /// For records of a version that lacks the item.
    default: Value<'static>,
}

/// The columns, in the order of the schema.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
}

/// Reads bodies of one schema version into the table's columns.
pub(super) struct Reader {
    shape: Shape,
    /// For each column the field's place in the version.
    places: Vec<Option<usize>>,
}

impl Layout {
    pub(super) fn new(text: &str) -> Result<Self, SinkError> {
        let shape = Shape::parse(text)?;
        let json: Json = serde_json::from_str(text).unwrap_or_default();
        let defaults: HashMap<&str, &Json> = json
            .get("fields")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(|field| Some((field.get("name")?.as_str()?, field.get("default")?)))
            .collect();
        let columns = shape.fields.iter().map(|field| {
            if field.name.starts_with("_key") || field.name.starts_with("_seen") {
                return Err(SinkError::Schema {
                    reason: format!("the column `{}` is the sink's own", field.name),
                });
            }
            let default = defaults.get(field.name.as_str()).map_or(Value::Null, |json| default(json));
            Ok(Column { name: field.name.clone(), column_type: column_type(&field.kind), default })
        });
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    pub(super) fn reader(&self, text: &str) -> Result<Reader, SinkError> {
        let shape = Shape::parse(text)?;
        let place = |column: &Column| shape.fields.iter().position(|field| field.name == column.name);
        let places = self.columns.iter().map(place).collect();
        Ok(Reader { shape, places })
    }
}

impl Reader {
    /// The values of the table's columns.
    pub(super) fn values<'a>(&self, layout: &Layout, body: &'a [u8]) -> Result<Vec<Value<'a>>, Damaged> {
        let mut values = self.shape.values_of(body)?;
        let taken = self.places.iter().zip(&layout.columns).map(|(place, column)| {
            let value = place.and_then(|place| values.get_mut(place));
            value.map_or_else(|| column.default.clone(), |value| std::mem::replace(value, Value::Null))
        });
        Ok(taken.collect())
    }
}

fn column_type(kind: &Kind) -> ColumnType {
    match kind.value_branch() {
        Some((_, Kind::Boolean)) => ColumnType::Boolean,
        Some((_, Kind::Int | Kind::Long)) => ColumnType::Integer,
        Some((_, Kind::Float | Kind::Double)) => ColumnType::Number,
        Some((_, Kind::Bytes | Kind::Fixed(_))) => ColumnType::Bytes,
        Some((_, Kind::Decimal { .. })) => ColumnType::Decimal,
        Some((_, Kind::Date)) => ColumnType::Date,
        Some((_, Kind::Instant(_))) => ColumnType::Instant,
        Some((_, Kind::Local(_))) => ColumnType::Local,
        Some((
            _,
            Kind::Null
            | Kind::Text
            | Kind::Enum(_)
            | Kind::Array(_)
            | Kind::Map(_)
            | Kind::Record(_)
            | Kind::Union(_),
        ))
        | None => ColumnType::Text,
    }
}

/// Only plain defaults; a schema's others are those of arrays, maps and records, and empty.
fn default(json: &Json) -> Value<'static> {
    match json {
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Integer(value),
            (None, Some(value)) => Value::Number(value),
            (None, None) => Value::Null,
        },
        Json::String(text) => Value::Text(Cow::Owned(text.clone())),
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Null,
    }
}
