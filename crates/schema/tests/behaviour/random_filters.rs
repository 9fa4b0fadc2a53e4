//! Random filters on random rows pass exactly what the same test on decoded values passes.

use std::cmp::Ordering;

use apache_avro::types::Value;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use shuniu_model::{ItemName, Treatment, View, ViewItem};
use shuniu_schema::{Plan, PseudonymKey, Schema, compatible};

use crate::kinds::{self, Kind, SYMBOLS};
use crate::{avro, oracle};

const TEXTS: [&str; 6] = ["", "a", "ab", "500", "500103", "王小明"];
const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// The parts that a test is made of, whatever the items turn out to be.
#[derive(Debug, Clone)]
enum Gene {
    Leaf { item: Index, other: Index, operator: usize, numbers: Vec<i16>, form: u8 },
    All(Vec<Gene>),
    Any(Vec<Gene>),
    Not(Box<Gene>),
}

fn gene() -> impl Strategy<Value = Gene> {
    let leaf =
        (any::<Index>(), any::<Index>(), 0..6_usize, proptest::collection::vec(-25..25_i16, 1..4), 0..7_u8)
            .prop_map(|(item, other, operator, numbers, form)| Gene::Leaf {
                item,
                other,
                operator,
                numbers,
                form,
            });
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Gene::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Gene::Any),
            inner.prop_map(|gene| Gene::Not(Box::new(gene))),
        ]
    })
}

