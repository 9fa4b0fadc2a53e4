//! The plan's output equals decode, view, encode.

use apache_avro::types::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use shuniu_model::{Generalisation, ItemName, MaskRule, Treatment, View, ViewItem};
use shuniu_schema::{Checked, Checker, Plan, PlanError, PseudonymKey, Schema, compatible};

use crate::kinds::{self, Kind};
use crate::{avro, blocks, oracle};

fn name(text: &str) -> ItemName {
    ItemName::parse(text).unwrap()
}

fn treatment() -> impl Strategy<Value = Treatment> {
    let rule = (0..3_u32, 0..3_u32).prop_map(|(first, last)| Treatment::Mask(MaskRule { first, last }));
    prop_oneof![
        2 => Just(Treatment::Keep),
        2 => Just(Treatment::Drop),
        3 => rule,
        1 => Just(Treatment::Pseudonym),
        1 => (1..4_u32).prop_map(|chars| Treatment::Generalise(Generalisation::Prefix(chars))),
        1 => Just(Treatment::Generalise(Generalisation::Month)),
        1 => Just(Treatment::Generalise(Generalisation::Year)),
        1 => prop_oneof![1..50_i64, 1..=i64::MAX].prop_map(|step| Treatment::Generalise(Generalisation::Step(step))),
    ]
}

/// One item of a row: its type, its value, and what the view does with it.
type Cell = (Kind, Value, Treatment);

fn cell() -> impl Strategy<Value = Cell> {
    let treatments = proptest::collection::vec(treatment(), 3);
    (kinds::kind(), treatments).prop_flat_map(|(kind, treatments)| {
        let treatment = treatments.into_iter().find(|treatment| oracle::fits(&kind, treatment));
        let treatment = treatment.unwrap_or(Treatment::Keep);
        kinds::value(&kind).prop_map(move |value| (kind.clone(), value, treatment.clone()))
    })
}

fn row() -> impl Strategy<Value = Vec<Cell>> {
    proptest::collection::vec(cell(), 1..9)
}

fn schema_of(kinds: impl IntoIterator<Item = Kind>) -> String {
    let items: Vec<_> =
        (0..).zip(kinds).map(|(index, kind): (usize, Kind)| (format!("i{index}"), kind, None)).collect();
    oracle::row_schema(&items)
}

fn view_of(treatments: &[(String, Treatment)], filter: Option<String>) -> View {
    let items = treatments
        .iter()
        .map(|(item, treatment)| ViewItem { name: name(item), treatment: treatment.clone() });
    View::new(items.collect(), filter, oracle::scope())
}

fn key() -> PseudonymKey {
    PseudonymKey::derive(&oracle::MASTER, &oracle::scope())
}

fn treatments(row: &[Cell]) -> Vec<(String, Treatment)> {
    (0..).zip(row).map(|(index, cell): (usize, _)| (format!("i{index}"), cell.2.clone())).collect()
}

/// The row that leaves, and its schema, by the oracle.
fn expected(row: &[Cell]) -> (String, Vec<(String, Value)>) {
    let leaving = (0..).zip(row).filter(|(_, (_, _, treatment))| *treatment != Treatment::Drop);
    let mut items = Vec::new();
    let mut values = Vec::new();
    for (index, (kind, value, treatment)) in leaving {
        let index: usize = index;
        items.push((format!("i{index}"), oracle::treated_kind(kind, treatment), None));
        values.push((format!("i{index}"), oracle::treat(kind, value, treatment)));
    }
    (oracle::row_schema(&items), values)
}

/// Whether apache-avro writes the value in one way only: its maps have no order.
fn has_one_form(value: &Value) -> bool {
    match value {
        Value::Map(values) => values.len() < 2 && values.values().all(has_one_form),
        Value::Array(values) => values.iter().all(has_one_form),
        Value::Union(_, value) => has_one_form(value),
        Value::Record(fields) => fields.iter().all(|(_, value)| has_one_form(value)),
        _ => true,
    }
}

