//! How bodies are laid out, version by version: Kafka's message definitions, as far as lengths go.

mod requests;
mod responses;

pub(super) use requests::{OLD_PRODUCE, of_request};
pub(super) use responses::of_response;

/// A body.
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// The first version with compact lengths and tagged fields.
    pub(super) flexible_from: i16,
    /// Tagged fields that the decoder knows. It reads them by their own lengths, not by the stated size, and could so be
    /// led astray; only replicas send them.
    pub(super) refused_tags: &'static [u32],
    pub(super) fields: &'static [Field],
}

/// A field that is there from one version to another, both inclusive.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) from: i16,
    pub(super) to: i16,
    pub(super) kind: Kind,
    /// Its number, if it is a tagged field that the decoder knows.
    pub(super) tag: Option<u32>,
}

impl Field {
    pub(super) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Numbers, booleans, UUIDs: so many bytes.
    Fixed(usize),
    String {
        nullable: bool,
    },
    /// Bytes and record batches.
    Bytes {
        nullable: bool,
    },
    Array {
        nullable: bool,
        of: Element,
    },
    /// One structure. Of tagged fields only.
    Struct(&'static [Field]),
    /// One structure behind a byte: 1, or -1 for none.
    StructOrNull(&'static [Field]),
}

#[derive(Clone, Copy)]
pub(super) enum Element {
    Fixed(usize),
    String,
    Struct(&'static [Field]),
}

impl Element {
    /// What an element takes at least.
    pub(super) fn bytes_min(self, version: i16, flexible: bool) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Self::Struct(fields) => {
                let own: usize = fields
                    .iter()
                    .filter(|field| field.tag.is_none() && field.is_in(version))
                    .map(|field| match field.kind {
                        Kind::Fixed(bytes) => bytes,
                        _ if flexible => 1,
                        Kind::String { .. } => 2,
                        Kind::Bytes { .. } | Kind::Array { .. } => 4,
                        Kind::Struct(_) => 0,
                        Kind::StructOrNull(_) => 1,
                    })
                    .sum();
                own + usize::from(flexible)
            }
        }
    }
}

const ALL: i16 = i16::MAX;
const BOOL: Kind = Kind::Fixed(1);
const I8: Kind = Kind::Fixed(1);
const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);
const TEXT: Kind = Kind::String { nullable: false };
const TEXT_OR_NULL: Kind = Kind::String { nullable: true };
const BYTES: Kind = Kind::Bytes { nullable: false };
const BYTES_OR_NULL: Kind = Kind::Bytes { nullable: true };
const I32S: Kind = Kind::Array { nullable: false, of: Element::Fixed(4) };

const fn structs(fields: &'static [Field]) -> Kind {
    Kind::Array { nullable: false, of: Element::Struct(fields) }
}

const fn structs_or_null(fields: &'static [Field]) -> Kind {
    Kind::Array { nullable: true, of: Element::Struct(fields) }
}

const fn field(name: &'static str, from: i16, to: i16, kind: Kind) -> Field {
    Field { name, from, to, kind, tag: None }
}

/// A tagged field.
const fn tagged(name: &'static str, tag: u32, from: i16, to: i16, kind: Kind) -> Field {
    Field { name, from, to, kind, tag: Some(tag) }
}

/// Partitions by topic id, as members and coordinators name them.
const OWNED: &[Field] = &[field("topic_id", 0, ALL, UUID), field("partitions", 0, ALL, I32S)];
