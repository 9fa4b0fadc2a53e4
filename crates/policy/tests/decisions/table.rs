//! The decision table: each row is one state of the directory, one question and its only answer.

use crate::world::{
    self, NOW, facts, grant, grant_id, organisation, principal, resource, resource_name, system_id, time,
};
use shuniu_model::{GrantState, Mode, Sharing};
use shuniu_policy::{Action, Code, Facts, InvalidFacts, Permit, Snapshot, decide};

enum Ask {
    Read(&'static str, Mode),
    Publish(&'static str),
    Administer,
}

struct Case {
    rule: &'static str,
    given: fn(&mut Facts),
    by: &'static str,
    ask: Ask,
    /// The grant's id for a reading, the resource for a publishing, or the denial's code.
    answer: Result<&'static str, Code>,
}

fn as_it_is(_: &mut Facts) {}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // By the grant in force.
    Case { rule: "a grant in force allows its mode", given: as_it_is,
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall") },
    Case { rule: "a mode that the grant does not name is not granted", given: as_it_is,
        by: "hall", ask: Ask::Read("population", Mode::Export), answer: Err(Code::ModeNotGranted) },
    Case { rule: "no grant, no reading", given: as_it_is,
        by: "stranger", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::NoGrant) },
    Case { rule: "a grant on one resource says nothing of another", given: as_it_is,
        by: "hall", ask: Ask::Read("legal-person", Mode::Subscribe), answer: Err(Code::NoGrant) },
    Case { rule: "an unconditionally shared resource needs its grant too", given: |facts| facts.resources[0].sharing = Sharing::Unconditional,
        by: "stranger", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::NoGrant) },
    // Terms: starts inclusive, ends exclusive.
    Case { rule: "a term includes its first instant", given: |facts| facts.grants[0].starts_at = time(NOW),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall") },
    Case { rule: "before its term a grant is nothing", given: |facts| facts.grants[0].starts_at = time(NOW + 1),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::GrantNotStarted) },
    Case { rule: "a term excludes its last instant", given: |facts| facts.grants[0].ends_at = time(NOW),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::GrantExpired) },
    Case { rule: "the instant before the end is in the term", given: |facts| facts.grants[0].ends_at = time(NOW + 1),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall") },
    // States come before terms: what the provider did is told rather than what time did.
    Case { rule: "a suspended grant is nothing", given: |facts| facts.grants[0].state = GrantState::Suspended,
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::GrantSuspended) },
    Case { rule: "a revoked grant is nothing", given: |facts| facts.grants[0].state = GrantState::Revoked,
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::GrantRevoked) },
    Case { rule: "a revoked grant that also expired is called revoked", given: |facts| {
            facts.grants[0].state = GrantState::Revoked;
            facts.grants[0].ends_at = time(NOW - 1);
        },
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::GrantRevoked) },
    Case { rule: "a new grant counts over the revoked one before it", given: |facts| {
            facts.grants[0].state = GrantState::Revoked;
            facts.grants.push(grant("g-hall-2", "hall", "population"));
        },
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall-2") },
    Case { rule: "the order in which grants are loaded does not matter", given: |facts| {
            let mut revoked = grant("g-hall-0", "hall", "population");
            revoked.state = GrantState::Revoked;
            facts.grants.push(revoked);
        },
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall") },
    // Share types.
    Case { rule: "a resource that is not shared is read by nobody else, whatever was granted",
        given: |facts| facts.resources[0].sharing = Sharing::NotShared { basis: "法律".into() },
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::ResourceNotShared) },
    Case { rule: "its publishing system reads back even what is not shared",
        given: |facts| facts.resources[0].sharing = Sharing::NotShared { basis: "法律".into() },
        by: "police", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("recovery-police-population") },
    // The publishing system.
    Case { rule: "the publishing system reads its own resource back", given: as_it_is,
        by: "police", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("recovery-police-population") },
    Case { rule: "recovery is for subscribing only", given: as_it_is,
        by: "police", ask: Ask::Read("population", Mode::Export), answer: Err(Code::NoGrant) },
    Case { rule: "a revoked grant does not take recovery away", given: |facts| {
            facts.grants[0].system = system_id("police");
            facts.grants[0].state = GrantState::Revoked;
        },
        by: "police", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("recovery-police-population") },
    Case { rule: "the publishing system publishes", given: as_it_is,
        by: "police", ask: Ask::Publish("population"), answer: Ok("population") },
    Case { rule: "a reader does not publish", given: as_it_is,
        by: "hall", ask: Ask::Publish("population"), answer: Err(Code::NotThePublishingSystem) },
    Case { rule: "another system of the provider does not publish", given: as_it_is,
        by: "police-desk", ask: Ask::Publish("population"), answer: Err(Code::NotThePublishingSystem) },
    Case { rule: "another system of the provider does not recover", given: as_it_is,
        by: "police-desk", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::NoGrant) },
    Case { rule: "a publishing system that moved to another organisation does not publish",
        given: |facts| facts.systems[0].organisation = organisation(1),
        by: "police", ask: Ask::Publish("population"), answer: Err(Code::NotThePublishingSystem) },
    Case { rule: "a publishing system that moved to another organisation does not recover",
        given: |facts| facts.systems[0].organisation = organisation(1),
        by: "police", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::NoGrant) },
    // What the directory does not have.
    Case { rule: "an unknown resource is not read", given: as_it_is,
        by: "hall", ask: Ask::Read("nothing", Mode::Subscribe), answer: Err(Code::UnknownResource) },
    Case { rule: "an unknown resource is not published", given: as_it_is,
        by: "police", ask: Ask::Publish("nothing"), answer: Err(Code::UnknownResource) },
    Case { rule: "an unknown system reads nothing", given: as_it_is,
        by: "nobody", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::UnknownSystem) },
    Case { rule: "an unknown system publishes nothing", given: as_it_is,
        by: "nobody", ask: Ask::Publish("population"), answer: Err(Code::UnknownSystem) },
    // Certificates come before everything.
    Case { rule: "a revoked certificate reads nothing", given: |facts| facts.revoked_certificates.push("c-hall".into()),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::CertificateRevoked) },
    Case { rule: "a revoked certificate publishes nothing", given: |facts| facts.revoked_certificates.push("c-police".into()),
        by: "police", ask: Ask::Publish("population"), answer: Err(Code::CertificateRevoked) },
    Case { rule: "a revoked certificate recovers nothing", given: |facts| facts.revoked_certificates.push("c-police".into()),
        by: "police", ask: Ask::Read("population", Mode::Subscribe), answer: Err(Code::CertificateRevoked) },
    Case { rule: "another certificate's revocation is another's", given: |facts| facts.revoked_certificates.push("c-other".into()),
        by: "hall", ask: Ask::Read("population", Mode::Subscribe), answer: Ok("g-hall") },
    // Administering is for people.
    Case { rule: "no system administers", given: as_it_is,
        by: "police", ask: Ask::Administer, answer: Err(Code::NotAnAdministrator) },
    Case { rule: "a revoked certificate is told so even where nobody may", given: |facts| facts.revoked_certificates.push("c-police".into()),
        by: "police", ask: Ask::Administer, answer: Err(Code::CertificateRevoked) },
];

