//! BACKWARD_TRANSITIVE: a new version reads what every earlier version wrote.
//!
//! The rules are Avro's schema resolution, and stricter where Avro's would change a value's meaning or its treatment:
//! string and bytes do not become each other, a logical type of Avro stays what it is, aliases do not rename items.
//! (apache-avro's own check takes a date for an instant and stops at the first finding.)

use std::cell::Cell;
use std::collections::HashSet;

use shuniu_model::ItemName;

use crate::node::{Field, IntKind, LongKind, Node, NodeId};
use crate::schema::Schema;

/// A version that does not read what an earlier one wrote: everything that is in the way, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Incompatible {
    /// Never empty.
    pub problems: Vec<Incompatibility>,
}

/// One thing that the new version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read version {version}: {place}: {what}")]
pub struct Incompatibility {
    /// The earlier version: its place in the list that was given, counted from 1.
    pub version: usize,
    /// The item, and the way into it.
    pub place: String,
    /// What is in the way.
    pub what: String,
}

/// Pairs of types that are looked at for one pair of versions.
const WORK_MAX: u32 = 100_000;

/// Whether `new` reads what each of `earlier` (oldest first) wrote.
pub fn compatible(new: &Schema, earlier: &[&Schema]) -> Result<(), Incompatible> {
    let mut problems = Vec::new();
    for (index, writer) in earlier.iter().enumerate() {
        let work_left = Cell::new(WORK_MAX);
        let version = index + 1;
        let (met, problems_of_pair) = (HashSet::new(), Vec::new());
        let mut pair =
            Pair { writer, reader: new, met, version, problems: problems_of_pair, work_left: &work_left };
        pair.reads(0, 0, "");
        problems.append(&mut pair.problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(Incompatible { problems }) }
}

/// The items of any earlier version that the new one no longer has. A version that removes an item which a grant in
/// force names is to be refused by the caller, who knows the grants.
#[must_use]
pub fn removed_items(new: &Schema, earlier: &[&Schema]) -> Vec<ItemName> {
    let mut removed: Vec<ItemName> = earlier
        .iter()
        .flat_map(|schema| schema.items())
        .filter(|item| new.item(item.name.as_str()).is_none())
        .map(|item| item.name.clone())
        .collect();
    removed.sort();
    removed.dedup();
    removed
}

struct Pair<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    /// Pairs that are being looked at: a type that contains itself is looked at once.
    met: HashSet<(NodeId, NodeId)>,
    version: usize,
    problems: Vec<Incompatibility>,
    /// Unions inside of unions multiply what there is to look at.
    work_left: &'a Cell<u32>,
}

impl<'a> Pair<'a> {
    fn problem(&mut self, place: &str, what: String) {
        let place = if place.is_empty() { "the record".to_owned() } else { format!("`{place}`") };
        self.problems.push(Incompatibility { version: self.version, place, what });
    }

    fn reads(&mut self, writer: NodeId, reader: NodeId, place: &str) {
        if !self.met.insert((writer, reader)) {
            return;
        }
        let Some(left) = self.work_left.get().checked_sub(1) else {
            self.problem(place, "its types are too intricate to compare".to_owned());
            return;
        };
        self.work_left.set(left);
        let (writers, readers) = (self.writer, self.reader);
        let (written, read) = (writers.nodes().of(writer), readers.nodes().of(reader));
        match (written, read) {
            (Node::Union(branches), _) => {
                for branch in branches {
                    self.reads(*branch, reader, place);
                }
            }
            (_, Node::Union(branches)) => {
                if !branches.iter().any(|branch| self.could_read(writer, *branch)) {
                    let written = self.name(writers, writer);
                    self.problem(place, format!("{written} is no longer among its types"));
                }
            }
            (Node::Array(written), Node::Array(read)) | (Node::Map(written), Node::Map(read)) => {
                self.reads(*written, *read, &format!("{place}[]"));
            }
            (Node::Record { fields: written, .. }, Node::Record { fields: read, .. }) => {
                self.same_name(writer, reader, place);
                self.record(written, read, place);
            }
            (Node::Enum { symbols: written, .. }, Node::Enum { symbols: read, has_default }) => {
                self.same_name(writer, reader, place);
                let missing: Vec<&str> =
                    written.iter().filter(|symbol| !read.contains(symbol)).map(|symbol| &**symbol).collect();
                if !missing.is_empty() && !has_default {
                    self.problem(
                        place,
                        format!("the symbols {} are gone, and there is no default", missing.join(", ")),
                    );
                }
            }
            (Node::Fixed { .. }, Node::Fixed { .. }) => {
                self.same_name(writer, reader, place);
                self.same(written == read, place, "its size changed");
            }
            (Node::Decimal(one), Node::Decimal(other)) if one.size.is_some() && other.size.is_some() => {
                self.same_name(writer, reader, place);
                self.same(one == other, place, "its size, precision or scale changed");
            }
            (Node::Decimal(one), Node::Decimal(other)) => {
                self.same(one == other, place, "its precision, scale or base type changed");
            }
            _ if promotes(written, read) => {}
            _ => {
                let (written, read) = (self.name(writers, writer), self.name(readers, reader));
                self.problem(place, format!("{written} became {read}"));
            }
        }
    }

