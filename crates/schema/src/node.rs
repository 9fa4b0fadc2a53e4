//! The compiled form of a schema: a flat tree of nodes that the walks follow. Named types may refer back.

use crate::cursor::{Cursor, DEPTH_MAX, Malformed};
use crate::rule::TextRule;
use crate::skip::Skip;

/// The index of a node.
pub(crate) type NodeId = usize;

/// What a value is made of, and what it must obey.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int(IntKind),
    Long(LongKind),
    Float,
    Double,
    Bytes,
    Text { rule: TextRule, chars_max: Option<u32> },
    Fixed { bytes: usize },
    Decimal(DecimalType),
    Enum { symbols: Box<[Box<str>]>, has_default: bool },
    Array(NodeId),
    Map(NodeId),
    Union(Box<[NodeId]>),
    Record { fields: Box<[Field]>, file: bool },
}

/// One field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    pub(crate) node: NodeId,
    pub(crate) has_default: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntKind {
    Plain,
    Date,
    TimeMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongKind {
    Plain,
    TimeMicros,
    /// An instant in UTC.
    Instant(Fraction),
    /// A date and time without a time zone.
    Local(Fraction),
}

/// What an instant counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fraction {
    Millis,
    Micros,
    Nanos,
}

impl Fraction {
    pub(crate) const fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

/// A decimal: `unscaled / 10^scale`, on bytes or on a fixed of `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimalType {
    pub(crate) precision: u32,
    pub(crate) scale: u32,
    pub(crate) size: Option<usize>,
}

/// The nodes of one schema. The root is node 0, a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Nodes {
    nodes: Box<[Node]>,
    skips: Box<[Skip]>,
}

/// One value to move past.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop {
    skip: Skip,
    node: NodeId,
}

impl Nodes {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        Self { skips: Skip::all(&nodes), nodes: nodes.into() }
    }

    /// A node that a schema names always exists; `Null` stands in so that no walk can panic.
    #[inline]
    pub(crate) fn of(&self, id: NodeId) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::Null)
    }

    /// The fields of the root record: the items.
    pub(crate) fn items(&self) -> &[Field] {
        match self.of(0) {
            Node::Record { fields, .. } => fields,
            _ => &[],
        }
    }

    /// The position and node of an item.
    pub(crate) fn item(&self, name: &str) -> Option<(usize, NodeId)> {
        let position = self.items().iter().position(|field| &*field.name == name)?;
        Some((position, self.items().get(position)?.node))
    }

    /// The branches of a union, or the node alone.
    pub(crate) fn branches<'a>(&'a self, id: &'a NodeId) -> &'a [NodeId] {
        match self.of(*id) {
            Node::Union(branches) => branches,
            _ => std::slice::from_ref(id),
        }
    }

    /// What it takes to move past values of the nodes, in one piece.
    pub(crate) fn hops(&self, nodes: impl IntoIterator<Item = NodeId>) -> Box<[Hop]> {
        let hop = |node| Hop { skip: self.skips.get(node).copied().unwrap_or(Skip::Walk), node };
        nodes.into_iter().map(hop).collect()
    }

    /// Moves past one value after the other.
    #[inline]
    pub(crate) fn skip_all(&self, hops: &[Hop], cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        let (body, mut at) = (cursor.body(), cursor.at());
        for hop in hops {
            match hop.skip.after(body, at) {
                Some(end) => at = end,
                None => {
                    cursor.move_to(at);
                    self.skip(hop.node, cursor)?;
                    at = cursor.at();
                }
            }
        }
        cursor.move_to(at);
        Ok(())
    }

    /// Moves past one value.
    pub(crate) fn skip(&self, id: NodeId, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        self.walk(id, cursor, 0)
    }

    fn walk(&self, id: NodeId, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Malformed> {
        match self.of(id) {
            Node::Null => Ok(()),
            Node::Boolean => cursor.take(1).map(drop),
            Node::Int(_) | Node::Long(_) | Node::Enum { .. } => cursor.long().map(drop),
            Node::Float => cursor.take(4).map(drop),
            Node::Double => cursor.take(8).map(drop),
            Node::Bytes | Node::Text { .. } | Node::Decimal(DecimalType { size: None, .. }) => {
                cursor.bytes().map(drop)
            }
            Node::Fixed { bytes } | Node::Decimal(DecimalType { size: Some(bytes), .. }) => {
                cursor.take(*bytes).map(drop)
            }
            Node::Union(branches) => {
                let index = cursor.index(branches.len(), "a union branch that does not exist")?;
                match branches.get(index) {
                    Some(branch) => {
                        let depth = deeper(cursor, depth)?;
                        self.walk(*branch, cursor, depth)
                    }
                    None => Ok(()),
                }
            }
            Node::Array(element) => {
                let depth = deeper(cursor, depth)?;
                self.skip_blocks(*element, false, cursor, depth)
            }
            Node::Map(element) => {
                let depth = deeper(cursor, depth)?;
                self.skip_blocks(*element, true, cursor, depth)
            }
            Node::Record { fields, .. } => {
                let depth = deeper(cursor, depth)?;
                fields.iter().try_for_each(|field| self.walk(field.node, cursor, depth))
            }
        }
    }

    fn skip_blocks(
        &self,
        element: NodeId,
        keyed: bool,
        cursor: &mut Cursor<'_>,
        depth: u32,
    ) -> Result<(), Malformed> {
        while let Some(block) = cursor.block()? {
            if let Some(bytes) = block.bytes {
                cursor.take(bytes)?;
                continue;
            }
            for _ in 0..block.count {
                cursor.work()?;
                if keyed {
                    cursor.bytes()?;
                }
                self.walk(element, cursor, depth)?;
            }
        }
        Ok(())
    }
}

/// One level deeper, counted against the bounds on depth and work.
pub(crate) fn deeper(cursor: &mut Cursor<'_>, depth: u32) -> Result<u32, Malformed> {
    cursor.work()?;
    if depth >= DEPTH_MAX {
        return Err(cursor.malformed("values nested too deep"));
    }
    Ok(depth + 1)
}
