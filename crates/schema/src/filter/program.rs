//! A filter compiled for one writer's version and run on Avro bytes.

use std::cmp::Ordering;

use serde_json::Value as Json;
use shuniu_model::ItemName;

use super::{FILTER_ITEMS_MAX, Filter, Literal, Test};
use crate::cursor::{Cursor, Malformed};
use crate::decimal;
use crate::json::{Notation, encode};
use crate::node::{Fraction, Hop, LongKind, Node, NodeId, Nodes};
use crate::schema::Schema;

/// A filter's item that the writer's version lacks, and for which the current version states no default.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the writer's version has no item `{item}`, and the current version has no default for it")]
pub struct NoDefault {
    /// The item.
    pub item: ItemName,
}

/// A filter for records of one schema version.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    test: Test,
    slots: Box<[Slot]>,
    /// The writer's items up to the last one needed.
    hops: Box<[Hop]>,
    /// Which of them are needed, in the record's order: the position and the slot.
    needed: Box<[(usize, usize)]>,
}

/// The start of a value that was not walked to.
const UNREAD: usize = usize::MAX;

/// Where an item's value comes from.
#[derive(Debug, Clone)]
enum Slot {
    /// From the record.
    Read { position: usize, node: NodeId },
    /// The current version's default, in its Avro form: the writer's version lacks the item.
    Default { latest: Schema, node: NodeId, body: Box<[u8]> },
}

impl Program {
    pub(crate) fn compile(filter: &Filter, writer: &Schema, latest: &Schema) -> Result<Self, NoDefault> {
        let slots: Box<[Slot]> =
            filter.items.iter().map(|item| slot(item, writer, latest)).collect::<Result<_, _>>()?;
        let mut needed: Vec<(usize, usize)> = (0..)
            .zip(&slots)
            .filter_map(|(index, slot)| match slot {
                Slot::Read { position, .. } => Some((*position, index)),
                Slot::Default { .. } => None,
            })
            .collect();
        needed.sort_unstable();
        let walked = needed.last().map_or(0, |(position, _)| position + 1);
        let nodes = writer.nodes();
        let hops = nodes.hops(nodes.items().iter().take(walked).map(|field| field.node));
        Ok(Self { test: filter.test.clone(), slots, hops, needed: needed.into() })
    }

    /// Whether the row passes. Reads no further than the items that decide it.
    pub(crate) fn matches(&self, nodes: &Nodes, body: &[u8]) -> Result<bool, Malformed> {
        let mut row = Row {
            program: self,
            nodes,
            cursor: Cursor::new(body),
            walked: 0,
            noted: 0,
            starts: [UNREAD; FILTER_ITEMS_MAX],
        };
        row.test(&self.test)
    }
}

fn slot(item: &ItemName, writer: &Schema, latest: &Schema) -> Result<Slot, NoDefault> {
    if let Some((position, node)) = writer.nodes().item(item.as_str()) {
        return Ok(Slot::Read { position, node });
    }
    let missing = || NoDefault { item: item.clone() };
    let (position, node) = latest.nodes().item(item.as_str()).ok_or_else(missing)?;
    let default: &Json =
        latest.field_json(position).and_then(|field| field.get("default")).ok_or_else(missing)?;
    let mut body = Vec::new();
    encode(latest.nodes(), node, default, Notation::Default, &mut body).ok_or_else(missing)?;
    Ok(Slot::Default { latest: latest.clone(), node, body: body.into() })
}

/// A value as filters compare it. Days and instants are numbers.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Null,
    Boolean(bool),
    Text(&'a [u8]),
    Exact(i128, u32),
    Double(f64),
    /// Of a type that only null tests are for.
    Other,
}

/// One row under test: items are read in the record's order, and only as far as the test needs them.
struct Row<'a> {
    program: &'a Program,
    nodes: &'a Nodes,
    cursor: Cursor<'a>,
    /// How many of the writer's items are walked over.
    walked: usize,
    /// How many of the needed ones are noted.
    noted: usize,
    /// Where each slot's value starts in the body.
    starts: [usize; FILTER_ITEMS_MAX],
}

