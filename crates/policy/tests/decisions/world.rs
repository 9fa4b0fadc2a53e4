//! A small directory: the police publish `population`, a hall holds a grant on it, a stranger holds none.

use shuniu_model::identifier::{DivisionCode, Uscc};
use shuniu_model::{
    Codec, Grant, GrantId, GrantState, ItemName, Limits, Mode, Organisation, PseudonymScope, Resource,
    ResourceName, Sharing, System, SystemId, Timestamp, Treatment, View, ViewItem,
};
use shuniu_policy::{Facts, Principal};

/// When the question is asked, in microseconds.
pub(crate) const NOW: i64 = 1_000_000;

const USCCS: [&str; 2] = ["11100000000013338W", "91110108551385082Q"];

pub(crate) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn organisation(index: usize) -> Uscc {
    Uscc::parse(USCCS[index]).unwrap()
}

pub(crate) fn system_id(id: &str) -> SystemId {
    SystemId::parse(id).unwrap()
}

pub(crate) fn resource_name(name: &str) -> ResourceName {
    ResourceName::parse(name).unwrap()
}

pub(crate) fn grant_id(id: &str) -> GrantId {
    GrantId::parse(id).unwrap()
}

/// A system with the certificate of its own.
pub(crate) fn principal(system: &str) -> Principal {
    Principal { system: system_id(system), certificate: format!("c-{system}") }
}

pub(crate) fn view(items: &[&str]) -> View {
    let items = items
        .iter()
        .map(|name| ViewItem { name: ItemName::parse(name).unwrap(), treatment: Treatment::Keep })
        .collect();
    View::new(items, None, PseudonymScope { scope: "s".into(), master_version: 1 })
}

pub(crate) fn grant(id: &str, system: &str, resource: &str) -> Grant {
    Grant {
        id: grant_id(id),
        system: system_id(system),
        resource: resource_name(resource),
        view: view(&["id_no", "name"]),
        modes: vec![Mode::Subscribe, Mode::Query],
        purpose: "办事".into(),
        basis: "条例".into(),
        starts_at: time(NOW - 1_000),
        ends_at: time(NOW + 1_000),
        state: GrantState::Active,
        limits: Limits::default(),
        codec: Codec::default(),
    }
}

/// A resource of the first organisation.
pub(crate) fn resource(name: &str, publishing_system: &str) -> Resource {
    Resource {
        name: resource_name(name),
        title_zh: "人口".into(),
        code: "101001/1".into(),
        provider: organisation(0),
        publishing_system: system_id(publishing_system),
        sharing: Sharing::Conditional,
        key: ItemName::parse("id_no").unwrap(),
        subjects: Vec::new(),
        row_filters: true,
        partitions: 1,
        topic_id: None,
        versions: Vec::new(),
    }
}

pub(crate) fn system(id: &str, of: usize) -> System {
    System { id: system_id(id), organisation: organisation(of), name: id.to_owned() }
}

pub(crate) fn facts() -> Facts {
    let division = DivisionCode::parse("500000").unwrap();
    Facts {
        version: 1,
        organisations: (0..2)
            .map(|index| Organisation {
                uscc: organisation(index),
                name: "部门".into(),
                division: division.clone(),
            })
            .collect(),
        systems: vec![
            system("police", 0),
            system("police-desk", 0),
            system("hall", 1),
            system("stranger", 1),
        ],
        resources: vec![resource("population", "police"), resource("legal-person", "police")],
        grants: vec![grant("g-hall", "hall", "population")],
        revoked_certificates: Vec::new(),
        projected: Vec::new(),
    }
}
