//! Each treatment on each type that it is for, against values worked out by hand.

use crate::avro;
use apache_avro::types::Value;
use shuniu_model::{Generalisation, ItemName, MaskRule, PseudonymScope, Treatment, View, ViewItem};
use shuniu_schema::{Checked, Checker, Plan, PseudonymKey, Schema};

const PERSON: &str = r#"{
  "type": "record", "name": "Person", "namespace": "cn.population", "fields": [
    {"name": "id_no", "type": {"type": "string", "logicalType": "citizen-id"}, "title_zh": "公民身份号码", "data_type": "C", "length": 18, "level": 3, "sharing": "conditional"},
    {"name": "name", "type": ["null", "string"], "default": null, "title_zh": "姓名", "data_type": "C", "length": 4, "level": 3, "sharing": "conditional"},
    {"name": "birth_date", "type": {"type": "int", "logicalType": "date"}, "title_zh": "出生日期", "data_type": "D", "level": 2, "sharing": "conditional"},
    {"name": "income", "type": [{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}, "null"], "title_zh": "收入", "data_type": "N", "level": 4, "sharing": "conditional"},
    {"name": "moved_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "title_zh": "迁入时间", "data_type": "T", "level": 1, "sharing": "unconditional"},
    {"name": "children", "type": "int", "title_zh": "子女数", "data_type": "I", "level": 1, "sharing": "unconditional"},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "title_zh": "标签", "data_type": "G", "level": 1, "sharing": "unconditional"}
  ]}"#;

fn name(value: &str) -> ItemName {
    ItemName::parse(value).unwrap()
}

fn view(items: &[(&str, Treatment)]) -> View {
    let items =
        items.iter().map(|(item, treatment)| ViewItem { name: name(item), treatment: treatment.clone() });
    View::new(items.collect(), None, PseudonymScope { scope: "bank/population".into(), master_version: 1 })
}

fn key() -> PseudonymKey {
    PseudonymKey::derive(&[7; 32], &PseudonymScope { scope: "bank/population".into(), master_version: 1 })
}

fn person(name: Option<&str>, birth_day: i32, cents: i64, moved: i64, children: i32) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(PERSON).unwrap();
    let optional = |branch, value: Option<Value>| match value {
        Some(value) => Value::Union(branch, Box::new(value)),
        None => Value::Union(1 - branch, Box::new(Value::Null)),
    };
    let record = Value::Record(vec![
        ("id_no".into(), Value::String("11010519491231002X".into())),
        ("name".into(), optional(1, name.map(|name| Value::String(name.into())))),
        ("birth_date".into(), Value::Date(birth_day)),
        ("income".into(), optional(0, Some(Value::Decimal(cents.to_be_bytes().to_vec().into())))),
        ("moved_at".into(), Value::TimestampMicros(moved)),
        ("children".into(), Value::Int(children)),
        ("tags".into(), Value::Array(vec![Value::String("a".into()), Value::String("b".into())])),
    ]);
    avro::encode(&schema, record)
}

fn projected(view: &View, body: &[u8]) -> Vec<(String, Value)> {
    let schema = Schema::parse(PERSON).unwrap();
    let plan = Plan::compile(&schema, &schema, &name("id_no"), view, &key()).unwrap();
    let mut out = Vec::new();
    plan.project(body, &mut out).unwrap();
    let reader = apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
    let Value::Record(fields) = avro::decode(&reader, &out) else { panic!() };
    fields
}

#[test]
fn each_treatment_does_what_its_definition_says() {
    let body = person(Some("王小明"), 8_000, -12_345, 1_700_000_000_000_000, 17);
    let view = view(&[
        ("name", Treatment::Mask(MaskRule { first: 1, last: 0 })),
        ("birth_date", Treatment::Generalise(Generalisation::Year)),
        ("income", Treatment::Generalise(Generalisation::Step(100))),
        ("moved_at", Treatment::Generalise(Generalisation::Month)),
        ("children", Treatment::Pseudonym),
        ("tags", Treatment::Constant("[\"x\"]".into())),
    ]);
    let fields = projected(&view, &body);
    let value =
        |item: &str| fields.iter().find(|(name, _)| name == item).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(fields.len(), 6);
    assert_eq!(value("name"), Value::Union(1, Box::new(Value::String("王**".into()))));
    assert_eq!(value("birth_date"), Value::Date(7_670)); // 1991-01-01
    // -123.45 lies in the step from -200 to -100: -20000 hundredths.
    assert_eq!(value("income"), Value::Union(0, Box::new(Value::Decimal(vec![0xb1, 0xe0].into()))));
    assert_eq!(value("moved_at"), Value::TimestampMicros(1_698_796_800_000_000)); // 2023-11-01T00:00:00Z
    let Value::String(pseudonym) = value("children") else { panic!() };
    let mut expected = Vec::new();
    let schema = Schema::parse(PERSON).unwrap();
    let plan = Plan::compile(&schema, &schema, &name("id_no"), &view, &key()).unwrap();
    plan.key(b"17", &mut expected);
    assert_eq!(pseudonym.as_bytes(), expected);
    assert_eq!(value("tags"), Value::Array(vec![Value::String("x".into())]));
}

