//! How long a decision takes at 10,000 grants, the clock's own time included.
//!
//! `cargo bench -p shuniu-policy`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::time::Instant;

use shuniu_model::identifier::{DivisionCode, Uscc};
use shuniu_model::{
    Codec, Grant, GrantId, GrantState, ItemName, Limits, Mode, Organisation, Resource, ResourceName, Sharing,
    System, SystemId, Timestamp, View,
};
use shuniu_policy::{Action, Facts, Principal, Snapshot, decide};

const SYSTEMS: usize = 500;
const RESOURCES: usize = 20;
const DECISIONS: usize = 1_000_000;

fn main() {
    let facts = facts();
    assert_eq!(facts.grants.len(), 10_000, "the goal is stated at this many");
    let snapshot = Snapshot::new(facts).expect("a snapshot");
    let principals: Vec<Principal> = (0..SYSTEMS)
        .map(|index| Principal { system: system(index), certificate: format!("7f3a9c{index:026x}") })
        .collect();
    let resources: Vec<ResourceName> = (0..RESOURCES).map(resource).collect();
    let now = Timestamp::from_micros(50);
    let mut nanos = Vec::with_capacity(DECISIONS);
    let mut state = 42_u64;
    for _ in 0..DECISIONS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32, count: usize| usize::try_from(state >> shift).unwrap_or(0) % count;
        let (principal, resource) = (&principals[pick(33, SYSTEMS)], &resources[pick(45, RESOURCES)]);
        let start = Instant::now();
        let permit =
            decide(&snapshot, principal, Action::Read { resource, mode: Mode::Subscribe }, black_box(now));
        nanos.push(start.elapsed().as_nanos());
        // Freed outside of what is measured, as it is in use: once the delivery is done.
        assert!(black_box(permit).is_ok(), "every system holds a grant on every resource");
    }
    nanos.sort_unstable();
    figure("decide_p50", nanos[DECISIONS / 2], 200);
    figure("decide_p99", nanos[DECISIONS / 100 * 99], 1_000);
}

fn figure(name: &str, nanos: u128, goal: u128) {
    println!("figure {name} {nanos} ns goal {goal} {}", if nanos <= goal { "met" } else { "short" });
}

fn system(index: usize) -> SystemId {
    SystemId::parse(&format!("service-hall-{index}")).expect("a system id")
}

fn resource(index: usize) -> ResourceName {
    ResourceName::parse(&format!("credit-permit-{index}")).expect("a resource name")
}

/// Every system holds a grant on every resource; a thousand certificates are revoked.
fn facts() -> Facts {
    let uscc = Uscc::parse("11100000000013338W").expect("a uscc");
    let mut facts = Facts {
        organisations: vec![Organisation {
            uscc,
            name: "部门".into(),
            division: DivisionCode::parse("500000").expect("a division"),
        }],
        revoked_certificates: (0..1_000).map(|index| format!("5e11{index:028x}")).collect(),
        ..Facts::default()
    };
    facts.systems.push(System {
        id: SystemId::parse("publisher").expect("a system id"),
        organisation: uscc,
        name: "系统".into(),
    });
    for index in 0..SYSTEMS {
        facts.systems.push(System { id: system(index), organisation: uscc, name: "系统".into() });
    }
    for index in 0..RESOURCES {
        facts.resources.push(Resource {
            name: resource(index),
            title_zh: "资源".into(),
            code: "101001/1".into(),
            provider: uscc,
            publishing_system: SystemId::parse("publisher").expect("a system id"),
            sharing: Sharing::Conditional,
            key: ItemName::parse("id").expect("an item"),
            subjects: Vec::new(),
            row_filters: true,
            partitions: 4,
            topic_id: None,
            versions: Vec::new(),
        });
        facts.grants.extend((0..SYSTEMS).map(|holder| Grant {
            id: GrantId::parse(&format!("g-{holder}-{index}")).expect("a grant id"),
            system: system(holder),
            resource: resource(index),
            view: View::whole(),
            modes: vec![Mode::Subscribe],
            purpose: "办事".into(),
            basis: "条例".into(),
            starts_at: Timestamp::from_micros(0),
            ends_at: Timestamp::from_micros(100),
            state: GrantState::Active,
            limits: Limits::default(),
            codec: Codec::default(),
        }));
    }
    facts
}
