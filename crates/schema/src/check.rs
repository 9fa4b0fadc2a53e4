//! The way in: a body is walked once, and every rule of every item holds or the record is refused.

use shuniu_model::ItemName;
use shuniu_model::identifier::InvalidIdentifier;

use crate::cursor::{Cursor, Malformed};
use crate::node::{DecimalType, Field, IntKind, LongKind, Node, NodeId, Nodes, deeper};
use crate::rule::TextRule;
use crate::schema::Schema;
use crate::{decimal, text};

/// A record that breaks a rule. It names the item and the rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The item; `None` when the record as a whole is wrong.
    pub item: Option<ItemName>,
    /// What is broken.
    pub broken: Broken,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.item {
            Some(item) => write!(f, "item `{item}`: {}", self.broken),
            None => write!(f, "{}", self.broken),
        }
    }
}

impl std::error::Error for Breach {}

/// The rule that a record breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are not Avro of the schema.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The body goes on after the record.
    #[error("{bytes} bytes follow the record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An identifier or code that breaks its standard.
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
    /// Text longer than the item's length.
    #[error("longer than {chars_max} characters")]
    Length {
        /// The item's length.
        chars_max: u32,
    },
    /// Text with a control character. PostgreSQL's text cannot hold U+0000, and others change what a log or a terminal
    /// shows.
    #[error("text with a control character other than tab, line feed and carriage return")]
    Control,
    /// A date or instant that no calendar of four-digit years has.
    #[error("a date outside of the years 1 to 9999")]
    Date,
    /// A decimal of more digits than its precision.
    #[error("a decimal of more than {digits} digits")]
    Precision {
        /// The precision.
        digits: u32,
    },
    /// A file whose digest, size or media type is wrong.
    #[error("a file needs {rule}")]
    File {
        /// What must hold.
        rule: &'static str,
    },
    /// The key item is null or has no characters.
    #[error("the key is empty")]
    EmptyKey,
}

/// A key or subject item that the schema cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitKey {
    /// The schema has no such item.
    #[error("the schema has no item `{item}`")]
    Unknown {
        /// The item.
        item: ItemName,
    },
    /// The item is not one text.
    #[error(
        "item `{item}` cannot be the key: it must be a string, integer, date, decimal or enum and never null"
    )]
    Key {
        /// The item.
        item: ItemName,
    },
    /// The item is neither a text nor a list of texts.
    #[error(
        "item `{item}` cannot name a subject: it must be a string, integer, date, decimal or enum, or an array of one"
    )]
    Subject {
        /// The item.
        item: ItemName,
    },
}

/// What a checked record says of itself. Reused from record to record.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    key: Vec<u8>,
    /// The subjects' texts, one after the other.
    subjects: Vec<u8>,
    /// The end of each in `subjects`.
    ends: Vec<usize>,
}

impl Checked {
    /// The text of the key item: what the record's key must be.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The texts of the subject items that are not null or empty; one for each element of a list.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.subjects.get(start..*end).unwrap_or_default())
    }
}

/// Checks bodies of one schema version. Cheap to share.
#[derive(Debug, Clone)]
pub struct Checker {
    schema: Schema,
    key: (usize, NodeId),
    subjects: Vec<(usize, NodeId)>,
}