#[test]
fn each_case_has_its_one_answer() {
    for case in CASES {
        let mut facts = facts();
        (case.given)(&mut facts);
        let snapshot = Snapshot::new(facts).unwrap();
        let by = principal(case.by);
        let answer = match case.ask {
            Ask::Read(name, mode) => {
                let name = resource_name(name);
                decide(&snapshot, &by, Action::Read { resource: &name, mode }, time(NOW))
            }
            Ask::Publish(name) => {
                let name = resource_name(name);
                decide(&snapshot, &by, Action::Publish { resource: &name }, time(NOW))
            }
            Ask::Administer => decide(&snapshot, &by, Action::Administer, time(NOW)),
        };
        let answer = match answer {
            Ok(Permit::Read(permit)) => Ok(permit.grant().id.to_string()),
            Ok(Permit::Publish(permit)) => Ok(permit.resource().name.to_string()),
            Ok(Permit::Administer(_)) => panic!("{}: nobody administers", case.rule),
            Err(denial) => Err(denial.code()),
        };
        assert_eq!(answer, case.answer.map(str::to_owned), "{}", case.rule);
    }
}

#[test]
fn every_code_is_the_answer_of_some_case() {
    for code in Code::ALL {
        assert!(CASES.iter().any(|case| case.answer == Err(*code)), "no case is denied with {code}");
    }
}