fn project(plan: &Plan, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    plan.project(body, &mut out).unwrap();
    out
}

fn canonical(text: &str) -> String {
    apache_avro::Schema::parse_str(text).unwrap().canonical_form()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_plan_lets_out_equals_decode_view_encode(row in row()) {
        let text = schema_of(row.iter().map(|cell| cell.0.clone()));
        let schema = Schema::parse(&text).unwrap();
        let writer = apache_avro::Schema::parse_str(&text).unwrap();
        let values = kinds::named_values("i", row.iter().map(|cell| cell.1.clone()).collect());
        let body = avro::encode(&writer, Value::Record(values));

        let plan = Plan::compile(&schema, &schema, &name("i0"), &view_of(&treatments(&row), None), &key()).unwrap();
        let out = project(&plan, &body);
        let (expected_schema, expected) = expected(&row);
        prop_assert_eq!(canonical(plan.projected_schema()), canonical(&expected_schema));
        let reader = apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
        prop_assert_eq!(avro::decode(&reader, &out), Value::Record(expected.clone()));
        let expected = Value::Record(expected);
        if has_one_form(&expected) {
            prop_assert_eq!(out, avro::encode(&reader, expected));
        }
        // The text is the same each time, and a schema of this hub's own.
        let again = Plan::compile(&schema, &schema, &name("i0"), &view_of(&treatments(&row), None), &key()).unwrap();
        prop_assert_eq!(again.projected_schema(), plan.projected_schema());
        if row.iter().any(|cell| cell.2 != Treatment::Drop) {
            prop_assert!(Schema::parse(plan.projected_schema()).is_ok());
        }
    }

    #[test]
    fn a_body_in_sized_blocks_is_read_as_the_same_record(row in row(), seed in any::<u64>()) {
        let text = schema_of(row.iter().map(|cell| cell.0.clone()));
        let schema = Schema::parse(&text).unwrap();
        let mut body = Vec::new();
        let mut blocks = blocks::Writer::new(seed);
        row.iter().for_each(|(kind, value, _)| blocks.put(kind, value, &mut body));

        let plan = Plan::compile(&schema, &schema, &name("i0"), &view_of(&treatments(&row), None), &key()).unwrap();
        let reader = apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
        prop_assert_eq!(avro::decode(&reader, &project(&plan, &body)), Value::Record(expected(&row).1));
    }

    #[test]
    fn a_treatment_compiles_exactly_when_it_is_for_the_type(kind in kinds::kind(), treatment in treatment()) {
        let schema = Schema::parse(&schema_of([kind.clone()])).unwrap();
        let view = view_of(&[("i0".to_owned(), treatment.clone())], None);
        let compiled = Plan::compile(&schema, &schema, &name("i0"), &view, &key());
        // A step beyond what the decimal's 128 bits hold is refused too.
        let too_wide = matches!(treatment, Treatment::Generalise(Generalisation::Step(_)));
        match compiled {
            Ok(_) => prop_assert!(oracle::fits(&kind, &treatment)),
            Err(PlanError::Unfit { .. }) => prop_assert!(!oracle::fits(&kind, &treatment) || too_wide),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_constant_takes_the_place_of_every_value_but_null(
        kind in prop_oneof![Just(Kind::Int), Just(Kind::Boolean), Just(Kind::Text), Just(Kind::Array(Box::new(Kind::Int)))],
        null in proptest::option::of(any::<bool>()),
        is_null in any::<bool>(),
    ) {
        let (constant, value, other) = match &kind {
            Kind::Int => ("5", Value::Int(5), Value::Int(6)),
            Kind::Boolean => ("true", Value::Boolean(true), Value::Boolean(false)),
            Kind::Text => ("\"五\"", Value::String("五".into()), Value::String("六".into())),
            _ => ("[5]", Value::Array(vec![Value::Int(5)]), Value::Array(vec![])),
        };
        let full = match null {
            None => kind.clone(),
            Some(first) => kinds::nullable(kind.clone(), first),
        };
        let wrap = |value: Value| match null {
            None => value,
            Some(first) => Value::Union(u32::from(first), Box::new(value)),
        };
        let null_value = null.map(|first| Value::Union(u32::from(!first), Box::new(Value::Null)));
        let (written, leaves) = match null_value {
            Some(null) if is_null => (null.clone(), null),
            _ => (wrap(other), wrap(value)),
        };
        let text = schema_of([full, Kind::Text]);
        let schema = Schema::parse(&text).unwrap();
        let avro_schema = apache_avro::Schema::parse_str(&text).unwrap();
        let record = Value::Record(kinds::named_values("i", vec![written, Value::String("id".into())]));
        let view = view_of(&[("i0".into(), Treatment::Constant(constant.into()))], None);
        let plan = Plan::compile(&schema, &schema, &name("i1"), &view, &key()).unwrap();
        let reader = apache_avro::Schema::parse_str(plan.projected_schema()).unwrap();
        let out = project(&plan, &avro::encode(&avro_schema, record));
        prop_assert_eq!(avro::decode(&reader, &out), Value::Record(vec![("i0".into(), leaves)]));
    }

    #[test]
    fn the_checker_takes_what_apache_avro_writes_and_nothing_that_it_cannot_read(
        row in row(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let kinds = std::iter::once(Kind::Text).chain(row.iter().map(|cell| cell.0.clone()));
        let text = schema_of(kinds);
        let schema = Schema::parse(&text).unwrap();
        let avro_schema = apache_avro::Schema::parse_str(&text).unwrap();
        let checker = Checker::new(&schema, &name("i0"), &[]).unwrap();
        let values = std::iter::once(Value::String("id".into())).chain(row.iter().map(|cell| cell.1.clone()));
        let mut body = avro::encode(&avro_schema, Value::Record(kinds::named_values("i", values.collect())));
        let mut checked = Checked::default();
        prop_assert_eq!(checker.check(&body, &mut checked), Ok(()));
        prop_assert_eq!(checked.key(), b"id");

        let view = view_of(&treatments(&row), None);
        let plan = Plan::compile(&schema, &schema, &name("i0"), &view, &key());
        for (index, bits) in flips {
            let index = index.index(body.len());
            body[index] ^= bits;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if checker.check(&body, &mut checked).is_ok() {
            prop_assert!(avro::try_decode(&avro_schema, &body).is_some(), "taken, and not readable");
        }
        // Whatever the bytes are, nothing panics.
        if let Ok(plan) = plan {
            plan.project(&body, &mut Vec::new()).ok();
        }
    }

    #[test]
    fn no_bytes_panic_checker_plan_or_filter(row in row(), body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let schema = Schema::parse(&schema_of(row.iter().map(|cell| cell.0.clone()))).unwrap();
        if let Ok(checker) = Checker::new(&schema, &name("i0"), &[]) {
            checker.check(&body, &mut Checked::default()).ok();
        }
        let last = format!("i{} == null || i0 != null", row.len() - 1);
        let view = view_of(&treatments(&row), Some(last));
        let plan = Plan::compile(&schema, &schema, &name("i0"), &view, &key()).unwrap();
        plan.matches(&body).ok();
        plan.project(&body, &mut Vec::new()).ok();
        shuniu_schema::frame::split(&body).ok();
    }

    #[test]
    fn a_reader_of_the_latest_projected_schema_reads_every_version(
        row in row(),
        added in proptest::collection::vec((0..6_usize, any::<bool>()), 0..4),
        widen in any::<bool>(),
    ) {
        let old = schema_of(row.iter().map(|cell| cell.0.clone()));
        let mut items: Vec<(String, Kind, Option<Json>)> = (0..)
            .zip(&row)
            .map(|(index, cell): (usize, _)| (format!("i{index}"), widened(&cell.0, widen), None))
            .collect();
        let mut treatments = treatments(&row);
        let mut defaults = Vec::new();
        for (index, (which, treated)) in added.iter().enumerate() {
            let (kind, default, treatment, value) = addition(*which, *treated);
            let name = format!("n{index}");
            items.insert(0, (name.clone(), kind, Some(default)));
            treatments.push((name.clone(), treatment));
            defaults.push((name, value));
        }
        let new = oracle::row_schema(&items);
        let (writer, latest) = (Schema::parse(&old).unwrap(), Schema::parse(&new).unwrap());
        prop_assert_eq!(compatible(&latest, &[&writer]), Ok(()));

        let view = view_of(&treatments, None);
        let avro_schema = apache_avro::Schema::parse_str(&old).unwrap();
        let values = kinds::named_values("i", row.iter().map(|cell| cell.1.clone()).collect());
        let body = avro::encode(&avro_schema, Value::Record(values));
        let written = Plan::compile(&writer, &latest, &name("i0"), &view, &key()).unwrap();
        let current = match Plan::compile(&latest, &latest, &name("i0"), &view, &key()) {
            Ok(plan) => plan,
            // A treatment may be for the narrower type only: a pseudonym of an integer that became a float.
            Err(PlanError::Unfit { .. }) if widen => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        // What the writer's version lacks is left out.
        let out = project(&written, &body);
        let writers = apache_avro::Schema::parse_str(written.projected_schema()).unwrap();
        prop_assert_eq!(avro::decode(&writers, &out), Value::Record(expected(&row).1));
        // apache-avro does not resolve a decimal in fewer bytes than its precision could take.
        if new.contains("decimal") {
            return Ok(());
        }
        // A reader with the latest projected schema finds the default there, treated as a value would be.
        let reader = apache_avro::Schema::parse_str(current.projected_schema()).unwrap();
        let Value::Record(read) = avro::resolve(&writers, &reader, &out) else { panic!() };
        for (name, value) in defaults {
            prop_assert!(read.contains(&(name, value)), "{:?}", read);
        }
    }
}

/// A type that reads what the given one wrote.
fn widened(kind: &Kind, widen: bool) -> Kind {
    match kind {
        Kind::Int if widen => Kind::Long,
        Kind::Float if widen => Kind::Double,
        Kind::Text if widen => Kind::Union(vec![Kind::Null, Kind::Text]),
        kind => kind.clone(),
    }
}

/// A new item: its type, its default, what the view does with it, and the default as it must leave.
fn addition(which: usize, treated: bool) -> (Kind, Json, Treatment, Value) {
    let keep_or = |treatment: Treatment| if treated { treatment } else { Treatment::Keep };
    fn choose<T>(treated: bool, then: T, otherwise: T) -> T {
        if treated { then } else { otherwise }
    }
    let text = |value: &str| Value::String(value.to_owned());
    match which {
        0 => (
            Kind::Int,
            json!(17),
            keep_or(Treatment::Generalise(Generalisation::Step(10))),
            Value::Int(choose(treated, 10, 17)),
        ),
        1 => {
            let mask = Treatment::Mask(MaskRule { first: 1, last: 0 });
            (Kind::Text, json!("默认值"), keep_or(mask), text(choose(treated, "默**", "默认值")))
        }
        2 => {
            let null = Value::Union(0, Box::new(Value::Null));
            (kinds::nullable(Kind::Text, true), Json::Null, keep_or(Treatment::Pseudonym), null)
        }
        3 => {
            let pseudonym = oracle::pseudonym("开");
            let value = text(if treated { &pseudonym } else { "开" });
            let (kind, value) = (kinds::nullable(Kind::Text, false), Value::Union(0, Box::new(value)));
            (kind, json!("开"), keep_or(Treatment::Pseudonym), value)
        }
        4 => {
            let treatment = keep_or(Treatment::Generalise(Generalisation::Year));
            (Kind::Date, json!(400), treatment, Value::Date(choose(treated, 365, 400)))
        }
        _ => {
            let constant = keep_or(Treatment::Constant("[1, 2]".into()));
            let value = if treated { vec![Value::Int(1), Value::Int(2)] } else { vec![] };
            (Kind::Array(Box::new(Kind::Int)), json!([]), constant, Value::Array(value))
        }
    }
}
