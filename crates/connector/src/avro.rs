//! Records as Avro binary: made from texts, and read back into columns.
//!
//! apache-avro parses the schema; the bytes are written and read here, because a record is a flat row and a value tree
//! for each would cost more than everything else.

use std::collections::HashMap;

use apache_avro::schema::{InnerDecimalSchema, Name, Schema as Parsed, UuidSchema};

pub(crate) use decode::{Cursor, Damaged, Value};
pub(crate) use encode::{is_fillable, put};

mod decode;
mod encode;

/// A schema that a row cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the schema is not Avro: {reason}")]
    NotAvro { reason: String },
    #[error("the schema is not a record")]
    NotARecord,
    #[error("type `{name}` refers to itself")]
    Recursive { name: String },
    #[error("the type `{name}` has no form here")]
    Unknown { name: String },
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    /// `size` where it is on a fixed.
    Decimal {
        precision: u32,
        scale: u32,
        size: Option<usize>,
    },
    Date,
    /// An instant in UTC, counted in so many parts of a second.
    Instant(i64),
    /// A date and time without a time zone, counted in so many parts of a second.
    Local(i64),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<(String, Kind)>),
    Union(Vec<Kind>),
}

impl Kind {
    /// The position of null, where a union has it.
    pub(crate) fn null_branch(&self) -> Option<usize> {
        match self {
            Self::Union(branches) => branches.iter().position(|branch| *branch == Self::Null),
            _ => None,
        }
    }

    /// The kind of a value that is not null, and its position in the union; `None` where there are several.
    pub(crate) fn value_branch(&self) -> Option<(Option<usize>, &Kind)> {
        match self {
            Self::Union(branches) => {
                let mut others = branches.iter().enumerate().filter(|(_, branch)| **branch != Self::Null);
                let (at, only) = others.next()?;
                others.next().is_none().then_some((Some(at), only))
            }
            kind => Some((None, kind)),
        }
    }
}

/// A record's fields in their order.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Shape {
    pub(crate) fn parse(text: &str) -> Result<Self, Unusable> {
        let parsed =
            Parsed::parse_str(text).map_err(|error| Unusable::NotAvro { reason: error.to_string() })?;
        let mut names = HashMap::new();
        match kind(&parsed, &mut names)? {
            Kind::Record(fields) => {
                Ok(Self { fields: fields.into_iter().map(|(name, kind)| Field { name, kind }).collect() })
            }
            _ => Err(Unusable::NotARecord),
        }
    }

    /// The bytes of each field, in the record's order.
    pub(crate) fn fields_of<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, Damaged> {
        let mut cursor = Cursor::new(body);
        let fields = self.fields.iter().map(|field| cursor.span(&field.kind)).collect::<Result<_, _>>()?;
        cursor.end().map(|()| fields)
    }

    /// The values of the fields, in the record's order.
    pub(crate) fn values_of<'a>(&self, body: &'a [u8]) -> Result<Vec<Value<'a>>, Damaged> {
        let mut cursor = Cursor::new(body);
        let values = self.fields.iter().map(|field| cursor.value(&field.kind)).collect::<Result<_, _>>()?;
        cursor.end().map(|()| values)
    }
}

/// Names are resolved in place; `None` marks a type that is being read, so that a loop is seen.
fn kind(parsed: &Parsed, names: &mut HashMap<Name, Option<Kind>>) -> Result<Kind, Unusable> {
    Ok(match parsed {
        Parsed::Null => Kind::Null,
        Parsed::Boolean => Kind::Boolean,
        Parsed::Int | Parsed::TimeMillis => Kind::Int,
        Parsed::Long | Parsed::TimeMicros => Kind::Long,
        Parsed::Float => Kind::Float,
        Parsed::Double => Kind::Double,
        Parsed::Bytes | Parsed::BigDecimal | Parsed::Uuid(UuidSchema::Bytes) => Kind::Bytes,
        Parsed::String | Parsed::Uuid(UuidSchema::String) => Kind::Text,
        Parsed::Uuid(UuidSchema::Fixed(fixed)) | Parsed::Fixed(fixed) | Parsed::Duration(fixed) => {
            named(&fixed.name, names, |_| Ok(Kind::Fixed(fixed.size)))?
        }
        Parsed::Enum(symbols) => named(&symbols.name, names, |_| Ok(Kind::Enum(symbols.symbols.clone())))?,
        Parsed::Decimal(decimal) => {
            let size = match &decimal.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
            };
            let digits = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            Kind::Decimal { precision: digits(decimal.precision), scale: digits(decimal.scale), size }
        }
        Parsed::Date => Kind::Date,
        Parsed::TimestampMillis => Kind::Instant(1_000),
        Parsed::TimestampMicros => Kind::Instant(1_000_000),
        Parsed::TimestampNanos => Kind::Instant(1_000_000_000),
        Parsed::LocalTimestampMillis => Kind::Local(1_000),
        Parsed::LocalTimestampMicros => Kind::Local(1_000_000),
        Parsed::LocalTimestampNanos => Kind::Local(1_000_000_000),
        Parsed::Array(array) => Kind::Array(Box::new(kind(&array.items, names)?)),
        Parsed::Map(map) => Kind::Map(Box::new(kind(&map.types, names)?)),
        Parsed::Union(union) => {
            Kind::Union(union.variants().iter().map(|branch| kind(branch, names)).collect::<Result<_, _>>()?)
        }
        Parsed::Record(record) => named(&record.name, names, |names| {
            let fields = record.fields.iter();
            let fields = fields.map(|field| Ok((field.name.clone(), kind(&field.schema, names)?)));
            Ok(Kind::Record(fields.collect::<Result<_, Unusable>>()?))
        })?,
        Parsed::Ref { name } => match names.get(name) {
            Some(Some(kind)) => kind.clone(),
            Some(None) => return Err(Unusable::Recursive { name: name.to_string() }),
            None => return Err(Unusable::Unknown { name: name.to_string() }),
        },
    })
}