    /// Whether a branch of the reader's union reads the writer's type. Looked at apart, so that a branch that does
    /// not fit is no problem as long as another one does.
    fn could_read(&self, writer: NodeId, reader: NodeId) -> bool {
        let mut pair = Pair { problems: Vec::new(), met: self.met.clone(), ..*self };
        pair.reads(writer, reader, "");
        pair.problems.is_empty()
    }

    fn record(&mut self, written: &'a [Field], read: &'a [Field], place: &str) {
        for field in read {
            let place =
                if place.is_empty() { field.name.to_string() } else { format!("{place}.{}", field.name) };
            match written.iter().find(|other| other.name == field.name) {
                Some(other) => self.reads(other.node, field.node, &place),
                None if field.has_default => {}
                None => self.problem(&place, "it is new and has no default".to_owned()),
            }
        }
    }

    fn same(&mut self, same: bool, place: &str, what: &str) {
        if !same {
            self.problem(place, what.to_owned());
        }
    }

    /// Avro resolves named types by their name without namespace.
    fn same_name(&mut self, writer: NodeId, reader: NodeId, place: &str) {
        let (written, read) = (self.writer.type_name(writer), self.reader.type_name(reader));
        if local(written) != local(read) {
            let what = format!("the type `{written}` became `{read}`");
            self.problem(place, what);
        }
    }

    fn name(&self, schema: &Schema, id: NodeId) -> String {
        let kind = match schema.nodes().of(id) {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int(IntKind::Plain) => "int",
            Node::Int(IntKind::Date) => "date",
            Node::Int(IntKind::TimeMillis) | Node::Long(LongKind::TimeMicros) => "time",
            Node::Long(LongKind::Plain) => "long",
            Node::Long(LongKind::Instant(_)) => "timestamp",
            Node::Long(LongKind::Local(_)) => "local timestamp",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes => "bytes",
            Node::Text { .. } => "string",
            Node::Decimal(_) => "decimal",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Fixed { .. } | Node::Enum { .. } | Node::Record { .. } => {
                return format!("`{}`", schema.type_name(id));
            }
        };
        kind.to_owned()
    }
}

/// Whether the one type is read as the other without change of meaning.
fn promotes(written: &Node, read: &Node) -> bool {
    match (written, read) {
        (Node::Null, Node::Null)
        | (Node::Boolean, Node::Boolean)
        | (Node::Bytes, Node::Bytes)
        // Rules on text may change: each record was checked by the rules of its version.
        | (Node::Text { .. }, Node::Text { .. })
        | (
            Node::Int(IntKind::Plain),
            Node::Int(IntKind::Plain) | Node::Long(LongKind::Plain) | Node::Float | Node::Double,
        )
        | (Node::Long(LongKind::Plain), Node::Long(LongKind::Plain) | Node::Float | Node::Double)
        | (Node::Float, Node::Float | Node::Double)
        | (Node::Double, Node::Double) => true,
        (Node::Int(one), Node::Int(other)) => one == other,
        (Node::Long(one), Node::Long(other)) => one == other,
        _ => false,
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, local)| local)
}
