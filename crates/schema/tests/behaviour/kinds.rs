//! Random types, and random values of them, as apache-avro has them.

use apache_avro::types::Value;
use apache_avro::{Days, Decimal, Duration, Millis, Months, Uuid};
use proptest::prelude::*;
use proptest::strategy::Union as OneOf;
use serde_json::{Value as Json, json};

/// A type. Named types take their name from their shape, so that an equal one is a reference to the first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Uuid,
    Date,
    TimeMillis,
    TimeMicros,
    Micros,
    Millis,
    Nanos,
    Local,
    Decimal {
        precision: u32,
        scale: u32,
        size: Option<usize>,
    },
    Fixed(usize),
    Duration,
    Enum(usize),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Union(Vec<Kind>),
    Record(Vec<Kind>),
    /// A record that contains itself.
    Tree,
}

pub(crate) const SYMBOLS: [&str; 4] = ["A", "B", "C", "D"];
const TEXTS: [&str; 8] = ["", "a", "ab", "王小明", "500103", "500", "重庆", "é́x"];

fn leaf() -> impl Strategy<Value = Kind> {
    let decimal = (1..=18_u32, 0..=4_u32, prop_oneof![Just(None), (8..12_usize).prop_map(Some)])
        .prop_map(|(precision, scale, size)| Kind::Decimal { precision: precision.max(scale), scale, size });
    let plain = [
        Kind::Boolean,
        Kind::Int,
        Kind::Long,
        Kind::Float,
        Kind::Double,
        Kind::Bytes,
        Kind::Text,
        Kind::Text,
        Kind::Uuid,
        Kind::Date,
        Kind::TimeMillis,
        Kind::TimeMicros,
        Kind::Micros,
        Kind::Millis,
        Kind::Nanos,
        Kind::Local,
        Kind::Duration,
        Kind::Tree,
    ];
    prop_oneof![
        6 => proptest::sample::select(plain.to_vec()),
        2 => decimal,
        1 => (0..4_usize).prop_map(Kind::Fixed),
        1 => (1..=SYMBOLS.len()).prop_map(Kind::Enum),
    ]
}

/// Any type, a few levels deep.
pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        let several = vec![
            Kind::Null,
            Kind::Boolean,
            Kind::Long,
            Kind::Double,
            Kind::Text,
            Kind::Bytes,
            Kind::Enum(2),
            Kind::Array(Box::new(Kind::Int)),
            Kind::Record(vec![Kind::Text]),
        ];
        prop_oneof![
            3 => (inner.clone(), any::<bool>()).prop_map(|(kind, first)| nullable(kind, first)),
            1 => inner.clone().prop_map(|kind| Kind::Array(Box::new(kind))),
            1 => inner.clone().prop_map(|kind| Kind::Map(Box::new(kind))),
            1 => proptest::collection::vec(inner, 0..4).prop_map(Kind::Record),
            1 => proptest::sample::subsequence(several, 1..5).prop_shuffle().prop_map(Kind::Union),
        ]
    })
}

/// The type or null. A union does not become one again.
pub(crate) fn nullable(kind: Kind, null_first: bool) -> Kind {
    match kind {
        Kind::Union(_) | Kind::Null => kind,
        kind if null_first => Kind::Union(vec![Kind::Null, kind]),
        kind => Kind::Union(vec![kind, Kind::Null]),
    }
}