#[test]
fn null_stays_null_and_a_short_text_is_masked_whole() {
    let view = view(&[("name", Treatment::Mask(MaskRule { first: 1, last: 1 })), ("id_no", Treatment::Keep)]);
    let masked = |name| projected(&view, &person(name, 0, 0, 0, 0)).remove(1).1;
    assert_eq!(masked(None), Value::Union(0, Box::new(Value::Null)));
    assert_eq!(masked(Some("李四")), Value::Union(1, Box::new(Value::String("**".into()))));
    assert_eq!(masked(Some("欧阳娜娜")), Value::Union(1, Box::new(Value::String("欧**娜".into()))));
    assert_eq!(masked(Some("")), Value::Union(1, Box::new(Value::String(String::new()))));
}

#[test]
fn the_projected_schema_keeps_names_order_nullability_and_titles_and_drops_rules_that_no_longer_hold() {
    let schema = Schema::parse(PERSON).unwrap();
    let view =
        view(&[("name", Treatment::Pseudonym), ("id_no", Treatment::Mask(MaskRule { first: 3, last: 4 }))]);
    let plan = Plan::compile(&schema, &schema, &name("id_no"), &view, &key()).unwrap();
    assert_eq!(
        plan.projected_schema(),
        "{\"type\":\"record\",\"name\":\"Person\",\"namespace\":\"cn.population\",\"fields\":[\
         {\"name\":\"id_no\",\"type\":\"string\",\"title_zh\":\"公民身份号码\",\"data_type\":\"C\",\"length\":18,\"level\":3,\"sharing\":\"conditional\"},\
         {\"name\":\"name\",\"type\":[\"null\",\"string\"],\"default\":null,\"title_zh\":\"姓名\",\"data_type\":\"C\",\"length\":32,\"level\":3,\"sharing\":\"conditional\"}]}"
    );
    Schema::parse(plan.projected_schema()).unwrap();
}

