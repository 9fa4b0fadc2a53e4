//! Row filters: what is written is what passes, and what is not understood is refused with its place.

use apache_avro::types::Value;
use shuniu_model::{ItemName, PseudonymScope, Treatment, View, ViewItem};
use shuniu_schema::{Filter, Plan, PseudonymKey, Schema};

use crate::avro;

const V1: &str = r#"{
  "type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "string", "title_zh": "标识", "data_type": "C", "level": 1, "sharing": "conditional"},
    {"name": "division", "type": ["null", "string"], "default": null, "title_zh": "区划", "data_type": "C", "level": 1, "sharing": "conditional"},
    {"name": "count", "type": ["null", "int"], "default": null, "title_zh": "数", "data_type": "I", "level": 1, "sharing": "conditional"},
    {"name": "born", "type": ["null", {"type": "int", "logicalType": "date"}], "title_zh": "生", "data_type": "D", "level": 1, "sharing": "conditional"},
    {"name": "died", "type": ["null", {"type": "int", "logicalType": "date"}], "title_zh": "死", "data_type": "D", "level": 1, "sharing": "conditional"},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}], "title_zh": "额", "data_type": "N", "level": 1, "sharing": "conditional"},
    {"name": "alive", "type": ["null", "boolean"], "title_zh": "在", "data_type": "L", "level": 1, "sharing": "conditional"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["big", "small"]}, "title_zh": "类", "data_type": "C", "level": 1, "sharing": "conditional"},
    {"name": "ratio", "type": "double", "title_zh": "率", "data_type": "B", "level": 1, "sharing": "conditional"},
    {"name": "secret", "type": "string", "title_zh": "密", "data_type": "C", "level": 4, "sharing": "not-shared", "basis": "某法第一条"},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "title_zh": "签", "data_type": "G", "level": 1, "sharing": "conditional"}
  ]}"#;

fn row() -> Vec<u8> {
    let some = |value| Value::Union(1, Box::new(value));
    let null = || Value::Union(0, Box::new(Value::Null));
    let record = Value::Record(vec![
        ("id".into(), Value::String("x".into())),
        ("division".into(), some(Value::String("500103".into()))),
        ("count".into(), some(Value::Int(-7))),
        ("born".into(), some(Value::Date(11_016))), // 2000-02-29
        ("died".into(), null()),
        ("amount".into(), some(Value::Decimal(vec![0x30, 0x39].into()))), // 123.45
        ("alive".into(), some(Value::Boolean(true))),
        ("kind".into(), Value::Enum(1, "small".into())),
        ("ratio".into(), Value::Double(0.25)),
        ("secret".into(), Value::String("s".into())),
        ("tags".into(), Value::Array(vec![])),
    ]);
    avro::encode(&apache_avro::Schema::parse_str(V1).unwrap(), record)
}

fn plan(filter: &str, writer: &Schema, latest: &Schema) -> Plan {
    let id = ItemName::parse("id").unwrap();
    let items = vec![ViewItem { name: id.clone(), treatment: Treatment::Keep }];
    let scope = PseudonymScope { scope: "s".into(), master_version: 1 };
    let key = PseudonymKey::derive(&[1; 32], &scope);
    Plan::compile(writer, latest, &id, &View::new(items, Some(filter.into()), scope), &key).unwrap()
}

#[test]
fn a_row_passes_exactly_when_its_filter_says_so() {
    let schema = Schema::parse(V1).unwrap();
    let body = row();
    let passes = |filter: &str| plan(filter, &schema, &schema).matches(&body).unwrap();
    for filter in [
        "division == '500103'",
        "'500103' == division",
        "division != '5'",
        "division.startsWith('5001')",
        "division in ['500101', '500103']",
        "division >= '5' && division < '6'",
        "count == -7",
        "count < -6.5",
        "-6.5 > count",
        "count in [1, -7]",
        "born == date('2000-02-29')",
        "born < date('2000-03-01') && born > date('2000-02-28')",
        "born in [date('2000-02-29')]",
        "amount == 123.45",
        "amount == 123.450",
        "amount > 123",
        "alive == true",
        "alive != false",
        "kind == 'small'",
        "kind.startsWith('sm')",
        "ratio == 0.25",
        "ratio < 1",
        "died == null",
        "born != null",
        "!(died == date('2000-01-01'))",
        "!(died != date('2000-01-01'))",
        "!(died >= born) && !(died < born)",
        "born == born",
        "(count == 1 || kind == 'small') && !(alive == false)",
        "tags != null",
        "id == \"x\"",
    ] {
        assert!(passes(filter), "{filter}");
    }
    for filter in [
        "division == '50010'",
        "division != '500103'",
        "division.startsWith('500103x')",
        "count > -7",
        "count == -7.0000001",
        "died == date('2000-01-01')",
        "died != date('2000-01-01')",
        "died < born",
        "died != born",
        "died in [date('2000-01-01')]",
        "amount == 123.4",
        "amount < 123.45",
        "alive == false",
        "kind in ['big']",
        "died != null",
        "born == null",
        "!(count == -7)",
        "division == '500103' && count == 0",
    ] {
        assert!(!passes(filter), "{filter}");
    }
}

