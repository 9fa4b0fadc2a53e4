//! Over random directories, the indexed decision agrees with one that reads every fact from first to last, written
//! from the rules and not from the code.

use proptest::collection::vec;
use proptest::prelude::*;
use shuniu_model::{GrantState, Mode, Sharing};
use shuniu_policy::{Action, Code, Facts, Permit, Snapshot, decide};

use crate::world::{grant, organisation, principal, resource, resource_name, system, time};

const SYSTEMS: [&str; 4] = ["s0", "s1", "s2", "unknown"];
const RESOURCES: [&str; 4] = ["r0", "r1", "r2", "unknown"];

#[derive(Debug, Clone, Copy)]
enum Asked {
    Read(usize, usize, usize, i64),
    Publish(usize, usize, i64),
}

fn mode(index: usize) -> Mode {
    Mode::ALL[index]
}

fn state() -> impl Strategy<Value = GrantState> {
    prop_oneof![Just(GrantState::Active), Just(GrantState::Suspended), Just(GrantState::Revoked)]
}

prop_compose! {
    fn directory()(
        owners in vec(0..2_usize, 3),
        publishers in vec((0..3_usize, 0..2_usize, 0..3_u8), 3),
        grants in vec((0..3_usize, 0..3_usize, state(), 0..8_i64, 0..8_i64, vec(0..5_usize, 1..4)), 0..12),
        revoked in vec(0..3_usize, 0..2),
    ) -> Facts {
        let mut facts = Facts { organisations: crate::world::facts().organisations, ..Facts::default() };
        for (index, owner) in owners.iter().enumerate() {
            facts.systems.push(system(SYSTEMS[index], *owner));
        }
        for (index, (publisher, provider, sharing)) in publishers.into_iter().enumerate() {
            let mut made = resource(RESOURCES[index], SYSTEMS[publisher]);
            made.provider = organisation(provider);
            made.sharing = match sharing {
                0 => Sharing::Unconditional,
                1 => Sharing::Conditional,
                _ => Sharing::NotShared { basis: "法律".into() },
            };
            facts.resources.push(made);
        }
        for (number, (system, resource, state, starts_at, ends_at, modes)) in grants.into_iter().enumerate() {
            let mut made = grant(&format!("g-{number}"), SYSTEMS[system], RESOURCES[resource]);
            made.state = state;
            made.starts_at = time(starts_at);
            made.ends_at = time(ends_at);
            made.modes = modes.into_iter().map(mode).collect();
            facts.grants.push(made);
        }
        facts.revoked_certificates = revoked.into_iter().map(|index| format!("c-{}", SYSTEMS[index])).collect();
        facts
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        4 => (0..4_usize, 0..4_usize, 0..5_usize, 0..9_i64).prop_map(|(s, r, m, now)| Asked::Read(s, r, m, now)),
        1 => (0..4_usize, 0..4_usize, 0..9_i64).prop_map(|(s, r, now)| Asked::Publish(s, r, now)),
    ]
}

/// Whether some system holds two grants on one resource that are not revoked.
fn two_held(facts: &Facts) -> bool {
    let held: Vec<_> = facts.grants.iter().filter(|grant| grant.state != GrantState::Revoked).collect();
    held.iter().enumerate().any(|(at, one)| {
        held.iter().skip(at + 1).any(|two| one.system == two.system && one.resource == two.resource)
    })
}

/// The answer by the rules, the slow way: the grant's id or resource, or the codes that tell the truth.
fn by_the_rules(facts: &Facts, asked: Asked) -> Result<String, Vec<Code>> {
    let (system, resource) = match asked {
        Asked::Read(system, resource, ..) | Asked::Publish(system, resource, _) => {
            (SYSTEMS[system], RESOURCES[resource])
        }
    };
    if facts.revoked_certificates.contains(&format!("c-{system}")) {
        return Err(vec![Code::CertificateRevoked]);
    }
    let Some(found) = facts.systems.iter().find(|it| it.id.as_str() == system) else {
        return Err(vec![Code::UnknownSystem]);
    };
    let Some(of) = facts.resources.iter().find(|it| it.name.as_str() == resource) else {
        return Err(vec![Code::UnknownResource]);
    };
    let publishes = of.publishing_system == found.id && of.provider == found.organisation;
    let (mode, now) = match asked {
        Asked::Publish(..) if publishes => return Ok(resource.to_owned()),
        Asked::Publish(..) => return Err(vec![Code::NotThePublishingSystem]),
        Asked::Read(_, _, index, now) => (mode(index), time(now)),
    };
    if publishes && mode == Mode::Subscribe {
        return Ok(format!("recovery-{system}-{resource}"));
    }
    let theirs: Vec<_> =
        facts.grants.iter().filter(|it| it.system == found.id && it.resource == of.name).collect();
    let good = theirs.iter().find(|it| {
        it.state == GrantState::Active && it.starts_at <= now && now < it.ends_at && it.modes.contains(&mode)
    });
    if let (Some(grant), false) = (good, matches!(of.sharing, Sharing::NotShared { .. })) {
        return Ok(grant.id.to_string());
    }
    if theirs.is_empty() {
        return Err(vec![Code::NoGrant]);
    }
    // Of several reasons any true one will do here; which comes first is the table's matter.
    let mut codes = Vec::new();
    if matches!(of.sharing, Sharing::NotShared { .. }) {
        codes.push(Code::ResourceNotShared);
    }
    let held = theirs.iter().find(|it| it.state != GrantState::Revoked);
    match held {
        None => codes.push(Code::GrantRevoked),
        Some(held) => {
            if held.state == GrantState::Suspended {
                codes.push(Code::GrantSuspended);
            }
            if now < held.starts_at {
                codes.push(Code::GrantNotStarted);
            }
            if now >= held.ends_at {
                codes.push(Code::GrantExpired);
            }
            if !held.modes.contains(&mode) {
                codes.push(Code::ModeNotGranted);
            }
        }
    }
    Err(codes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_is_what_the_rules_say(facts in directory(), questions in vec(asked(), 1..40)) {
        let snapshot = match Snapshot::new(facts.clone()) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                prop_assert!(two_held(&facts), "{error}");
                return Ok(());
            }
        };
        prop_assert!(!two_held(&facts));
        for question in questions {
            let expected = by_the_rules(&facts, question);
            let answer = match question {
                Asked::Read(system, resource, index, now) => {
                    let resource = resource_name(RESOURCES[resource]);
                    let read = Action::Read { resource: &resource, mode: mode(index) };
                    decide(&snapshot, &principal(SYSTEMS[system]), read, time(now))
                }
                Asked::Publish(system, resource, now) => {
                    let resource = resource_name(RESOURCES[resource]);
                    let publish = Action::Publish { resource: &resource };
                    decide(&snapshot, &principal(SYSTEMS[system]), publish, time(now))
                }
            };
            match (answer, expected) {
                (Ok(Permit::Read(permit)), Ok(id)) => {
                    prop_assert_eq!(permit.grant().id.as_str(), id);
                    // A permit just made holds at the same moment by the same facts.
                    let Asked::Read(.., now) = question else { panic!("a reading was asked") };
                    prop_assert!(permit.still(&snapshot, time(now)).is_ok());
                }
                (Ok(Permit::Publish(permit)), Ok(name)) => prop_assert_eq!(permit.resource().name.as_str(), name),
                (Err(denial), Err(codes)) => {
                    prop_assert!(codes.contains(&denial.code()), "{:?}: {denial}, not {codes:?}", question);
                }
                (answer, expected) => prop_assert!(false, "{:?}: {answer:?}, not {expected:?}", question),
            }
        }
    }
}