/// The Avro JSON. `defined` holds the names that stand before.
pub(crate) fn json(kind: &Kind, defined: &mut Vec<String>) -> Json {
    let logical = |base: &str, logical: &str| json!({"type": base, "logicalType": logical});
    match kind {
        Kind::Null => json!("null"),
        Kind::Boolean => json!("boolean"),
        Kind::Int => json!("int"),
        Kind::Long => json!("long"),
        Kind::Float => json!("float"),
        Kind::Double => json!("double"),
        Kind::Bytes => json!("bytes"),
        Kind::Text => json!("string"),
        Kind::Uuid => logical("string", "uuid"),
        Kind::Date => logical("int", "date"),
        Kind::TimeMillis => logical("int", "time-millis"),
        Kind::TimeMicros => logical("long", "time-micros"),
        Kind::Micros => logical("long", "timestamp-micros"),
        Kind::Millis => logical("long", "timestamp-millis"),
        Kind::Nanos => logical("long", "timestamp-nanos"),
        Kind::Local => logical("long", "local-timestamp-micros"),
        Kind::Decimal { precision, scale, size: None } => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        Kind::Decimal { precision, scale, size: Some(size) } => {
            named(&format!("Decimal{precision}_{scale}_{size}"), defined, |name, _| {
                json!({"type": "fixed", "name": name, "size": size, "logicalType": "decimal",
                       "precision": precision, "scale": scale})
            })
        }
        Kind::Fixed(size) => named(
            &format!("Fixed{size}"),
            defined,
            |name, _| json!({"type": "fixed", "name": name, "size": size}),
        ),
        Kind::Duration => named(
            "Duration",
            defined,
            |name, _| json!({"type": "fixed", "name": name, "size": 12, "logicalType": "duration"}),
        ),
        Kind::Enum(count) => named(
            &format!("Enum{count}"),
            defined,
            |name, _| json!({"type": "enum", "name": name, "symbols": SYMBOLS[..*count]}),
        ),
        Kind::Array(inner) => json!({"type": "array", "items": json(inner, defined)}),
        Kind::Map(inner) => json!({"type": "map", "values": json(inner, defined)}),
        Kind::Union(branches) => branches.iter().map(|branch| json(branch, defined)).collect(),
        Kind::Record(fields) => {
            let shape: String = format!("{kind:?}").chars().filter(char::is_ascii_alphanumeric).collect();
            named(&format!("Record{shape}{}", fields.len()), defined, |name, defined| {
                let fields: Vec<Json> = (0..)
                    .zip(fields)
                    .map(|(index, field)| json!({"name": format!("f{index}"), "type": json(field, defined)}))
                    .collect();
                json!({"type": "record", "name": name, "fields": fields})
            })
        }
        Kind::Tree => named("Tree", defined, |name, _| {
            json!({"type": "record", "name": name, "fields": [
                {"name": "next", "type": ["null", name]}, {"name": "v", "type": "int"}]})
        }),
    }
}

fn named(name: &str, defined: &mut Vec<String>, define: impl FnOnce(&str, &mut Vec<String>) -> Json) -> Json {
    if defined.iter().any(|known| known == name) {
        return json!(name);
    }
    defined.push(name.to_owned());
    define(name, defined)
}