impl<'a> Row<'a> {
    fn test(&mut self, test: &'a Test) -> Result<bool, Malformed> {
        Ok(match test {
            Test::All(tests) => {
                for test in tests {
                    if !self.test(test)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.test(test)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Not(test) => !self.test(test)?,
            Test::Compare { item, comparison, literal } => {
                let value = self.item(*item)?;
                compare_literal(value, literal).is_some_and(|ordering| comparison.holds(ordering))
            }
            Test::CompareItems { left, comparison, right } => {
                let (left, right) = (self.item(*left)?, self.item(*right)?);
                compare(left, right).is_some_and(|ordering| comparison.holds(ordering))
            }
            Test::OneOf { item, literals } => {
                let value = self.item(*item)?;
                literals.iter().any(|literal| compare_literal(value, literal) == Some(Ordering::Equal))
            }
            Test::StartsWith { item, prefix } => match self.item(*item)? {
                Value::Text(text) => text.starts_with(prefix.as_bytes()),
                _ => false,
            },
            Test::IsNull { item, wanted } => matches!(self.item(*item)?, Value::Null) == *wanted,
        })
    }

    fn item(&mut self, item: usize) -> Result<Value<'a>, Malformed> {
        match self.program.slots.get(item) {
            Some(Slot::Read { position, node }) => {
                self.walk_to(*position)?;
                match self.starts.get(item) {
                    Some(start) if *start != UNREAD => {
                        let mut cursor = self.cursor.clone();
                        cursor.move_to(*start);
                        read(self.nodes, *node, &mut cursor)
                    }
                    _ => Ok(Value::Null),
                }
            }
            Some(Slot::Default { latest, node, body }) => read(latest.nodes(), *node, &mut Cursor::new(body)),
            None => Ok(Value::Null),
        }
    }

    /// Walks on up to an item, noting where the needed ones start on the way.
    fn walk_to(&mut self, position: usize) -> Result<(), Malformed> {
        while let Some((next, slot)) = self.program.needed.get(self.noted)
            && *next <= position
        {
            let hops = self.program.hops.get(self.walked..*next).unwrap_or_default();
            self.nodes.skip_all(hops, &mut self.cursor)?;
            self.walked = *next;
            self.noted += 1;
            if let Some(start) = self.starts.get_mut(*slot) {
                *start = self.cursor.at();
            }
        }
        Ok(())
    }
}

/// `None` when the two do not compare: one is null, or not a number.
fn compare(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => Some(left.cmp(&right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Exact(left, scale), Value::Exact(right, of)) if scale == of => Some(left.cmp(&right)),
        (Value::Exact(left, scale), Value::Exact(right, of)) => {
            Some(decimal::compare((left, scale), (right, of)))
        }
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(&right),
        (Value::Double(left), Value::Exact(right, scale)) => {
            left.partial_cmp(&decimal::to_double(right, scale))
        }
        (Value::Exact(left, scale), Value::Double(right)) => {
            decimal::to_double(left, scale).partial_cmp(&right)
        }
        _ => None,
    }
}

fn compare_literal(value: Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (value, Literal::Boolean(literal)) => compare(value, Value::Boolean(*literal)),
        (value, Literal::Text(literal)) => compare(value, Value::Text(literal.as_bytes())),
        (Value::Double(value), Literal::Number { double, .. }) => value.partial_cmp(double),
        (value, Literal::Number { unscaled, scale, .. }) => compare(value, Value::Exact(*unscaled, *scale)),
    }
}

fn read<'a>(nodes: &'a Nodes, id: NodeId, cursor: &mut Cursor<'a>) -> Result<Value<'a>, Malformed> {
    Ok(match nodes.of(id) {
        Node::Null => Value::Null,
        Node::Boolean => Value::Boolean(cursor.boolean()?),
        Node::Text { .. } => Value::Text(cursor.bytes()?),
        Node::Enum { symbols, .. } => {
            let index = cursor.index(symbols.len(), "an enum symbol that does not exist")?;
            Value::Text(symbols.get(index).map(|symbol| symbol.as_bytes()).unwrap_or_default())
        }
        Node::Int(_) => Value::Exact(i128::from(cursor.int()?), 0),
        // Instants of different fractions compare as decimal seconds.
        Node::Long(LongKind::Instant(fraction)) => {
            Value::Exact(i128::from(cursor.long()?), digits(*fraction))
        }
        Node::Long(_) => Value::Exact(i128::from(cursor.long()?), 0),
        Node::Float => Value::Double(f64::from(f32::from_le_bytes(cursor.array()?))),
        Node::Double => Value::Double(f64::from_le_bytes(cursor.array()?)),
        Node::Decimal(kind) => {
            let start = cursor.clone();
            let bytes = match kind.size {
                Some(size) => cursor.take(size)?,
                None => cursor.bytes()?,
            };
            let value = decimal::read(bytes);
            let value = value.ok_or_else(|| start.malformed("a decimal without bytes or over 128 bits"))?;
            Value::Exact(value, kind.scale)
        }
        Node::Union(branches) => {
            let index = cursor.index(branches.len(), "a union branch that does not exist")?;
            match branches.get(index) {
                Some(branch) if !matches!(nodes.of(*branch), Node::Union(_)) => read(nodes, *branch, cursor)?,
                _ => return Err(cursor.malformed("a union inside of a union")),
            }
        }
        Node::Bytes | Node::Fixed { .. } | Node::Array(_) | Node::Map(_) | Node::Record { .. } => {
            nodes.skip(id, cursor)?;
            Value::Other
        }
    })
}

const fn digits(fraction: Fraction) -> u32 {
    match fraction {
        Fraction::Millis => 3,
        Fraction::Micros => 6,
        Fraction::Nanos => 9,
    }
}
