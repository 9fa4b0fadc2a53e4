//! Avro values as JSON: defaults of schemas, and the constants of views.

use serde_json::{Map, Number, Value};

use crate::cursor::{Cursor, DEPTH_MAX, Malformed, put_bytes, put_long};
use crate::node::{DecimalType, Field, IntKind, Node, NodeId, Nodes};
use crate::{decimal, text};

/// How a value is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// As Avro writes defaults: dates are numbers of days, bytes and decimals strings of code points below 256.
    Default,
    /// As people write constants: dates may be `"2024-01-01"`, decimals are numbers or text.
    Constant,
}

/// Appends the Avro binary of a JSON value; `None` when it is no value of the node. A union takes the first branch
/// that fits.
pub(crate) fn encode(
    nodes: &Nodes,
    id: NodeId,
    json: &Value,
    notation: Notation,
    out: &mut Vec<u8>,
) -> Option<()> {
    Encoder { nodes, notation }.value(id, json, 0, out)
}

struct Encoder<'a> {
    nodes: &'a Nodes,
    notation: Notation,
}

impl Encoder<'_> {
    fn value(&self, id: NodeId, json: &Value, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        match self.nodes.of(id) {
            Node::Null => json.as_null()?,
            Node::Boolean => out.push(u8::from(json.as_bool()?)),
            Node::Int(IntKind::Date) if self.notation == Notation::Constant && json.is_string() => {
                put_long(i64::from(text::parse_date(json.as_str()?)?), out);
            }
            Node::Int(_) => put_long(i64::from(i32::try_from(json.as_i64()?).ok()?), out),
            Node::Long(_) => put_long(json.as_i64()?, out),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the schema asks for a float: its precision is meant"
            )]
            Node::Float => out.extend_from_slice(&(json.as_f64()? as f32).to_le_bytes()),
            Node::Double => out.extend_from_slice(&json.as_f64()?.to_le_bytes()),
            Node::Bytes => put_bytes(&latin(json.as_str()?)?, out),
            Node::Text { .. } => put_bytes(json.as_str()?.as_bytes(), out),
            Node::Fixed { bytes } => {
                out.extend(Some(latin(json.as_str()?)?).filter(|value| value.len() == *bytes)?)
            }
            Node::Decimal(kind) => decimal::put(self.decimal(kind, json)?, kind.size, out),
            Node::Enum { symbols, .. } => {
                let wanted = json.as_str()?;
                let index = symbols.iter().position(|symbol| &**symbol == wanted)?;
                put_long(i64::try_from(index).ok()?, out);
            }
            Node::Array(element) => self.array(*element, json.as_array()?, depth, out)?,
            Node::Map(element) => self.map(*element, json.as_object()?, depth, out)?,
            Node::Union(branches) => self.union(branches, json, depth, out)?,
            Node::Record { fields, .. } => self.record(fields, json.as_object()?, depth, out)?,
        }
        Some(())
    }

    fn decimal(&self, kind: &DecimalType, json: &Value) -> Option<i128> {
        let value = match (self.notation, json) {
            (Notation::Default, Value::String(bytes)) => decimal::read(&latin(bytes)?)?,
            (Notation::Constant, Value::String(text)) => number(text, kind.scale)?,
            // A number's own text is the shortest that gives the same number.
            (Notation::Constant, Value::Number(value)) => number(&value.to_string(), kind.scale)?,
            _ => return None,
        };
        (value.unsigned_abs() <= decimal::most(kind.precision, kind.size).unsigned_abs()).then_some(value)
    }

    fn array(&self, element: NodeId, values: &[Value], depth: u32, out: &mut Vec<u8>) -> Option<()> {
        if !values.is_empty() {
            put_long(i64::try_from(values.len()).ok()?, out);
            for value in values {
                self.value(element, value, depth + 1, out)?;
            }
        }
        put_long(0, out);
        Some(())
    }

    fn map(&self, element: NodeId, values: &Map<String, Value>, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        if !values.is_empty() {
            put_long(i64::try_from(values.len()).ok()?, out);
            for (key, value) in values {
                put_bytes(key.as_bytes(), out);
                self.value(element, value, depth + 1, out)?;
            }
        }
        put_long(0, out);
        Some(())
    }

    fn union(&self, branches: &[NodeId], json: &Value, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        for (index, branch) in branches.iter().enumerate() {
            put_long(i64::try_from(index).ok()?, out);
            if self.value(*branch, json, depth + 1, out).is_some() {
                return Some(());
            }
            out.truncate(start);
        }
        None
    }

    fn record(
        &self,
        fields: &[Field],
        values: &Map<String, Value>,
        depth: u32,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if values.keys().any(|name| !fields.iter().any(|field| &*field.name == name)) {
            return None;
        }
        fields.iter().try_for_each(|field| self.value(field.node, values.get(&*field.name)?, depth + 1, out))
    }
}

/// Reads one value and gives it as a default is written: of a union, the value of its branch.
pub(crate) fn decode(nodes: &Nodes, id: NodeId, cursor: &mut Cursor<'_>) -> Result<Value, Malformed> {
    Ok(match nodes.of(id) {
        Node::Null => Value::Null,
        Node::Boolean => Value::Bool(cursor.boolean()?),
        Node::Int(_) | Node::Long(_) => Value::from(cursor.long()?),
        Node::Float => Value::from(f32::from_le_bytes(cursor.array()?)),
        Node::Double => {
            Number::from_f64(f64::from_le_bytes(cursor.array()?)).map_or(Value::Null, Value::Number)
        }
        Node::Bytes | Node::Decimal(DecimalType { size: None, .. }) => latin_text(cursor.bytes()?),
        Node::Text { .. } => Value::from(cursor.string()?),
        Node::Fixed { bytes } | Node::Decimal(DecimalType { size: Some(bytes), .. }) => {
            latin_text(cursor.take(*bytes)?)
        }
        Node::Enum { symbols, .. } => {
            let index = cursor.index(symbols.len(), "an enum symbol that does not exist")?;
            symbols.get(index).map_or(Value::Null, |symbol| Value::from(&**symbol))
        }
        Node::Array(element) => {
            let mut values = Vec::new();
            while let Some(block) = cursor.block()? {
                for _ in 0..block.count {
                    values.push(decode(nodes, *element, cursor)?);
                }
            }
            Value::Array(values)
        }
        Node::Map(element) => {
            let mut values = Map::new();
            while let Some(block) = cursor.block()? {
                for _ in 0..block.count {
                    let key = cursor.string()?.to_owned();
                    values.insert(key, decode(nodes, *element, cursor)?);
                }
            }
            Value::Object(values)
        }
        Node::Union(branches) => {
            let index = cursor.index(branches.len(), "a union branch that does not exist")?;
            match branches.get(index) {
                Some(branch) => decode(nodes, *branch, cursor)?,
                None => Value::Null,
            }
        }
        Node::Record { fields, .. } => {
            let mut values = Map::new();
            for field in fields {
                values.insert(field.name.to_string(), decode(nodes, field.node, cursor)?);
            }
            Value::Object(values)
        }
    })
}

fn number(text: &str, scale: u32) -> Option<i128> {
    let (unscaled, from) = decimal::parse(text)?;
    decimal::rescale(unscaled, from, scale)
}

fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

fn latin_text(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}
