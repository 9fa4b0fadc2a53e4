//! Moving past values without a walk. Most values of most records are plain, or plain or null; the projection and
//! the filter spend their time here.

use crate::node::{DecimalType, Node};

/// How to move past a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    Plain(Plain),
    /// A union of two plain branches.
    Either(Plain, Plain),
    /// The value must be walked.
    Walk,
}

/// A value that is moved past without looking into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Bytes(u32),
    Varint,
    Prefixed,
}

impl Skip {
    /// How to move past each of the nodes.
    pub(crate) fn all(nodes: &[Node]) -> Box<[Self]> {
        let plain_of = |id: &usize| nodes.get(*id).and_then(Plain::of);
        let of = |node: &Node| match (Plain::of(node), node) {
            (Some(plain), _) => Self::Plain(plain),
            (None, Node::Union(branches)) => match &**branches {
                [one, other] => match (plain_of(one), plain_of(other)) {
                    (Some(one), Some(other)) => Self::Either(one, other),
                    _ => Self::Walk,
                },
                _ => Self::Walk,
            },
            _ => Self::Walk,
        };
        nodes.iter().map(of).collect()
    }

    /// The offset after the value that starts at `at`. `None` when it takes a careful look: a value to be walked, an
    /// unusual form, an end of the body that comes too soon.
    #[inline(always)]
    pub(crate) fn after(self, body: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Plain(plain) => plain.after(body, at),
            Self::Either(one, other) => match body.get(at)? {
                0 => one.after(body, at + 1),
                2 => other.after(body, at + 1),
                _ => None,
            },
            Self::Walk => None,
        }
    }
}

impl Plain {
    fn of(node: &Node) -> Option<Self> {
        Some(match node {
            Node::Null => Self::Bytes(0),
            Node::Boolean => Self::Bytes(1),
            Node::Int(_) | Node::Long(_) | Node::Enum { .. } => Self::Varint,
            Node::Float => Self::Bytes(4),
            Node::Double => Self::Bytes(8),
            Node::Bytes | Node::Text { .. } | Node::Decimal(DecimalType { size: None, .. }) => Self::Prefixed,
            Node::Fixed { bytes } | Node::Decimal(DecimalType { size: Some(bytes), .. }) => {
                Self::Bytes(u32::try_from(*bytes).ok()?)
            }
            Node::Array(_) | Node::Map(_) | Node::Union(_) | Node::Record { .. } => return None,
        })
    }

    #[inline(always)]
    fn after(self, body: &[u8], at: usize) -> Option<usize> {
        let end = match self {
            Self::Bytes(bytes) => at.checked_add(bytes as usize)?,
            Self::Varint => at + 1 + body.get(at..)?.iter().take(9).position(|byte| *byte < 0x80)?,
            Self::Prefixed => {
                // A length of one byte, or of two; an odd one is negative.
                let first = usize::from(*body.get(at)?);
                if first & 1 == 1 {
                    return None;
                }
                if first < 0x80 {
                    at + 1 + (first >> 1)
                } else {
                    let second = usize::from(*body.get(at + 1)?);
                    if second >= 0x80 {
                        return None;
                    }
                    at + 2 + ((first & 0x7f) >> 1 | second << 6)
                }
            }
        };
        (end <= body.len()).then_some(end)
    }
}
