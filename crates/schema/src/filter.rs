//! The row filter: a closed subset of CEL that needs no run-time types.
//!
//! Comparisons of an item with a literal or with another item, `in` a literal list, `startsWith`, `&&`, `||`, `!` and
//! null tests. Filters are two-valued: a comparison with null is false, so its `!` is true. Everything else is
//! refused when the filter is written, with what is wrong and where.

mod parse;
mod program;

use shuniu_model::ItemName;

use crate::schema::Schema;

pub use program::NoDefault;
pub(crate) use program::Program;

/// A filter's text is at most this long.
pub(crate) const FILTER_BYTES_MAX: usize = 4_096;
/// A filter names at most this many items.
pub(crate) const FILTER_ITEMS_MAX: usize = 16;

/// A text that is no filter of the schema: everything that is wrong with it, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct FilterError {
    /// Never empty.
    pub problems: Vec<FilterProblem>,
}

/// One thing that is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter, line {line}, column {column}: {what}")]
pub struct FilterProblem {
    /// Counts from 1.
    pub line: usize,
    /// Counts characters, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub what: String,
}

/// A row filter, typed against the current version of a resource's schema.
#[derive(Debug, Clone)]
pub struct Filter {
    items: Vec<ItemName>,
    test: Test,
}

impl Filter {
    /// Parses and types a filter against the resource's current schema version.
    pub fn parse(text: &str, latest: &Schema) -> Result<Self, FilterError> {
        let (items, test) = parse::parse(text, latest).map_err(|problems| FilterError { problems })?;
        Ok(Self { items, test })
    }

    /// The items that it reads.
    #[must_use]
    pub fn items(&self) -> &[ItemName] {
        &self.items
    }
}

/// A test of one row. Items are indexes into the filter's list.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Compare { item: usize, comparison: Comparison, literal: Literal },
    CompareItems { left: usize, comparison: Comparison, right: usize },
    OneOf { item: usize, literals: Box<[Literal]> },
    StartsWith { item: usize, prefix: Box<str> },
    IsNull { item: usize, wanted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// The comparison with its sides exchanged.
    fn flipped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// A literal, ready to be compared. Days and instants are numbers.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Boolean(bool),
    Text(Box<str>),
    /// Exactly, as `unscaled / 10^scale`, and as the nearest double for items that are floats.
    Number {
        unscaled: i128,
        scale: u32,
        double: f64,
    },
}