fn named(
    name: &Name,
    names: &mut HashMap<Name, Option<Kind>>,
    read: impl FnOnce(&mut HashMap<Name, Option<Kind>>) -> Result<Kind, Unusable>,
) -> Result<Kind, Unusable> {
    names.insert(name.clone(), None);
    let kind = read(names)?;
    names.insert(name.clone(), Some(kind.clone()));
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "string"},
        {"name": "b", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
        {"name": "c", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 6}], "default": null},
        {"name": "d", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "e", "type": ["null", "boolean"], "default": null},
        {"name": "f", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
        {"name": "g", "type": "double"},
        {"name": "h", "type": ["null", "long"], "default": null},
        {"name": "i", "type": ["null", {"type": "fixed", "name": "F", "size": 8, "logicalType": "decimal", "precision": 10, "scale": 2}], "default": null}
    ]}"#;

    fn encoded(texts: &[Option<&str>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (field, text) in Shape::parse(TEXT).unwrap().fields.iter().zip(texts) {
            put(&field.kind, *text, &mut body).unwrap();
        }
        body
    }

    #[test]
    fn rows_are_avro_as_apache_avro_reads_it() {
        let body = encoded(&[
            Some("重庆"),
            Some("2017-05-15"),
            Some("-5147.1628"),
            Some("2020-09-01T17:55:19Z"),
            Some("true"),
            Some("Y"),
            Some("1.5"),
            Some("-77"),
            Some("-12.5"),
        ]);
        let schema = Parsed::parse_str(TEXT).unwrap();
        let value = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
            .build()
            .unwrap()
            .read_value(&mut &*body)
            .unwrap();
        let text = format!("{value:?}");
        for part in ["重庆", "Date(17301)", "1598982919000000", "Boolean(true)", "\"Y\"", "1.5", "Long(-77)"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let shape = Shape::parse(TEXT).unwrap();
        let values = shape.values_of(&body).unwrap();
        let texts: Vec<_> = values.iter().map(Value::to_text).collect();
        let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
        assert_eq!(
            texts,
            [
                Some("重庆"),
                Some("2017-05-15"),
                Some("-5147.1628"),
                Some("2020-09-01T17:55:19Z"),
                Some("true"),
                Some("Y"),
                Some("1.5"),
                Some("-77"),
                Some("-12.5")
            ]
        );
        assert_eq!(shape.fields_of(&body).unwrap().concat(), body);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let shape = Shape::parse(TEXT).unwrap();
        let body = encoded(&[
            Some("a"),
            None,
            Some("1"),
            Some("2020-09-01T17:55:19Z"),
            None,
            Some("X"),
            Some("0"),
            None,
            None,
        ]);
        for end in 0..body.len() {
            assert!(shape.values_of(&body[..end]).is_err(), "{end}");
            assert!(shape.fields_of(&body[..end]).is_err(), "{end}");
        }
        let mut longer = body.clone();
        longer.push(0);
        assert!(shape.values_of(&longer).is_err());
        assert!(shape.values_of(&[0xff; 64]).is_err());
    }

    #[test]
    fn a_text_that_does_not_fit_its_type_breaks_a_rule() {
        let shape = Shape::parse(TEXT).unwrap();
        let rule = |name: &str, text: Option<&str>| {
            let field = shape.fields.iter().find(|field| field.name == name).unwrap();
            put(&field.kind, text, &mut Vec::new()).unwrap_err()
        };
        assert_eq!(rule("a", None), "a value is required");
        assert_eq!(rule("b", Some("2017-02-30")), "a date as YYYY-MM-DD");
        assert_eq!(rule("c", Some("0.0000001")), "a decimal number with at most 6 decimals");
        assert_eq!(rule("c", Some("123456789012345")), "a decimal number of at most 20 digits");
        assert_eq!(rule("e", Some("yes")), "`true` or `false`");
        assert_eq!(rule("f", Some("Z")), "one of X, Y");
        assert_eq!(rule("h", Some("1.0")), "an integer");
    }
}
