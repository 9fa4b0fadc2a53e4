//! Avro binary to columns. Every length is held against the bytes left.

use std::borrow::Cow;

use jiff::civil::Date;
use serde_json::Value as Json;

use super::Kind;

/// Bytes that are no record of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record does not decode with its schema")]
pub(crate) struct Damaged;

/// What a table's column holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    /// Texts, enum symbols, dates, instants, decimals; arrays, maps and records as JSON.
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The value as text; `None` for null.
    pub(crate) fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => value.to_string().into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Number(value) => value.to_string().into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => crate::transform::hex(bytes).into(),
        })
    }
}

pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Values that may still be read: blocks of nothing could otherwise claim any number.
    work: usize,
}

const DEPTH_MAX: usize = 32;
const WORK_MAX: usize = 1_000_000;

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, work: WORK_MAX }
    }

    pub(crate) fn end(&self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damaged) }
    }

    /// The bytes of one value.
    pub(crate) fn span(&mut self, kind: &Kind) -> Result<&'a [u8], Damaged> {
        let start = self.rest;
        self.value(kind)?;
        start.get(..start.len() - self.rest.len()).ok_or(Damaged)
    }

    pub(crate) fn value(&mut self, kind: &Kind) -> Result<Value<'a>, Damaged> {
        Ok(match kind {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Boolean(self.boolean()?),
            Kind::Int | Kind::Long => Value::Integer(self.long()?),
            Kind::Float => Value::Number(f64::from(f32::from_le_bytes(self.array()?))),
            Kind::Double => Value::Number(f64::from_le_bytes(self.array()?)),
            Kind::Bytes => Value::Bytes(self.bytes()?),
            Kind::Fixed(size) => Value::Bytes(self.take(*size)?),
            Kind::Text => Value::Text(Cow::Borrowed(self.text()?)),
            Kind::Enum(symbols) => {
                let symbol = self.index()?;
                Value::Text(Cow::Owned(symbols.get(symbol).ok_or(Damaged)?.clone()))
            }
            Kind::Decimal { scale, size, .. } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.bytes()?,
                };
                Value::Text(Cow::Owned(decimal(bytes, *scale)?))
            }
            Kind::Date => Value::Text(Cow::Owned(date(self.long()?)?)),
            Kind::Instant(parts) => Value::Text(Cow::Owned(instant(self.long()?, *parts)?.to_string())),
            Kind::Local(parts) => {
                let instant = instant(self.long()?, *parts)?;
                Value::Text(Cow::Owned(
                    instant.to_zoned_datetime(jiff::tz::TimeZone::UTC).datetime().to_string(),
                ))
            }
            Kind::Union(branches) => {
                let branch = self.index()?;
                return self.value(branches.get(branch).ok_or(Damaged)?);
            }
            Kind::Array(_) | Kind::Map(_) | Kind::Record(_) => {
                Value::Text(Cow::Owned(self.json(kind, 0)?.to_string()))
            }
        })
    }

    fn json(&mut self, kind: &Kind, depth: usize) -> Result<Json, Damaged> {
        self.work = self.work.checked_sub(1).filter(|_| depth < DEPTH_MAX).ok_or(Damaged)?;
        Ok(match kind {
            Kind::Array(element) => {
                let mut all = Vec::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        all.push(self.json(element, depth + 1)?);
                    }
                }
                Json::Array(all)
            }
            Kind::Map(element) => {
                let mut all = serde_json::Map::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        let key = self.text()?.to_owned();
                        all.insert(key, self.json(element, depth + 1)?);
                    }
                }
                Json::Object(all)
            }
            Kind::Record(fields) => {
                let fields =
                    fields.iter().map(|(name, kind)| Ok((name.clone(), self.json(kind, depth + 1)?)));
                Json::Object(fields.collect::<Result<_, Damaged>>()?)
            }
            Kind::Union(branches) => {
                let branch = self.index()?;
                return self.json(branches.get(branch).ok_or(Damaged)?, depth + 1);
            }
            flat => match self.value(flat)? {
                Value::Null => Json::Null,
                Value::Boolean(value) => Json::Bool(value),
                Value::Integer(value) => Json::from(value),
                Value::Number(value) => Json::from(value),
                Value::Text(text) => Json::String(text.into_owned()),
                Value::Bytes(bytes) => Json::String(crate::transform::hex(bytes)),
            },
        })
    }

    /// The count of the next block of an array or map; `None` at its end.
    fn block(&mut self) -> Result<Option<u64>, Damaged> {
        match self.long()? {
            0 => Ok(None),
            count if count > 0 => Ok(Some(count.unsigned_abs())),
            count => {
                // A negative count is followed by the block's size in bytes.
                self.long()?;
                Ok(Some(count.unsigned_abs()))
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, Damaged> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Damaged),
        }
    }

    fn long(&mut self) -> Result<i64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(Damaged)
    }

    fn index(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.long()?).map_err(|_| Damaged)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.index()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn date(days: i64) -> Result<String, Damaged> {
    let span = jiff::Span::new().try_days(days).map_err(|_| Damaged)?;
    let date = Date::constant(1970, 1, 1).checked_add(span).map_err(|_| Damaged)?;
    Ok(date.to_string())
}

fn instant(count: i64, parts: i64) -> Result<jiff::Timestamp, Damaged> {
    let nanoseconds = i128::from(count) * i128::from(1_000_000_000 / parts.max(1));
    jiff::Timestamp::from_nanosecond(nanoseconds).map_err(|_| Damaged)
}

/// The number without trailing zeros.
fn decimal(bytes: &[u8], scale: u32) -> Result<String, Damaged> {
    let first = bytes.first().ok_or(Damaged)?;
    let mut wide = [if *first >= 0x80 { 0xff } else { 0 }; 16];
    let start = wide.len().checked_sub(bytes.len()).ok_or(Damaged)?;
    wide.get_mut(start..).ok_or(Damaged)?.copy_from_slice(bytes);
    let number = i128::from_be_bytes(wide);
    let digits = number.unsigned_abs().to_string();
    let scale = scale as usize;
    let padded = format!("{}{digits}", "0".repeat((scale + 1).saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at_checked(padded.len() - scale).ok_or(Damaged)?;
    let fraction = fraction.trim_end_matches('0');
    let sign = if number < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}