impl Checker {
    /// A checker for bodies of that schema, of a resource with that key and those subject items.
    pub fn new(schema: &Schema, key: &ItemName, subjects: &[ItemName]) -> Result<Self, UnfitKey> {
        let nodes = schema.nodes();
        let find =
            |item: &ItemName| nodes.item(item.as_str()).ok_or(UnfitKey::Unknown { item: item.clone() });
        let found = find(key)?;
        if !text::has_text(nodes.of(found.1)) {
            return Err(UnfitKey::Key { item: key.clone() });
        }
        let subjects = subjects
            .iter()
            .map(|item| match find(item) {
                Ok(subject) if names_subjects(nodes, subject.1, true) => Ok(subject),
                Ok(_) => Err(UnfitKey::Subject { item: item.clone() }),
                Err(unknown) => Err(unknown),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { schema: schema.clone(), key: found, subjects })
    }

    /// Walks the body once: it is one record of the schema and nothing more, and every rule holds.
    pub fn check(&self, body: &[u8], checked: &mut Checked) -> Result<(), Breach> {
        checked.key.clear();
        checked.subjects.clear();
        checked.ends.clear();
        let nodes = self.schema.nodes();
        let mut cursor = Cursor::new(body);
        for (position, field) in nodes.items().iter().enumerate() {
            let mut start = cursor.clone();
            let found = check(nodes, field.node, &mut cursor, 0)
                .and_then(|()| self.note(position, &mut start, checked).map_err(Broken::from));
            found.map_err(|broken| self.breach(position, broken))?;
        }
        if !cursor.is_at_end() {
            return Err(Breach { item: None, broken: Broken::Trailing { bytes: body.len() - cursor.at() } });
        }
        if checked.key.is_empty() {
            return Err(self.breach(self.key.0, Broken::EmptyKey));
        }
        Ok(())
    }

    /// Notes the texts of an item that is the key or a subject.
    fn note(&self, position: usize, start: &mut Cursor<'_>, checked: &mut Checked) -> Result<(), Malformed> {
        let nodes = self.schema.nodes();
        if position == self.key.0 {
            text::read(nodes, self.key.1, &mut start.clone(), &mut checked.key)?;
        }
        match self.subjects.iter().find(|(subject, _)| *subject == position) {
            Some((_, node)) => note_subject(nodes, *node, start, checked),
            None => Ok(()),
        }
    }

    fn breach(&self, position: usize, broken: Broken) -> Breach {
        Breach { item: self.schema.items().get(position).map(|item| item.name.clone()), broken }
    }
}

/// Whether the node gives texts: one, perhaps null, or a list of them.
fn names_subjects(nodes: &Nodes, id: NodeId, may_repeat: bool) -> bool {
    nodes.branches(&id).iter().all(|branch| match nodes.of(*branch) {
        Node::Null => true,
        Node::Array(element) => may_repeat && names_subjects(nodes, *element, false),
        node => text::has_text(node),
    })
}

fn note_subject(
    nodes: &Nodes,
    id: NodeId,
    cursor: &mut Cursor<'_>,
    checked: &mut Checked,
) -> Result<(), Malformed> {
    match nodes.of(id) {
        Node::Null => Ok(()),
        Node::Union(branches) => {
            let index = cursor.index(branches.len(), "a union branch that does not exist")?;
            branches.get(index).map_or(Ok(()), |branch| note_subject(nodes, *branch, cursor, checked))
        }
        Node::Array(element) => {
            while let Some(block) = cursor.block()? {
                for _ in 0..block.count {
                    cursor.work()?;
                    note_subject(nodes, *element, cursor, checked)?;
                }
            }
            Ok(())
        }
        _ => {
            text::read(nodes, id, cursor, &mut checked.subjects)?;
            let end = checked.subjects.len();
            // An empty text names nobody.
            if end > checked.ends.last().copied().unwrap_or(0) {
                checked.ends.push(end);
            }
            Ok(())
        }
    }
}

fn check(nodes: &Nodes, id: NodeId, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Broken> {
    match nodes.of(id) {
        Node::Null => {}
        Node::Boolean => {
            cursor.boolean()?;
        }
        Node::Int(IntKind::Date) => {
            let days = i64::from(cursor.int()?);
            in_calendar(days)?;
        }
        Node::Int(IntKind::Plain | IntKind::TimeMillis) => {
            cursor.int()?;
        }
        Node::Long(LongKind::Instant(fraction) | LongKind::Local(fraction)) => {
            in_calendar(cursor.long()?.div_euclid(fraction.per_second() * 86_400))?;
        }
        Node::Long(LongKind::Plain | LongKind::TimeMicros) => {
            cursor.long()?;
        }
        Node::Float => {
            cursor.take(4)?;
        }
        Node::Double => {
            cursor.take(8)?;
        }
        Node::Bytes => {
            cursor.bytes()?;
        }
        Node::Text { rule, chars_max } => check_text(cursor.string()?, *rule, *chars_max)?,
        Node::Fixed { bytes } => {
            cursor.take(*bytes)?;
        }
        Node::Decimal(decimal) => check_decimal(decimal, cursor)?,
        Node::Enum { symbols, .. } => {
            cursor.index(symbols.len(), "an enum symbol that does not exist")?;
        }
        Node::Array(element) => {
            let depth = deeper(cursor, depth)?;
            check_blocks(nodes, *element, false, cursor, depth)?;
        }
        Node::Map(element) => {
            let depth = deeper(cursor, depth)?;
            check_blocks(nodes, *element, true, cursor, depth)?;
        }
        Node::Union(branches) => {
            let index = cursor.index(branches.len(), "a union branch that does not exist")?;
            if let Some(branch) = branches.get(index) {
                let depth = deeper(cursor, depth)?;
                check(nodes, *branch, cursor, depth)?;
            }
        }
        Node::Record { fields, file } => {
            let start = cursor.clone();
            let depth = deeper(cursor, depth)?;
            for field in fields {
                check(nodes, field.node, cursor, depth)?;
            }
            if *file {
                check_file(nodes, fields, start)?;
            }
        }
    }
    Ok(())
}

fn check_blocks(
    nodes: &Nodes,
    element: NodeId,
    keyed: bool,
    cursor: &mut Cursor<'_>,
    depth: u32,
) -> Result<(), Broken> {
    while let Some(block) = cursor.block()? {
        let start = cursor.at();
        for _ in 0..block.count {
            cursor.work()?;
            if keyed {
                check_text(cursor.string()?, TextRule::Free, None)?;
            }
            check(nodes, element, cursor, depth)?;
        }
        // The plan skips blocks by their size: a size that lies would let an item pass for another.
        if block.bytes.is_some_and(|bytes| bytes != cursor.at() - start) {
            return Err(cursor.malformed("a block of another size than it states").into());
        }
    }
    Ok(())
}

pub(crate) fn check_text(value: &str, rule: TextRule, chars_max: Option<u32>) -> Result<(), Broken> {
    rule.check(value)?;
    let bytes = value.as_bytes();
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    // U+0080 to U+009F have two bytes.
    if bytes.iter().any(control) || bytes.windows(2).any(|pair| matches!(pair, [0xc2, 0x80..=0x9f])) {
        return Err(Broken::Control);
    }
    match chars_max {
        // Counting is only needed where there are more bytes than characters allowed.
        Some(chars_max) if value.len() > chars_max as usize && value.chars().count() > chars_max as usize => {
            Err(Broken::Length { chars_max })
        }
        _ => Ok(()),
    }
}

fn check_decimal(decimal: &DecimalType, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
    let start = cursor.clone();
    let bytes = match decimal.size {
        Some(size) => cursor.take(size)?,
        None => cursor.bytes()?,
    };
    if bytes.is_empty() {
        return Err(start.malformed("a decimal without bytes").into());
    }
    let limit = decimal::power(decimal.precision).unwrap_or(i128::MAX).unsigned_abs();
    match decimal::read(bytes) {
        Some(value) if value.unsigned_abs() < limit => Ok(()),
        _ => Err(Broken::Precision { digits: decimal.precision }),
    }
}

fn check_file(nodes: &Nodes, fields: &[Field], mut cursor: Cursor<'_>) -> Result<(), Broken> {
    for field in fields {
        let rule = match &*field.name {
            "digest" => {
                let digest = cursor.bytes()?;
                let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                (digest.len() != 64 || !digest.iter().all(hex))
                    .then_some("a `digest` of SHA-256 in 64 lower-case hexadecimal digits")
            }
            "size" => (cursor.long()? < 0).then_some("a `size` of at least 0"),
            "media_type" => {
                (!cursor.bytes()?.contains(&b'/')).then_some("a `media_type` such as application/ofd")
            }
            _ => {
                nodes.skip(field.node, &mut cursor)?;
                None
            }
        };
        if let Some(rule) = rule {
            return Err(Broken::File { rule });
        }
    }
    Ok(())
}

fn in_calendar(days: i64) -> Result<(), Broken> {
    if (text::FIRST_DAY..=text::LAST_DAY).contains(&days) { Ok(()) } else { Err(Broken::Date) }
}
