//! What a schema of a resource must say, and what is refused.

use shuniu_model::{ItemType, Sharing};
use shuniu_schema::{Schema, SchemaError};

fn parse(fields: &str) -> Result<Schema, SchemaError> {
    Schema::parse(&format!(r#"{{"type": "record", "name": "Row", "fields": [{fields}]}}"#))
}

#[test]
fn items_carry_the_directorys_facts() {
    let schema = parse(
        r#"{"name": "a", "type": "string", "title_zh": "甲", "data_type": "C", "level": 2, "sharing": "unconditional"},
           {"name": "b", "type": "double", "title_zh": "乙", "data_type": "B", "level": 4, "sharing": "not-shared", "basis": "某条例"}"#,
    )
    .unwrap();
    assert_eq!(schema.items()[0].name_zh, "甲");
    assert_eq!(schema.items()[0].item_type, ItemType::Character);
    assert_eq!(schema.item("b").unwrap().sharing, Sharing::NotShared { basis: "某条例".into() });
}

#[test]
fn a_text_that_is_no_schema_of_a_resource_is_refused_with_every_reason() {
    let attributes = r#""title_zh": "甲", "data_type": "C", "level": 2, "sharing": "unconditional""#;
    let error =
        parse(r#"{"name": "a", "type": "string"}, {"name": "b", "type": "string", "sharing": "not-shared"}"#);
    let SchemaError::Rules { problems } = error.unwrap_err() else { panic!() };
    assert_eq!(problems.len(), 8, "{problems:?}");
    for (kind, says) in [
        (r#"{"type": "string", "logicalType": "usc"}"#, "the logical type `usc` does not go with `string`"),
        (r#"{"type": "long", "logicalType": "date"}"#, "the logical type `date` does not go with `long`"),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 2}"#,
            "a precision of 1 to 38",
        ),
        (r#"{"type": "record", "name": "F", "logicalType": "file", "fields": []}"#, "a file has `digest`"),
        (r#""nothing""#, "not Avro"),
    ] {
        let error =
            parse(&format!(r#"{{"name": "a", "type": {kind}, {attributes}}}"#)).unwrap_err().to_string();
        assert!(error.contains(says), "{kind}: {error}");
    }
    assert!(parse("").is_err());
    assert!(Schema::parse("\"string\"").is_err());
    assert!(Schema::parse("{").is_err());
    assert!(Schema::parse(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))).is_err());
    assert!(Schema::parse(&" ".repeat(2 << 20)).is_err());
}

#[test]
fn a_text_that_a_client_library_wrote_anew_is_the_same_schema() {
    let schema = parse(
        r#"{"name": "a", "type": {"type": "string"}, "title_zh": "甲", "data_type": "C", "level": 2, "sharing": "unconditional", "doc": "d"}"#,
    )
    .unwrap();
    assert!(schema.same_as(r#"{"name":"Row","type":"record","fields":[{"type":"string","name":"a"}]}"#));
    assert!(!schema.same_as(r#"{"name":"Row","type":"record","fields":[{"type":"bytes","name":"a"}]}"#));
    assert!(!schema.same_as("{"));
}
