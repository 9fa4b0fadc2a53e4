//! Avro bodies: the checker on the way in, the plan on the way out.

use shuniu_model::{ItemName, MaskRule, PseudonymScope, Treatment, View, ViewItem};
use shuniu_schema::{Checked, Checker, Plan, PseudonymKey, Schema};

/// Every kind of type, nested ones too.
const ITEMS: &[(&str, &str)] = &[
    ("id", r#""string""#),
    ("name", r#"["null", "string"]"#),
    ("count", r#"["null", "long"]"#),
    ("small", r#""int""#),
    ("ratio", r#"["null", "double"]"#),
    ("flag", r#""boolean""#),
    ("blob", r#""bytes""#),
    ("born", r#"["null", {"type": "int", "logicalType": "date"}]"#),
    ("amount", r#"["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]"#),
    ("tags", r#"{"type": "array", "items": "string"}"#),
    ("notes", r#"{"type": "map", "values": ["null", "long"]}"#),
    ("kind", r#"{"type": "enum", "name": "Kind", "symbols": ["A", "B"]}"#),
    ("hash", r#"{"type": "fixed", "name": "Hash", "size": 4}"#),
    ("tree", r#"{"type": "record", "name": "Tree", "fields": [{"name": "next", "type": ["null", "Tree"]}]}"#),
];

/// Checks and projects bytes as a body. What the checker lets in, the plan can filter and project.
pub fn avro() -> impl Fn(&[u8]) {
    let (checker, plan) = parts();
    move |body| {
        let accepted = checker.check(body, &mut Checked::default());
        let mut out = Vec::new();
        let matches = plan.matches(body);
        let projected = plan.project(body, &mut out);
        if accepted.is_ok() {
            matches.unwrap();
            projected.unwrap();
            assert!(out.len() <= body.len() + 64, "{} bytes became {}", body.len(), out.len());
        }
    }
}

fn parts() -> (Checker, Plan) {
    let name = |text: &str| ItemName::parse(text).unwrap();
    let attributes = r#""title_zh": "项", "data_type": "G", "level": 1, "sharing": "conditional""#;
    let fields: Vec<String> = ITEMS
        .iter()
        .map(|(item, kind)| format!(r#"{{"name": "{item}", "type": {kind}, {attributes}}}"#))
        .collect();
    let schema =
        Schema::parse(&format!(r#"{{"type": "record", "name": "Row", "fields": [{}]}}"#, fields.join(", ")))
            .unwrap();
    let key_item = name("id");
    let checker = Checker::new(&schema, &key_item, &[]).unwrap();
    let scope = PseudonymScope { scope: "fuzz".into(), master_version: 1 };
    let key = PseudonymKey::derive(&[7; 32], &scope);
    let items = ITEMS
        .iter()
        .filter(|(item, _)| *item != "blob")
        .map(|(item, _)| {
            let treatment = match *item {
                "id" => Treatment::Pseudonym,
                "name" => Treatment::Mask(MaskRule { first: 1, last: 1 }),
                _ => Treatment::Keep,
            };
            ViewItem { name: name(item), treatment }
        })
        .collect();
    let view = View::new(items, Some("count > 3 || name.startsWith('a') || born == null".to_owned()), scope);
    let plan = Plan::compile(&schema, &schema, &key_item, &view, &key).unwrap();
    (checker, plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_body_that_is_let_in() {
        let seed = include_bytes!("../tests/__fuzz__/p10_avro/corpus/full");
        parts().0.check(seed, &mut Checked::default()).unwrap();
        avro()(seed);
    }
}
