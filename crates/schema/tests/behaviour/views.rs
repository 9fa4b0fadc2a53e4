//! A view is checked when its grant is written, and everything that is wrong is said at once.

use std::sync::Arc;

use shuniu_model::identifier::Uscc;
use shuniu_model::{
    Generalisation, ItemName, MaskRule, PseudonymScope, Resource, ResourceName, SchemaVersion, Sharing,
    SystemId, Treatment, View, ViewItem,
};
use shuniu_schema::{Schema, check_view};

const V1: &str = r#"{
  "type": "record", "name": "Row", "fields": [
    {"name": "id", "type": "string", "title_zh": "标识", "data_type": "C", "level": 1, "sharing": "conditional"},
    {"name": "count", "type": ["null", "int"], "default": null, "title_zh": "数", "data_type": "I", "level": 1, "sharing": "conditional"},
    {"name": "state", "type": ["string", "null"], "default": "open", "title_zh": "状态", "data_type": "C", "level": 1, "sharing": "conditional"},
    {"name": "secret", "type": "string", "title_zh": "密", "data_type": "C", "level": 4, "sharing": "not-shared", "basis": "某法第一条"},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "title_zh": "签", "data_type": "G", "level": 1, "sharing": "conditional"}
  ]}"#;

fn resource(texts: &[&str]) -> Resource {
    Resource {
        name: ResourceName::parse("rows").unwrap(),
        title_zh: "行".into(),
        code: "101001/1".into(),
        provider: Uscc::parse("91350100M000100Y43").unwrap(),
        publishing_system: SystemId::parse("publisher").unwrap(),
        sharing: Sharing::Conditional,
        key: ItemName::parse("id").unwrap(),
        subjects: vec![],
        row_filters: true,
        partitions: 1,
        topic_id: None,
        versions: (1..)
            .zip(texts)
            .map(|(version, text)| Arc::new(SchemaVersion { id: version, version, text: (*text).into() }))
            .collect(),
    }
}

fn view(items: &[(&str, Treatment)], filter: Option<&str>, scope: &str) -> View {
    let items = items.iter().map(|(name, treatment)| ViewItem {
        name: ItemName::parse(name).unwrap(),
        treatment: treatment.clone(),
    });
    let scope = PseudonymScope { scope: scope.into(), master_version: 1 };
    View::new(items.collect(), filter.map(str::to_owned), scope)
}

fn verdict(resource: &Resource, view: &View) -> Vec<String> {
    let latest = Schema::parse(&resource.versions.last().unwrap().text).unwrap();
    match check_view(&latest, resource, view) {
        Ok(()) => vec![],
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn everything_that_is_wrong_with_a_view_is_said_at_once() {
    let mut resource = resource(&[V1]);
    resource.row_filters = false;
    let view = view(
        &[
            ("nothing", Treatment::Keep),
            ("secret", Treatment::Mask(MaskRule { first: 1, last: 0 })),
            ("count", Treatment::Mask(MaskRule { first: 1, last: 0 })),
            ("tags", Treatment::Pseudonym),
            ("state", Treatment::Generalise(Generalisation::Year)),
        ],
        Some("secret == 'x' && count == 'y'"),
        "",
    );
    assert_eq!(
        verdict(&resource, &view),
        [
            "item `secret` is not shared (某法第一条)",
            "item `count`, mask: mask is for strings",
            "the resource has no item `nothing`",
            "item `state`, generalise: month or year is for dates and instants",
            "item `tags`, pseudonym: pseudonym is for strings, integers, dates, decimals and enums",
            "pseudonyms leave (the key item is not kept, so the record's key leaves as its pseudonym), and the view names no pseudonym scope and master key version",
            "the resource does not allow row filters",
            "filter, line 1, column 1: item `secret` is not shared and cannot be used in a filter; filter, line 1, column 24: the two sides do not compare: the one is a number, the other text",
        ]
    );
}

#[test]
fn a_view_that_fits_passes_and_each_slip_alone_is_found() {
    let resource = resource(&[V1]);
    let keep = Treatment::Keep;
    let fits = |items: &[(&str, Treatment)]| verdict(&resource, &view(items, None, "s"));
    assert!(
        fits(&[("id", keep.clone()), ("count", Treatment::Generalise(Generalisation::Step(10)))]).is_empty()
    );
    assert!(
        fits(&[("tags", Treatment::Constant("[]".into())), ("count", Treatment::Constant("7".into()))])
            .is_empty()
    );
    assert_eq!(fits(&[]), ["the view names no item"]);
    for (item, treatment, says) in [
        ("count", Treatment::Generalise(Generalisation::Step(0)), "a step must be above 0"),
        ("id", Treatment::Generalise(Generalisation::Prefix(0)), "a prefix must have at least 1 character"),
        ("count", Treatment::Constant("\"x\"".into()), "the constant is not a value of the item's type"),
        ("count", Treatment::Constant("3000000000".into()), "the constant is not a value of the item's type"),
        ("count", Treatment::Constant("{".into()), "the constant is not a value of the item's type"),
        (
            "state",
            Treatment::Constant("null".into()),
            "the constant is of another type than the item's default",
        ),
    ] {
        let found = fits(&[(item, treatment)]);
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
    }
    // A kept key needs no scope; an item that is pseudonymised does.
    assert!(verdict(&resource, &view(&[("id", keep.clone())], Some("count > 1"), "")).is_empty());
    let pseudonymised = view(&[("id", keep), ("state", Treatment::Pseudonym)], None, "");
    assert!(verdict(&resource, &pseudonymised)[0].contains("an item is pseudonymised"));
    // The whole view lets a not-shared item out.
    assert_eq!(verdict(&resource, &View::whole()), ["item `secret` is not shared (某法第一条)"]);
}

#[test]
fn a_view_fits_every_version_whose_records_are_on_the_topic() {
    let latest = V1.replace("[\"null\", \"int\"]", "[\"null\", \"long\"]");
    let resource = resource(&[V1, &latest]);
    let found = verdict(&resource, &view(&[("count", Treatment::Constant("3000000000".into()))], None, "s"));
    assert_eq!(
        found,
        [
            "the view does not fit version 1: item `count` of the writer's version: the constant is not a value of the item's type"
        ]
    );
    assert!(verdict(&resource, &view(&[("count", Treatment::Constant("3".into()))], None, "s")).is_empty());
}