#[test]
fn anything_else_is_refused_with_what_is_wrong_and_where() {
    let schema = Schema::parse(V1).unwrap();
    for (filter, says) in [
        ("division == 5", "column 10: the two sides do not compare: the one is text, the other a number"),
        ("count == '5'", "the one is a number, the other text"),
        ("born == '2000-01-01'", "the one is a date, the other text"),
        ("born == date('2000-02-30')", "column 13: `2000-02-30` is no day"),
        ("nothing == 1", "column 1: the resource has no item `nothing`"),
        ("id == 'x' &&\n  secret == 's'", "line 2, column 3: item `secret` is not shared"),
        ("secret == null", "item `secret` is not shared"),
        ("alive", "`alive` alone is no test"),
        ("!alive", "`alive` alone is no test"),
        ("true", "a literal alone is no test"),
        ("1 == 1", "a comparison needs an item on one side"),
        ("null == null", "a comparison needs an item on one side"),
        ("count + 1 == 2", "`+` is not part of filters"),
        ("count == -count", "only a number literal can be negative"),
        ("id.endsWith('x')", "`endsWith` is not part of filters"),
        ("id.matches('x')", "`matches` is not part of filters"),
        ("size(id) == 1", "`size` is not part of filters"),
        ("count.startsWith('x')", "`startsWith` is for text, and the item is a number"),
        ("id.startsWith(division)", "`startsWith` takes a text literal"),
        ("id in []", "the list names no literal"),
        ("id in [division]", "a list holds literals only"),
        ("id in ['a', null]", "null in a list is never equal"),
        ("id in ['a', 1]", "the one is text, the other a number"),
        ("'a' in tags", "an item must stand here"),
        ("tags == 'a'", "only null tests are for it"),
        ("died > null", "null has no order"),
        ("alive > false", "booleans have no order"),
        ("id == 'x' ? true : false", "is not part of filters"),
        ("has(id.x)", "a filter is made of"),
        ("id.x == 'a'", "only the resource's items can be named"),
        ("tags.exists(t, t == 'a')", "a filter is made of"),
        ("count == 5u", "without `u`"),
        ("ratio == 1e300", "more digits"),
        ("id ==", "not CEL"),
        ("", "the filter is empty"),
        (&"(".repeat(5_000), "at most 4096"),
    ] {
        let error = Filter::parse(filter, &schema).unwrap_err().to_string();
        assert!(error.contains(says), "{filter}: {error}");
    }
    let error = Filter::parse("nothing == 1 || secret == 's' || count == 'a'", &schema).unwrap_err();
    assert_eq!(error.problems.len(), 3, "all problems at once: {error}");
}

#[test]
fn an_item_that_the_writer_lacks_is_read_from_the_current_versions_default() {
    let latest = V1.replace(
        r#"{"name": "ratio","#,
        r#"{"name": "state", "type": "string", "default": "open", "title_zh": "状态", "data_type": "C", "level": 1, "sharing": "conditional"},
           {"name": "ratio","#,
    );
    let (writer, latest) = (Schema::parse(V1).unwrap(), Schema::parse(&latest).unwrap());
    let body = row();
    let passes = |filter: &str| plan(filter, &writer, &latest).matches(&body).unwrap();
    assert!(passes("state == 'open' && kind == 'small'"));
    assert!(!passes("state != 'open'"));
    assert!(!passes("state == null"));
}

#[test]
fn a_filter_reads_no_further_than_the_items_that_decide_it() {
    let schema = Schema::parse(V1).unwrap();
    let body = row();
    // Only the first item and the length of the second are there.
    let cut = &body[..4];
    assert!(!plan("id == 'y' && ratio > 0.0", &schema, &schema).matches(cut).unwrap());
    assert!(plan("id == 'x' || ratio > 0.0", &schema, &schema).matches(cut).unwrap());
    assert!(plan("ratio > 0.0", &schema, &schema).matches(cut).is_err());
}

#[test]
fn instants_of_different_fractions_compare_as_instants() {
    let text = r#"{"type": "record", "name": "Row", "fields": [
        {"name": "id", "type": {"type": "long", "logicalType": "timestamp-millis"}, "title_zh": "起", "data_type": "T", "level": 1, "sharing": "conditional"},
        {"name": "until", "type": {"type": "long", "logicalType": "timestamp-micros"}, "title_zh": "止", "data_type": "T", "level": 1, "sharing": "conditional"}]}"#;
    let schema = Schema::parse(text).unwrap();
    let body = |millis, micros| {
        let fields = [("id", Value::TimestampMillis(millis)), ("until", Value::TimestampMicros(micros))];
        let record = Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec());
        avro::encode(&apache_avro::Schema::parse_str(text).unwrap(), record)
    };
    assert!(plan("id == until", &schema, &schema).matches(&body(1_500, 1_500_000)).unwrap());
    assert!(plan("id < until", &schema, &schema).matches(&body(1_500, 1_500_001)).unwrap());
    assert!(plan("id > until", &schema, &schema).matches(&body(-1, -1_001)).unwrap());
}
