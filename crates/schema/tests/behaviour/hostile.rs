//! Bodies that claim more than they hold are refused, soon and without harm.

use std::fmt::Write as _;

use shuniu_model::{ItemName, PseudonymScope, Treatment, View, ViewItem};
use shuniu_schema::{Checked, Checker, Plan, PseudonymKey, Schema};

fn name(text: &str) -> ItemName {
    ItemName::parse(text).unwrap()
}

/// A resource with the key item `id` and one more.
fn schema(kind: &str) -> Schema {
    let attributes = r#""title_zh": "项", "data_type": "G", "level": 1, "sharing": "conditional""#;
    Schema::parse(&format!(
        r#"{{"type": "record", "name": "Row", "fields": [{{"name": "id", "type": "string", {attributes}}},
            {{"name": "x", "type": {kind}, {attributes}}}]}}"#
    ))
    .unwrap()
}

/// What the checker says, and whether the plan refuses as well.
fn refusal(kind: &str, x: &[u8]) -> (String, bool) {
    let schema = schema(kind);
    let body = [b"\x02a", x].concat();
    let checker = Checker::new(&schema, &name("id"), &[]).unwrap();
    let said = checker
        .check(&body, &mut Checked::default())
        .err()
        .map_or(String::new(), |breach| breach.to_string());
    let scope = PseudonymScope { scope: "s".into(), master_version: 1 };
    let key = PseudonymKey::derive(&[0; 32], &scope);
    let items = vec![ViewItem { name: name("x"), treatment: Treatment::Keep }];
    let plan = Plan::compile(&schema, &schema, &name("id"), &View::new(items, None, scope), &key).unwrap();
    (said, plan.project(&body, &mut Vec::new()).is_err())
}

fn long(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out
}

#[test]
fn values_nested_without_end_are_refused() {
    let tree = r#"{"type": "record", "name": "T", "fields": [{"name": "next", "type": ["null", "T"]}]}"#;
    let nested = |levels: usize| [vec![2; levels], vec![0]].concat();
    assert_eq!(refusal(tree, &nested(10)), (String::new(), false));
    let (said, plan) = refusal(tree, &nested(1_000_000));
    assert!(said.contains("values nested too deep") && plan, "{said}");
    let endless = r#"{"type": "record", "name": "T", "fields": [{"name": "next", "type": "T"}]}"#;
    let (said, plan) = refusal(endless, &[]);
    assert!(said.contains("values nested too deep") && plan, "{said}");
}

#[test]
fn values_without_bytes_cannot_be_claimed_without_end() {
    let claim = [long(1 << 40), long(0)].concat();
    for kind in [
        r#"{"type": "array", "items": "null"}"#,
        r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}"#,
    ] {
        let (said, plan) = refusal(kind, &claim);
        assert!(said.contains("more values than a body of this size can hold") && plan, "{said}");
        assert_eq!(refusal(kind, &[long(3), long(0)].concat()), (String::new(), false));
    }
    // Each level holds the one below twice: 2^25 empty records and no byte.
    let mut kind = r#"{"type": "record", "name": "L0", "fields": []}"#.to_owned();
    for level in 1..=25 {
        let below = std::mem::take(&mut kind);
        write!(
            kind,
            r#"{{"type": "record", "name": "L{level}", "fields": [{{"name": "a", "type": {below}}}, {{"name": "b", "type": "L{}"}}]}}"#,
            level - 1
        )
        .unwrap();
    }
    let (said, plan) = refusal(&kind, &[]);
    assert!(said.contains("more values than a body of this size can hold") && plan, "{said}");
}

#[test]
fn a_block_of_another_size_than_it_states_is_refused() {
    let kind = r#"{"type": "array", "items": "string"}"#;
    let body = |bytes: i64| [long(-1), long(bytes), b"\x04ab".to_vec(), long(0)].concat();
    assert_eq!(refusal(kind, &body(3)), (String::new(), false));
    for bytes in [0, 1, 2, 4, 1 << 40, -1, i64::MIN] {
        assert!(!refusal(kind, &body(bytes)).0.is_empty(), "{bytes}");
    }
    assert!(!refusal(kind, &long(i64::MIN)).0.is_empty());
    assert!(!refusal(kind, &long(i64::MAX)).0.is_empty());
}

#[test]
fn a_length_that_is_negative_or_beyond_the_body_is_refused() {
    for kind in ["\"string\"", "[\"null\", \"string\"]", "\"bytes\""] {
        let branch = if kind.starts_with('[') { long(1) } else { vec![] };
        for length in [-1, -64, -65, 3, 63, 64, 8_192, i64::MAX, i64::MIN] {
            let x = [branch.clone(), long(length), b"ab".to_vec()].concat();
            let (said, plan) = refusal(kind, &x);
            assert!(!said.is_empty() && plan, "{kind} {length}");
        }
        assert_eq!(refusal(kind, &[branch, long(2), b"ab".to_vec()].concat()), (String::new(), false));
    }
    for kind in
        ["\"double\"", "\"float\"", "\"boolean\"", "\"int\"", r#"{"type": "fixed", "name": "F", "size": 3}"#]
    {
        let (said, plan) = refusal(kind, &[]);
        assert!(!said.is_empty() && plan, "{kind}");
    }
}
