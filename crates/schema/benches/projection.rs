//! The projection against decode, view, encode by apache-avro: 8 of 20 items, one mask, one filter. Both in one
//! run, turn by turn, on the same bodies. Then what checking a record on its way in costs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark panics to fail and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use shuniu_model::{ItemName, MaskRule, PseudonymScope, Treatment, View, ViewItem};
use shuniu_schema::{Checked, Checker, Plan, PseudonymKey, Schema};

const RECORDS: usize = 2_000;
/// Of all rounds the least time counts: what the work takes when nothing else has the processor.
const ROUNDS: usize = 60;

/// Name, type and whether it may be null, of the items of a population register.
const ITEMS: [(&str, &str, bool); 20] = [
    ("id_no", r#"{"type": "string", "logicalType": "citizen-id"}"#, false),
    ("name", "\"string\"", true),
    ("former_name", "\"string\"", true),
    ("sex", r#"{"type": "string", "logicalType": "sex"}"#, true),
    ("ethnic", r#"{"type": "string", "logicalType": "ethnic"}"#, true),
    ("birth_date", r#"{"type": "int", "logicalType": "date"}"#, true),
    ("birth_place", r#"{"type": "string", "logicalType": "division"}"#, true),
    ("native_place", r#"{"type": "string", "logicalType": "division"}"#, true),
    ("hukou_division", r#"{"type": "string", "logicalType": "division"}"#, true),
    ("hukou_addr", "\"string\"", true),
    ("live_division", r#"{"type": "string", "logicalType": "division"}"#, true),
    ("live_addr", "\"string\"", true),
    ("marital", "\"string\"", true),
    ("education", "\"string\"", true),
    ("relation", "\"string\"", true),
    ("death_flag", "\"boolean\"", true),
    ("death_date", r#"{"type": "int", "logicalType": "date"}"#, true),
    ("cancel_reason", "\"string\"", true),
    ("guardian_id_no", "\"string\"", true),
    ("income", r#"{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}"#, true),
];
const KEPT: [&str; 8] =
    ["id_no", "name", "sex", "birth_date", "hukou_division", "live_division", "live_addr", "death_flag"];
const MASKED: &str = "name";
const FILTER: &str = "live_division.startsWith('5001')";

fn main() {
    // `cargo test` runs benchmarks once, to see that they work.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    let schema = Schema::parse(&schema_text()).unwrap();
    let avro_schema = apache_avro::Schema::parse_str(schema.text()).unwrap();
    let id_no = ItemName::parse("id_no").unwrap();
    let scope = PseudonymScope { scope: "hall/population".into(), master_version: 1 };
    let key = PseudonymKey::derive(&[1; 32], &scope);
    let items = KEPT.map(|item| ViewItem {
        name: ItemName::parse(item).unwrap(),
        treatment: if item == MASKED {
            Treatment::Mask(MaskRule { first: 1, last: 0 })
        } else {
            Treatment::Keep
        },
    });
    let view = View::new(items.to_vec(), Some(FILTER.into()), scope);
    let plan = Plan::compile(&schema, &schema, &id_no, &view, &key).unwrap();
    let projected = apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
    let reader = GenericDatumReader::builder(&avro_schema).build().unwrap();
    let source = GenericDatumWriter::builder(&avro_schema).build().unwrap();
    let writer = GenericDatumWriter::builder(&projected).build().unwrap();
    let bodies: Vec<Vec<u8>> = (0..RECORDS).map(|n| source.write_value_to_vec(person(n)).unwrap()).collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    println!(
        "{RECORDS} records of {} bytes, 8 of {} items, one mask, one filter",
        bytes / RECORDS,
        ITEMS.len()
    );

    let mut out = Vec::new();
    let by_plan = |body: &[u8], out: &mut Vec<u8>| {
        out.clear();
        let passes = plan.matches(body).unwrap();
        if passes {
            plan.project(body, out).unwrap();
        }
        passes
    };
    let by_values = |body: &[u8]| {
        let row = reader.read_value(&mut { body }).unwrap();
        view_of(row).map(|row| writer.write_value_to_vec(row).unwrap())
    };
    let mut passed = 0;
    for body in &bodies {
        let expected = by_values(body);
        passed += usize::from(expected.is_some());
        assert_eq!(by_plan(body, &mut out).then_some(&out), expected.as_ref(), "the two do not agree");
    }
    println!("{passed} records pass the filter; both ways give the same bytes");

    let (mut plan_times, mut value_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plan_times.push(time(|| {
            bodies.iter().for_each(|body| {
                black_box(by_plan(body, &mut out));
            })
        }));
        value_times.push(time(|| {
            bodies.iter().for_each(|body| {
                black_box(by_values(body));
            })
        }));
    }
    let (plan_time, value_time) = (least(plan_times), least(value_times));
    println!("plan {} ns a record, decode-view-encode {} ns a record", each(plan_time), each(value_time));
    let ratio = value_time.as_secs_f64() / plan_time.as_secs_f64();
    figure("projection-speed", ratio, "times", 20.0, ratio >= 20.0);

    let checker = Checker::new(&schema, &id_no, std::slice::from_ref(&id_no)).unwrap();
    let mut checked = Checked::default();
    let check_times = (0..rounds)
        .map(|_| time(|| bodies.iter().for_each(|body| checker.check(body, &mut checked).unwrap())));
    let check_time = least(check_times.collect());
    println!("check {} ns a record", each(check_time));
    let per_megabyte = check_time.as_secs_f64() * 1e3 / (bytes as f64 / 1e6);
    figure("record-check", per_megabyte, "ms/MB", 2.0, per_megabyte <= 2.0);
}

fn figure(name: &str, value: f64, unit: &str, goal: f64, met: bool) {
    println!("figure {name} {value:.2} {unit} goal {goal} {}", if met { "met" } else { "short" });
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn least(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap()
}

fn each(time: Duration) -> u128 {
    time.as_nanos() / RECORDS as u128
}

/// The view, on decoded values.
fn view_of(row: Value) -> Option<Value> {
    let Value::Record(fields) = row else { panic!("not a record") };
    let division = fields.iter().find(|(name, _)| name == "live_division");
    match division {
        Some((_, Value::Union(_, division))) if matches!(&**division, Value::String(d) if d.starts_with("5001")) =>
            {}
        _ => return None,
    }
    let kept = fields.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
    let treated = kept.map(|(name, value)| match value {
        Value::Union(1, value) if name == MASKED => match *value {
            Value::String(text) => (name, Value::Union(1, Box::new(Value::String(masked(&text))))),
            value => (name, Value::Union(1, Box::new(value))),
        },
        value => (name, value),
    });
    Some(Value::Record(treated.collect()))
}

fn masked(text: &str) -> String {
    text.chars().enumerate().map(|(index, character)| if index == 0 { character } else { '*' }).collect()
}

fn schema_text() -> String {
    let fields = ITEMS.map(|(name, kind, nullable)| {
        let kind = if nullable { format!(r#"["null", {kind}]"#) } else { kind.to_owned() };
        format!(
            r#"{{"name": "{name}", "type": {kind}, "title_zh": "{name}", "data_type": "C", "level": 3, "sharing": "conditional"}}"#
        )
    });
    format!(r#"{{"type": "record", "name": "Person", "fields": [{}]}}"#, fields.join(", "))
}

fn person(n: usize) -> Value {
    let text = |value: String| Value::Union(1, Box::new(Value::String(value)));
    let some = |value: Value| Value::Union(1, Box::new(value));
    let null = || Value::Union(0, Box::new(Value::Null));
    // One in four lives elsewhere.
    let division = if n.is_multiple_of(4) { "500240".to_owned() } else { format!("5001{:02}", 1 + n % 20) };
    let address =
        format!("重庆市渝中区解放碑街道民权路{}号{}幢{}单元{}", n % 300, n % 9, n % 4, 100 + n % 30);
    let day = i32::try_from(n % 20_000).unwrap();
    let values = [
        Value::String(citizen_id(n)),
        text(
            ["王小明", "李四", "欧阳娜娜", "阿依古丽·买买提"]
                .get(n % 4)
                .copied()
                .unwrap_or_default()
                .to_owned(),
        ),
        null(),
        text((1 + n % 2).to_string()),
        text("01".to_owned()),
        some(Value::Date(day)),
        text("500103".to_owned()),
        text("510100".to_owned()),
        text(division.clone()),
        text(address.clone()),
        text(division),
        text(address),
        text("20".to_owned()),
        text("20".to_owned()),
        text("01".to_owned()),
        some(Value::Boolean(n.is_multiple_of(50))),
        if n.is_multiple_of(50) { some(Value::Date(day + 9_000)) } else { null() },
        null(),
        null(),
        some(Value::Decimal(vec![1, 2, u8::try_from(n % 100).unwrap()].into())),
    ];
    Value::Record(ITEMS.iter().map(|(name, ..)| (*name).to_owned()).zip(values).collect())
}

fn citizen_id(n: usize) -> String {
    let body = format!("500103{}{:02}{:02}{:03}", 1950 + n % 60, 1 + n % 12, 1 + n % 28, n % 1000);
    let sum: usize =
        body.bytes().zip((1..18).rev()).map(|(digit, place)| usize::from(digit - b'0') * weight(place)).sum();
    let check = "10X98765432".chars().nth(sum % 11).unwrap();
    format!("{body}{check}")
}

/// GB 11643: 2 to the power of the place, modulo 11.
fn weight(place: u32) -> usize {
    2_usize.pow(place) % 11
}
