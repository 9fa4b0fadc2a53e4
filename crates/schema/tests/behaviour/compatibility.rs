//! A new version reads what every earlier one wrote.

use shuniu_schema::{Schema, compatible, removed_items};

fn schema(fields: &str) -> Schema {
    let attributes = r#""title_zh": "项", "data_type": "C", "level": 1, "sharing": "conditional""#;
    let fields =
        fields.replace("\"}", &format!("\", {attributes}}}")).replace(" !}", &format!(", {attributes}}}"));
    Schema::parse(&format!(
        r#"{{"type": "record", "name": "Row", "namespace": "a.b", "fields": [{fields}]}}"#
    ))
    .unwrap()
}

/// What one item of the earlier version, and of the new one, is.
fn verdict(earlier: &str, new: &str) -> String {
    let field = |kind: &str| schema(&format!(r#"{{"name": "x", "type": {kind} !}}"#));
    match compatible(&field(new), &[&field(earlier)]) {
        Ok(()) => String::new(),
        Err(incompatible) => incompatible.to_string(),
    }
}

#[test]
fn a_type_may_widen_and_nothing_else() {
    let date = r#"{"type": "int", "logicalType": "date"}"#;
    let instant = r#"{"type": "long", "logicalType": "timestamp-micros"}"#;
    let money = r#"{"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}"#;
    let finer = r#"{"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 3}"#;
    let record = |fields: &str| format!(r#"{{"type": "record", "name": "In", "fields": [{fields}]}}"#);
    let one = record(r#"{"name": "a", "type": "int"}"#);
    let two = record(r#"{"name": "a", "type": "long"}, {"name": "b", "type": "string", "default": ""}"#);
    let strict = record(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "string"}"#);
    let kinds = |symbols: &str, default: &str| {
        format!(r#"{{"type": "enum", "name": "E", "symbols": [{symbols}]{default}}}"#)
    };
    let tree = r#"{"type": "record", "name": "T", "fields": [{"name": "next", "type": ["null", "T"]}, {"name": "v", "type": "int"}]}"#;
    let wider_tree = tree.replace("\"int\"", "\"long\"");
    let fixed = |size: u32| format!(r#"{{"type": "fixed", "name": "F", "size": {size}}}"#);
    for (earlier, new) in [
        ("\"int\"", "\"long\""),
        ("\"int\"", "\"double\""),
        ("\"float\"", "\"double\""),
        ("\"string\"", "[\"null\", \"string\"]"),
        ("\"int\"", "[\"null\", \"long\"]"),
        ("[\"null\", \"string\"]", "[\"string\", \"null\"]"),
        ("[\"int\", \"long\"]", "\"long\""),
        ("\"string\"", r#"{"type": "string", "logicalType": "uscc"}"#),
        (date, date),
        (money, money),
        (&one, &two),
        (&kinds("\"A\"", ""), &kinds("\"B\", \"A\"", "")),
        (&kinds("\"A\", \"C\"", ""), &kinds("\"A\"", ", \"default\": \"A\"")),
        (r#"{"type": "array", "items": "int"}"#, r#"{"type": "array", "items": ["null", "long"]}"#),
        (r#"{"type": "map", "values": "int"}"#, r#"{"type": "map", "values": "float"}"#),
        (tree, &wider_tree),
        (&fixed(4), &fixed(4)),
    ] {
        assert_eq!(verdict(earlier, new), "", "{earlier} to {new}");
    }
    for (earlier, new, says) in [
        ("\"long\"", "\"int\"", "cannot read version 1: `x`: long became int"),
        ("[\"null\", \"string\"]", "\"string\"", "`x`: null became string"),
        ("[\"null\", \"string\"]", "[\"null\", \"long\"]", "string is no longer among its types"),
        ("\"string\"", "\"bytes\"", "string became bytes"),
        (date, "\"int\"", "date became int"),
        (date, instant, "date became timestamp"),
        ("\"long\"", instant, "long became timestamp"),
        (money, finer, "its precision, scale or base type changed"),
        (&one, &strict, "`x.b`: it is new and has no default"),
        (&two, &one, "`x.a`: long became int"),
        (&kinds("\"A\", \"C\"", ""), &kinds("\"A\"", ""), "the symbols C are gone"),
        (
            &kinds("\"A\"", ""),
            &kinds("\"A\"", "").replace("\"E\"", "\"E2\""),
            "the type `a.b.E` became `a.b.E2`",
        ),
        (&wider_tree, tree, "`x.v`: long became int"),
        (&fixed(4), &fixed(5), "its size changed"),
        (
            r#"{"type": "array", "items": "long"}"#,
            r#"{"type": "array", "items": "int"}"#,
            "`x[]`: long became int",
        ),
        ("\"string\"", r#"{"type": "array", "items": "string"}"#, "string became array"),
    ] {
        let verdict = verdict(earlier, new);
        assert!(verdict.contains(says), "{earlier} to {new}: {verdict}");
    }
}

#[test]
fn every_earlier_version_counts_and_everything_in_the_way_is_said_at_once() {
    let one = schema(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "string"}"#);
    let two = schema(r#"{"name": "a", "type": "long"}, {"name": "c", "type": "string", "default": "x"}"#);
    let three = schema(r#"{"name": "a", "type": "int"}, {"name": "d", "type": "string"}"#);
    assert!(compatible(&two, &[&one]).is_ok());
    let incompatible = compatible(&three, &[&one, &two]).unwrap_err();
    assert_eq!(
        incompatible.to_string(),
        "cannot read version 1: `d`: it is new and has no default; cannot read version 2: `a`: long became int; \
         cannot read version 2: `d`: it is new and has no default"
    );
    let removed: Vec<String> = removed_items(&three, &[&one, &two]).iter().map(ToString::to_string).collect();
    assert_eq!(removed, ["b", "c"]);
}