#[test]
fn a_key_that_the_view_does_not_keep_is_delivered_as_its_pseudonym() {
    let schema = Schema::parse(PERSON).unwrap();
    let delivered = |view: &View| {
        let plan = Plan::compile(&schema, &schema, &name("id_no"), view, &key()).unwrap();
        let mut out = Vec::new();
        plan.key(b"11010519491231002X", &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(delivered(&view(&[("id_no", Treatment::Keep)])), "11010519491231002X");
    assert_eq!(delivered(&View::whole()), "11010519491231002X");
    let pseudonym = delivered(&view(&[("name", Treatment::Keep)]));
    assert_eq!(pseudonym.len(), 32);
    // A pseudonymised key item in the value joins with the record's key.
    let both = view(&[("id_no", Treatment::Pseudonym)]);
    assert_eq!(delivered(&both), pseudonym);
    let fields = projected(&both, &person(None, 0, 0, 0, 0));
    assert_eq!(fields, [("id_no".to_owned(), Value::String(pseudonym))]);
}

#[test]
fn an_item_takes_the_texts_that_its_type_and_rule_allow() {
    let schema = Schema::parse(PERSON).unwrap();
    for (item, takes, refuses) in [
        ("id_no", "11010519491231002X", "abc"),
        ("name", "王小明", "阿卜杜拉·买"),
        ("tags", "a", "a\0"),
        ("birth_date", "1949-12-31", "1949-12-32"),
    ] {
        assert!(schema.takes(item, takes), "{item} {takes}");
        assert!(!schema.takes(item, refuses), "{item} {refuses}");
    }
    assert!(!schema.takes("no_such_item", "a"));
}

#[test]
fn the_checker_gives_key_and_subjects_and_names_item_and_rule_of_a_breach() {
    let schema = Schema::parse(PERSON).unwrap();
    let checker = Checker::new(&schema, &name("id_no"), &[name("tags"), name("name")]).unwrap();
    let mut checked = Checked::default();
    let body = person(Some("王小明"), 0, 0, 0, 0);
    checker.check(&body, &mut checked).unwrap();
    assert_eq!(checked.key(), b"11010519491231002X");
    let subjects: Vec<&[u8]> = checked.subjects().collect();
    assert_eq!(subjects, ["王小明".as_bytes(), b"a", b"b"]);

    let mut wrong = body.clone();
    wrong[1] = b'2';
    let breach = checker.check(&wrong, &mut checked).unwrap_err();
    assert_eq!(breach.item, Some(name("id_no")));
    assert!(!breach.to_string().contains("21010519491231002X"), "{breach}");
    let breach = checker.check(&person(Some("阿卜杜拉·买"), 0, 0, 0, 0), &mut checked).unwrap_err();
    assert_eq!(breach.to_string(), "item `name`: longer than 4 characters");
    let breach = checker.check(&person(None, i32::MAX, 0, 0, 0), &mut checked).unwrap_err();
    assert_eq!(breach.to_string(), "item `birth_date`: a date outside of the years 1 to 9999");
    let control = "item `name`: text with a control character other than tab, line feed and carriage return";
    for text in
        ["\0", "a\0b", "\u{1}", "\u{b}", "\u{1b}[m", "\u{1f}", "\u{7f}", "\u{80}", "a\u{9b}", "\u{9f}b"]
    {
        let breach = checker.check(&person(Some(text), 0, 0, 0, 0), &mut checked).unwrap_err();
        assert_eq!(breach.to_string(), control, "{text:?}");
    }
    for text in ["\t\r\n", " ", "\u{a0}", "阿·买"] {
        checker.check(&person(Some(text), 0, 0, 0, 0), &mut checked).unwrap();
    }
    let mut trailing = body.clone();
    trailing.push(0);
    assert_eq!(checker.check(&trailing, &mut checked).unwrap_err().to_string(), "1 bytes follow the record");
    for cut in 0..body.len() {
        assert!(checker.check(&body[..cut], &mut checked).is_err());
    }
}

#[test]
fn a_type_that_is_defined_in_an_item_that_does_not_leave_is_defined_where_it_is_met_first() {
    let attributes = r#""title_zh": "项", "data_type": "G", "level": 1, "sharing": "conditional""#;
    let inner = r#"{"type": "enum", "name": "Inner", "namespace": "c", "symbols": ["A"]}"#;
    let outer = format!(
        r#"{{"type": "record", "name": "Outer", "fields": [{{"name": "f", "type": {inner}}}, {{"name": "g", "type": "c.Inner"}}]}}"#
    );
    let text = format!(
        r#"{{"type": "record", "name": "Row", "namespace": "a", "fields": [
            {{"name": "gone", "type": {outer}, {attributes}}},
            {{"name": "inner", "type": ["null", "c.Inner"], {attributes}}},
            {{"name": "outer", "type": "Outer", {attributes}}},
            {{"name": "again", "type": {{"type": "array", "items": "a.Outer"}}, {attributes}}}]}}"#
    );
    let schema = Schema::parse(&text).unwrap();
    let keep = Treatment::Keep;
    let view = view(&[("inner", keep.clone()), ("outer", keep.clone()), ("again", keep)]);
    let plan = Plan::compile(&schema, &schema, &name("gone"), &view, &key()).unwrap();
    let projected: serde_json::Value = serde_json::from_str(plan.projected_schema()).unwrap();
    let kind = |index: usize| projected["fields"][index]["type"].to_string();
    assert_eq!(kind(0), r#"["null",{"type":"enum","name":"Inner","namespace":"c","symbols":["A"]}]"#);
    assert_eq!(
        kind(1),
        r#"{"type":"record","name":"Outer","fields":[{"name":"f","type":"c.Inner"},{"name":"g","type":"c.Inner"}]}"#
    );
    assert_eq!(kind(2), r#"{"type":"array","items":"a.Outer"}"#);
    apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
}