#[test]
fn a_permit_says_what_it_stands_on() {
    let snapshot = Snapshot::new(facts()).unwrap();
    let name = resource_name("population");
    let read = Action::Read { resource: &name, mode: Mode::Subscribe };
    let Ok(Permit::Read(permit)) = decide(&snapshot, &principal("hall"), read, time(NOW)) else { panic!() };
    assert_eq!(*permit.principal(), principal("hall"));
    assert_eq!(*permit.organisation(), organisation(1));
    assert_eq!(permit.view().digest(), grant("g-hall", "hall", "population").view.digest());
    let Ok(Permit::Read(own)) = decide(&snapshot, &principal("police"), read, time(NOW)) else { panic!() };
    assert!(own.view().is_whole());
    assert_eq!(own.grant().purpose, "recovery");
}

#[test]
fn a_denial_tells_the_code_a_sentence_and_a_next_step() {
    let snapshot = Snapshot::new(facts()).unwrap();
    let name = resource_name("population");
    let read = Action::Read { resource: &name, mode: Mode::Subscribe };
    let denial = decide(&snapshot, &principal("stranger"), read, time(NOW)).unwrap_err();
    assert_eq!(
        denial.to_string(),
        "system `stranger` holds no grant on resource `population` (no-grant): apply for the resource"
    );
}

/// What a permit looked at again says after the directory changed.
fn looked_again(change: fn(&mut Facts), later: i64) -> Result<(), Code> {
    let name = resource_name("population");
    let read = Action::Read { resource: &name, mode: Mode::Subscribe };
    let before = Snapshot::new(facts()).unwrap();
    let Ok(Permit::Read(permit)) = decide(&before, &principal("hall"), read, time(NOW)) else { panic!() };
    let mut facts = facts();
    change(&mut facts);
    permit.still(&Snapshot::new(facts).unwrap(), time(NOW + later)).map_err(|denial| denial.code())
}

#[test]
fn a_permit_holds_only_while_its_own_grant_does() {
    assert_eq!(looked_again(as_it_is, 0), Ok(()));
    assert_eq!(looked_again(as_it_is, 1_000), Err(Code::GrantExpired));
    assert_eq!(looked_again(|it| it.grants[0].state = GrantState::Revoked, 0), Err(Code::GrantRevoked));
    assert_eq!(looked_again(|it| it.grants[0].state = GrantState::Suspended, 0), Err(Code::GrantSuspended));
    assert_eq!(looked_again(|it| it.grants[0].modes = vec![Mode::Query], 0), Err(Code::ModeNotGranted));
    assert_eq!(looked_again(|it| it.grants.clear(), 0), Err(Code::NoGrant));
    assert_eq!(
        looked_again(|it| it.revoked_certificates.push("c-hall".into()), 0),
        Err(Code::CertificateRevoked)
    );
    // A renewal of the same grant goes on.
    assert_eq!(looked_again(|it| it.grants[0].ends_at = time(NOW + 9_000), 1_000), Ok(()));
}

#[test]
fn what_was_read_under_one_grant_does_not_leave_under_another() {
    let another = |it: &mut Facts| {
        it.grants[0].state = GrantState::Revoked;
        it.grants.push(grant("g-hall-2", "hall", "population"));
    };
    assert_eq!(looked_again(another, 0), Err(Code::GrantRevoked));
    // The same id with another view, which no writer of ours makes, is another grant all the same.
    let narrower = |it: &mut Facts| it.grants[0].view = world::view(&["id_no"]);
    assert_eq!(looked_again(narrower, 0), Err(Code::GrantRevoked));
}

#[test]
fn facts_that_contradict_each_other_are_refused() {
    let refused = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        Snapshot::new(facts).unwrap_err()
    };
    assert!(matches!(
        refused(|it| it.grants.push(grant("g-2", "hall", "population"))),
        InvalidFacts::TwoGrants { one, two } if one == grant_id("g-hall") && two == grant_id("g-2")
    ));
    // Suspended counts as held: it may go on.
    assert!(matches!(
        refused(|it| {
            it.grants[0].state = GrantState::Suspended;
            it.grants.push(grant("g-2", "hall", "population"));
        }),
        InvalidFacts::TwoGrants { .. }
    ));
    assert!(matches!(
        refused(|it| it.grants.push(grant("g-2", "nobody", "population"))),
        InvalidFacts::System { .. }
    ));
    assert!(matches!(
        refused(|it| it.grants.push(grant("g-2", "hall", "nothing"))),
        InvalidFacts::Resource { .. }
    ));
    assert!(matches!(
        refused(|it| it.organisations.truncate(1)),
        InvalidFacts::Organisation { subject, .. } if subject == "system `hall`"
    ));
    assert!(matches!(
        refused(|it| it.resources.push(resource("x", "nobody"))),
        InvalidFacts::System { subject, .. } if subject == "resource `x`"
    ));
}