/// Values of the type that break no rule.
pub(crate) fn value(kind: &Kind) -> BoxedStrategy<Value> {
    // Lengths of one, two and three bytes.
    let long =
        || proptest::sample::select(vec![63, 64, 70, 8_191, 8_192]).prop_map(|length| "x".repeat(length));
    let texts =
        || prop_oneof![5 => proptest::sample::select(TEXTS.to_vec()).prop_map(str::to_owned), 1 => long()];
    match kind {
        Kind::Null => Just(Value::Null).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Kind::Int => prop_oneof![-20..20_i32, any::<i32>()].prop_map(Value::Int).boxed(),
        Kind::Long => prop_oneof![-20..20_i64, any::<i64>()].prop_map(Value::Long).boxed(),
        Kind::Float => {
            prop_oneof![-4..4_i16, any::<i16>()].prop_map(|v| Value::Float(f32::from(v) / 4.0)).boxed()
        }
        Kind::Double => {
            prop_oneof![-4..4_i32, any::<i32>()].prop_map(|v| Value::Double(f64::from(v) / 4.0)).boxed()
        }
        Kind::Bytes => proptest::collection::vec(any::<u8>(), 0..6).prop_map(Value::Bytes).boxed(),
        Kind::Text => prop_oneof![texts(), any::<String>()].prop_map(Value::String).boxed(),
        Kind::Uuid => any::<u128>().prop_map(|v| Value::Uuid(Uuid::from_u128(v))).boxed(),
        Kind::Date => prop_oneof![-400..400_i32, -719_162..=2_932_896_i32].prop_map(Value::Date).boxed(),
        Kind::TimeMillis => (0..86_400_000_i32).prop_map(Value::TimeMillis).boxed(),
        Kind::TimeMicros => (0..86_400_000_000_i64).prop_map(Value::TimeMicros).boxed(),
        Kind::Micros => instant(1_000_000).prop_map(Value::TimestampMicros).boxed(),
        Kind::Millis => instant(1_000).prop_map(Value::TimestampMillis).boxed(),
        Kind::Nanos => any::<i64>().prop_map(Value::TimestampNanos).boxed(),
        Kind::Local => instant(1_000_000).prop_map(Value::LocalTimestampMicros).boxed(),
        Kind::Decimal { precision, .. } => {
            let most = 10_i64.pow(*precision) - 1;
            prop_oneof![(-most).max(-999)..=most.min(999), -most..=most]
                .prop_map(|v| Value::Decimal(decimal(i128::from(v))))
                .boxed()
        }
        Kind::Fixed(size) => {
            let size = *size;
            proptest::collection::vec(any::<u8>(), size)
                .prop_map(move |bytes| Value::Fixed(size, bytes))
                .boxed()
        }
        Kind::Duration => any::<(u32, u32, u32)>()
            .prop_map(|(m, d, ms)| {
                Value::Duration(Duration::new(Months::new(m), Days::new(d), Millis::new(ms)))
            })
            .boxed(),
        Kind::Enum(count) => {
            (0..*count).prop_map(|index| Value::Enum(index as u32, SYMBOLS[index].to_owned())).boxed()
        }
        Kind::Array(inner) => proptest::collection::vec(value(inner), 0..4).prop_map(Value::Array).boxed(),
        Kind::Map(inner) => {
            proptest::collection::hash_map(texts(), value(inner), 0..3).prop_map(Value::Map).boxed()
        }
        Kind::Union(branches) => OneOf::new((0..).zip(branches).map(|(index, branch)| {
            value(branch).prop_map(move |value| Value::Union(index, Box::new(value))).boxed()
        }))
        .boxed(),
        Kind::Record(fields) => {
            let fields: Vec<_> = fields.iter().map(value).collect();
            fields.prop_map(|values| Value::Record(named_values("f", values))).boxed()
        }
        Kind::Tree => proptest::collection::vec(any::<i32>(), 1..4)
            .prop_map(|values| {
                let leaf = Value::Union(0, Box::new(Value::Null));
                let tree = |next, v| Value::Record(vec![("next".into(), next), ("v".into(), Value::Int(v))]);
                let (last, rest) = values.split_last().unwrap();
                rest.iter().fold(tree(leaf, *last), |next, v| tree(Value::Union(1, Box::new(next)), *v))
            })
            .boxed(),
    }
}

/// Values called `f0`, `f1` and so on.
pub(crate) fn named_values(prefix: &str, values: Vec<Value>) -> Vec<(String, Value)> {
    (0..).zip(values).map(|(index, value)| (format!("{prefix}{index}"), value)).collect()
}

fn instant(per_second: i64) -> impl Strategy<Value = i64> {
    let day = 86_400 * per_second;
    prop_oneof![-400 * day..400 * day, -719_162 * day..=2_932_896 * day]
}

/// The shortest bytes of the integer.
pub(crate) fn decimal(value: i128) -> Decimal {
    let bytes = value.to_be_bytes();
    let length = (1..=16).find(|length| {
        let mut wide = [if value < 0 { 0xff } else { 0 }; 16];
        wide[16 - length..].copy_from_slice(&bytes[16 - length..]);
        (bytes[16 - length] >= 0x80) == (value < 0) && i128::from_be_bytes(wide) == value
    });
    Decimal::from(&bytes[16 - length.unwrap()..])
}
