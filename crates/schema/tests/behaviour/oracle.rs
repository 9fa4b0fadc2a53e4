//! What a view does, said once more on decoded values and with other tools.

use apache_avro::types::Value;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use shuniu_model::{Generalisation, MaskRule, PseudonymScope, Treatment};

use crate::kinds::{self, Kind, SYMBOLS, decimal};

pub(crate) const MASTER: [u8; 32] = [42; 32];

pub(crate) fn scope() -> PseudonymScope {
    PseudonymScope { scope: "bank/rows".into(), master_version: 3 }
}

/// Whether the treatment is for the type, by DESIGN's list.
pub(crate) fn fits(kind: &Kind, treatment: &Treatment) -> bool {
    let mut branches = branches(kind).iter().filter(|kind| **kind != Kind::Null).peekable();
    if matches!(treatment, Treatment::Keep | Treatment::Drop) {
        return true;
    }
    branches.peek().is_some()
        && branches.all(|kind| match (treatment, kind) {
            (Treatment::Keep | Treatment::Drop, _) => true,
            (Treatment::Mask(_), kind) => matches!(kind, Kind::Text | Kind::Uuid),
            (Treatment::Pseudonym, kind) => matches!(
                kind,
                Kind::Text
                    | Kind::Uuid
                    | Kind::Int
                    | Kind::Long
                    | Kind::Date
                    | Kind::Decimal { .. }
                    | Kind::Enum(_)
            ),
            (Treatment::Generalise(Generalisation::Prefix(_)), kind) => {
                matches!(kind, Kind::Text | Kind::Uuid)
            }
            (Treatment::Generalise(Generalisation::Month | Generalisation::Year), kind) => {
                matches!(kind, Kind::Date | Kind::Micros | Kind::Millis | Kind::Nanos)
            }
            (Treatment::Generalise(Generalisation::Step(_)), kind) => {
                matches!(kind, Kind::Int | Kind::Long | Kind::Float | Kind::Double | Kind::Decimal { .. })
            }
            // Constants are tried on plain items, see `constant`.
            (Treatment::Constant(_), _) => false,
        })
}

fn branches(kind: &Kind) -> &[Kind] {
    match kind {
        Kind::Union(branches) => branches,
        kind => std::slice::from_ref(kind),
    }
}

/// The type that a treated item has.
pub(crate) fn treated_kind(kind: &Kind, treatment: &Treatment) -> Kind {
    match treatment {
        Treatment::Pseudonym => match branches(kind).iter().position(|kind| *kind == Kind::Null) {
            None => Kind::Text,
            Some(0) => Kind::Union(vec![Kind::Null, Kind::Text]),
            Some(_) => Kind::Union(vec![Kind::Text, Kind::Null]),
        },
        Treatment::Keep | Treatment::Drop => kind.clone(),
        _ => match kind {
            Kind::Union(branches) => {
                Kind::Union(branches.iter().map(|branch| treated_kind(branch, treatment)).collect())
            }
            // A masked UUID is none.
            Kind::Uuid => Kind::Text,
            kind => kind.clone(),
        },
    }
}

/// The value after the treatment.
pub(crate) fn treat(kind: &Kind, value: &Value, treatment: &Treatment) -> Value {
    match (kind, value) {
        (_, value) if *treatment == Treatment::Keep => value.clone(),
        (Kind::Union(branches), Value::Union(index, value)) => {
            let treated = treat(&branches[*index as usize], value, treatment);
            let null = branches.iter().position(|kind| *kind == Kind::Null);
            match (treatment, null) {
                (Treatment::Pseudonym, None) => treated,
                (Treatment::Pseudonym, Some(null)) => {
                    let index =
                        if treated == Value::Null { u32::from(null > 0) } else { u32::from(null == 0) };
                    Value::Union(index, Box::new(treated))
                }
                _ => Value::Union(*index, Box::new(treated)),
            }
        }
        (_, Value::Null) => Value::Null,
        (_, value) => match treatment {
            Treatment::Mask(rule) => Value::String(mask(&text(kind, value), *rule)),
            Treatment::Pseudonym => Value::String(pseudonym(&text(kind, value))),
            Treatment::Generalise(Generalisation::Prefix(chars)) => {
                Value::String(text(kind, value).chars().take(*chars as usize).collect())
            }
            Treatment::Generalise(Generalisation::Month) => first(value, false),
            Treatment::Generalise(Generalisation::Year) => first(value, true),
            Treatment::Generalise(Generalisation::Step(step)) => floor(kind, value, *step),
            Treatment::Keep | Treatment::Drop | Treatment::Constant(_) => value.clone(),
        },
    }
}