fn filterable() -> impl Strategy<Value = Kind> {
    let money = Kind::Decimal { precision: 6, scale: 2, size: None };
    let fixed_money = Kind::Decimal { precision: 6, scale: 3, size: Some(8) };
    let kinds = vec![
        Kind::Boolean,
        Kind::Int,
        Kind::Long,
        Kind::Float,
        Kind::Double,
        Kind::Text,
        Kind::Date,
        Kind::Micros,
        Kind::Millis,
        money,
        fixed_money,
        Kind::Enum(3),
        Kind::Bytes,
        Kind::Array(Box::new(Kind::Text)),
        Kind::Tree,
    ];
    (proptest::sample::select(kinds), 0..3_u8).prop_map(|(kind, null)| match null {
        0 => kind,
        null => kinds::nullable(kind, null == 1),
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Null,
    Boolean(bool),
    Text(String),
    /// In millionths.
    Exact(i128),
    Double(f64),
    Day(i32),
    /// In microseconds.
    Instant(i64),
    Other,
}

fn seen(kind: &Kind, value: &Value) -> Seen {
    match (kind, value) {
        (Kind::Union(branches), Value::Union(index, value)) => seen(&branches[*index as usize], value),
        (_, Value::Null) => Seen::Null,
        (_, Value::Boolean(value)) => Seen::Boolean(*value),
        (_, Value::String(value)) => Seen::Text(value.clone()),
        (_, Value::Enum(index, _)) => Seen::Text(SYMBOLS[*index as usize].into()),
        (_, Value::Float(value)) => Seen::Double(f64::from(*value)),
        (_, Value::Double(value)) => Seen::Double(*value),
        (_, Value::Date(value)) => Seen::Day(*value),
        (_, Value::TimestampMicros(value)) => Seen::Instant(*value),
        (_, Value::TimestampMillis(value)) => Seen::Instant(value * 1_000),
        (kind, value) => match oracle::exact(kind, value) {
            Some((unscaled, scale)) => Seen::Exact(unscaled * 10_i128.pow(6 - scale)),
            None => Seen::Other,
        },
    }
}

/// What an item is compared as.
fn class(kind: &Kind) -> &'static str {
    let kind = match kind {
        Kind::Union(branches) => branches.iter().find(|branch| **branch != Kind::Null).unwrap(),
        kind => kind,
    };
    match kind {
        Kind::Boolean => "boolean",
        Kind::Text | Kind::Enum(_) => "text",
        Kind::Int | Kind::Long | Kind::Float | Kind::Double | Kind::Decimal { .. } => "number",
        Kind::Date => "date",
        Kind::Micros | Kind::Millis => "instant",
        _ => "other",
    }
}

/// A literal of a class: its text, and what it is seen as.
fn literal(class: &str, number: i16) -> (String, Seen) {
    match class {
        "boolean" => ((number > 0).to_string(), Seen::Boolean(number > 0)),
        "text" if number > 15 => {
            let symbol = SYMBOLS[usize::from(number.unsigned_abs()) % 4];
            (format!("'{symbol}'"), Seen::Text(symbol.into()))
        }
        "text" => {
            let text = TEXTS[usize::from(number.unsigned_abs()) % TEXTS.len()];
            (format!("'{text}'"), Seen::Text(text.into()))
        }
        "number" if number % 3 == 0 => (number.to_string(), Seen::Exact(i128::from(number) * 1_000_000)),
        "number" => {
            let text = format!(
                "{}{}.{:02}",
                if number < 0 { "-" } else { "" },
                number.abs() / 4,
                number.abs() % 4 * 25
            );
            (text, Seen::Exact(i128::from(number) * 250_000))
        }
        _ => {
            let day = i32::from(number) * 15;
            let date = jiff::civil::Date::new(1970, 1, 1).unwrap() + jiff::ToSpan::days(day);
            (format!("date('{date}')"), Seen::Day(day))
        }
    }
}

fn order(left: &Seen, right: &Seen) -> Option<Ordering> {
    match (left, right) {
        (Seen::Boolean(left), Seen::Boolean(right)) => Some(left.cmp(right)),
        (Seen::Text(left), Seen::Text(right)) => Some(left.chars().cmp(right.chars())),
        (Seen::Exact(left), Seen::Exact(right)) => Some(left.cmp(right)),
        (Seen::Double(left), Seen::Double(right)) => left.partial_cmp(right),
        (Seen::Double(left), Seen::Exact(right)) => left.partial_cmp(&(*right as f64 / 1e6)),
        (Seen::Exact(left), Seen::Double(right)) => (*left as f64 / 1e6).partial_cmp(right),
        (Seen::Day(left), Seen::Day(right)) => Some(left.cmp(right)),
        (Seen::Instant(left), Seen::Instant(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn holds(operator: usize, left: &Seen, right: &Seen) -> bool {
    order(left, right).is_some_and(|order| match OPERATORS[operator] {
        "==" => order == Ordering::Equal,
        "!=" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

/// The items: name, type and value.
type Items = [(String, Kind, Value)];

/// The filter's text, and whether the row passes.
fn express(gene: &Gene, items: &Items) -> (String, bool) {
    match gene {
        Gene::All(genes) => {
            let parts: Vec<_> = genes.iter().map(|gene| express(gene, items)).collect();
            let text = parts.iter().map(|(text, _)| format!("({text})")).collect::<Vec<_>>().join(" && ");
            (text, parts.iter().all(|(_, passes)| *passes))
        }
        Gene::Any(genes) => {
            let parts: Vec<_> = genes.iter().map(|gene| express(gene, items)).collect();
            let text = parts.iter().map(|(text, _)| format!("({text})")).collect::<Vec<_>>().join(" || ");
            (text, parts.iter().any(|(_, passes)| *passes))
        }
        Gene::Not(gene) => {
            let (text, passes) = express(gene, items);
            (format!("!({text})"), !passes)
        }
        Gene::Leaf { item, other, operator, numbers, form } => {
            let (name, kind, value) = item.get(items);
            let (other_name, other_kind, other_value) = other.get(items);
            let (class, value) = (class(kind), seen(kind, value));
            let operator = if class == "boolean" { operator % 2 } else { *operator };
            let null_test = |wanted: bool| {
                (format!("{name} {} null", if wanted { "==" } else { "!=" }), (value == Seen::Null) == wanted)
            };
            match (form, class) {
                (0, _) | (_, "other") => null_test(true),
                (1, _) => null_test(false),
                (2, "text") => {
                    let prefix = TEXTS[usize::from(numbers[0].unsigned_abs()) % TEXTS.len()];
                    let passes = matches!(&value, Seen::Text(text) if text.starts_with(prefix));
                    (format!("{name}.startsWith('{prefix}')"), passes)
                }
                (3, class) if class == self::class(other_kind) => {
                    let passes = holds(operator, &value, &seen(other_kind, other_value));
                    (format!("{name} {} {other_name}", OPERATORS[operator]), passes)
                }
                (_, "instant") => null_test(false),
                (4, class) => {
                    let literals: Vec<_> = numbers.iter().map(|number| literal(class, *number)).collect();
                    let texts: Vec<&str> = literals.iter().map(|(text, _)| text.as_str()).collect();
                    let passes = literals.iter().any(|(_, literal)| holds(0, &value, literal));
                    (format!("{name} in [{}]", texts.join(", ")), passes)
                }
                (5, class) => {
                    let (text, literal) = literal(class, numbers[0]);
                    (format!("{text} {} {name}", OPERATORS[operator]), holds(operator, &literal, &value))
                }
                (_, class) => {
                    let (text, literal) = literal(class, numbers[0]);
                    (format!("{name} {} {text}", OPERATORS[operator]), holds(operator, &value, &literal))
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_passes_what_the_same_test_on_decoded_values_passes(
        row in proptest::collection::vec(filterable().prop_flat_map(|kind| {
            kinds::value(&kind).prop_map(move |value| (kind.clone(), value))
        }), 1..7),
        gene in gene(),
    ) {
        let mut items: Vec<(String, Kind, Value)> =
            (0..).zip(row).map(|(index, (kind, value)): (usize, _)| (format!("i{index}"), kind, value)).collect();
        let written: Vec<_> = items.iter().map(|(name, kind, _)| (name.clone(), kind.clone(), None)).collect();
        // What the writer's version lacks has the current version's default.
        let mut latest = vec![
            ("d0".to_owned(), Kind::Int, Some(json!(5))),
            ("d1".to_owned(), kinds::nullable(Kind::Text, true), Some(json!(null))),
            ("d2".to_owned(), Kind::Text, Some(json!("500"))),
        ];
        latest.extend(written.iter().cloned());
        let values = items.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect();
        let body = avro::encode(
            &apache_avro::Schema::parse_str(&oracle::row_schema(&written)).unwrap(),
            Value::Record(values),
        );
        items.push(("d0".into(), Kind::Int, Value::Int(5)));
        items.push(("d1".into(), kinds::nullable(Kind::Text, true), Value::Union(0, Box::new(Value::Null))));
        items.push(("d2".into(), Kind::Text, Value::String("500".into())));

        let (filter, passes) = express(&gene, &items);
        let writer = Schema::parse(&oracle::row_schema(&written)).unwrap();
        let latest = Schema::parse(&oracle::row_schema(&latest)).unwrap();
        prop_assert_eq!(compatible(&latest, &[&writer]), Ok(()));
        let key_item = ItemName::parse("i0").unwrap();
        let items = vec![ViewItem { name: key_item.clone(), treatment: Treatment::Keep }];
        let view = View::new(items, Some(filter.clone()), oracle::scope());
        let key = PseudonymKey::derive(&oracle::MASTER, &oracle::scope());
        let plan = Plan::compile(&writer, &latest, &key_item, &view, &key).unwrap();
        prop_assert_eq!(plan.matches(&body), Ok(passes), "{}", filter);
    }

    #[test]
    fn no_text_panics_the_filters_parser(parts in proptest::collection::vec(proptest::sample::select(vec![
        "i0", "i1", "1", "-", "1.5", "'x'", "\"人\"", "(", ")", "[", "]", "{", "}", ",", "&&", "||", "!", "==", "!=",
        "<", " in ", ".", "startsWith", "has", "null", "true", "date('2024-01-01')", "date(", "?", ":", "`x`",
        "i0.all(x, y)", "'", "\\", "5u", "b'x'", "0x", "r'", "\n", "9999999999999999999", "1e999", "//", " ", "人",
    ]), 0..14)) {
        let schema = Schema::parse(&oracle::row_schema(&[
            ("i0".to_owned(), Kind::Int, None),
            ("i1".to_owned(), Kind::Text, None),
        ])).unwrap();
        shuniu_schema::Filter::parse(&parts.concat(), &schema).ok();
    }
}