pub(crate) fn pseudonym(text: &str) -> String {
    let mut key = [0; 32];
    let info = [b"shuniu pseudonym 1\n3\n".as_slice(), b"bank/rows"].concat();
    hkdf::Hkdf::<Sha256>::new(None, &MASTER).expand(&info, &mut key).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mask(text: &str, rule: MaskRule) -> String {
    let characters: Vec<char> = text.chars().collect();
    let (first, last) = (rule.first as usize, rule.last as usize);
    if characters.len() <= first + last {
        return "*".repeat(characters.len());
    }
    let hidden = first..characters.len() - last;
    (0..)
        .zip(characters)
        .map(|(index, character)| if hidden.contains(&index) { '*' } else { character })
        .collect()
}

/// A value as an integer and a scale.
pub(crate) fn exact(kind: &Kind, value: &Value) -> Option<(i128, u32)> {
    match (kind, value) {
        (_, Value::Int(value)) => Some((i128::from(*value), 0)),
        (_, Value::Long(value)) => Some((i128::from(*value), 0)),
        (Kind::Decimal { scale, .. }, Value::Decimal(value)) => {
            let bytes: Vec<u8> = value.try_into().unwrap();
            let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
            let start = if negative { -1_i128 } else { 0 };
            Some((bytes.iter().fold(start, |sum, byte| (sum << 8) | i128::from(*byte)), *scale))
        }
        _ => None,
    }
}

fn text(kind: &Kind, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Enum(index, _) => SYMBOLS[*index as usize].to_owned(),
        Value::Date(day) => (Date::new(1970, 1, 1).unwrap() + day.days()).to_string(),
        value => {
            let (unscaled, scale) = exact(kind, value).unwrap();
            let sign = if unscaled < 0 { "-" } else { "" };
            let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
            let written = format!("{sign}{whole}.{fraction}");
            written.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

fn first(value: &Value, of_year: bool) -> Value {
    let first = |date: Date| if of_year { date.first_of_year() } else { date.first_of_month() };
    let midnight = |nanosecond: i128| {
        let date =
            Timestamp::from_nanosecond(nanosecond).unwrap().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let since = first(date).since((jiff::Unit::Day, Date::new(1970, 1, 1).unwrap())).unwrap();
        i64::from(since.get_days()) * 86_400
    };
    match value {
        Value::Date(day) => {
            let date = first(Date::new(1970, 1, 1).unwrap() + day.days());
            Value::Date(date.since((jiff::Unit::Day, Date::new(1970, 1, 1).unwrap())).unwrap().get_days())
        }
        Value::TimestampMicros(micros) => {
            Value::TimestampMicros(midnight(i128::from(*micros) * 1_000) * 1_000_000)
        }
        Value::TimestampMillis(millis) => {
            Value::TimestampMillis(midnight(i128::from(*millis) * 1_000_000) * 1_000)
        }
        Value::TimestampNanos(nanos) => {
            Value::TimestampNanos(midnight(i128::from(*nanos)).saturating_mul(1_000_000_000))
        }
        _ => panic!("not a date"),
    }
}

fn floor(kind: &Kind, value: &Value, step: i64) -> Value {
    match value {
        Value::Float(value) => Value::Float(((f64::from(*value) / step as f64).floor() * step as f64) as f32),
        Value::Double(value) => Value::Double((value / step as f64).floor() * step as f64),
        value => {
            let (unscaled, scale) = exact(kind, value).unwrap();
            let step = i128::from(step) * 10_i128.pow(scale);
            let below = unscaled - (unscaled % step + step) % step;
            match (value, kind) {
                (Value::Int(_), _) => Value::Int(below.max(i128::from(i32::MIN)) as i32),
                (Value::Long(_), _) => Value::Long(below.max(i128::from(i64::MIN)) as i64),
                (_, Kind::Decimal { precision, .. }) => {
                    Value::Decimal(decimal(below.max(1 - 10_i128.pow(*precision))))
                }
                _ => panic!("not a number"),
            }
        }
    }
}

/// The schema of a row with these items, as text.
pub(crate) fn row_schema(items: &[(String, Kind, Option<Json>)]) -> String {
    let mut defined = Vec::new();
    let fields: Vec<Json> = items
        .iter()
        .map(|(name, kind, default)| {
            let mut field = json!({"name": name, "type": kinds::json(kind, &mut defined), "title_zh": "项",
                "data_type": "C", "level": 1, "sharing": "conditional"});
            if let Some(default) = default {
                field["default"] = default.clone();
            }
            field
        })
        .collect();
    json!({"type": "record", "name": "Row", "namespace": "a.b", "fields": fields}).to_string()
}
