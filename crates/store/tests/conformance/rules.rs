//! The rules, each on a database that nobody used before.

use shuniu_model::identifier::{DivisionCode, Uscc};
use shuniu_model::{
    Codec, Generalisation, Grant, GrantId, GrantState, ItemName, Limits, MaskRule, Mode, Organisation,
    PseudonymScope, Resource, ResourceName, Sharing, System, SystemId, Timestamp, TopicId, Treatment, View,
    ViewItem,
};
use shuniu_store::{Change, CheckpointRow, Store, StoreError};

use crate::Fresh;

const USCC: &str = "11100000000013338W";

pub(crate) fn changes() -> Vec<Change> {
    let uscc = Uscc::parse(USCC).unwrap();
    let resource = Resource {
        name: ResourceName::parse("population").unwrap(),
        title_zh: "人口".into(),
        code: "101001/1".into(),
        provider: uscc,
        publishing_system: SystemId::parse("police").unwrap(),
        sharing: Sharing::NotShared { basis: "法律".into() },
        key: ItemName::parse("id_no").unwrap(),
        subjects: vec![ItemName::parse("id_no").unwrap(), ItemName::parse("guardian_id_no").unwrap()],
        row_filters: true,
        partitions: 4,
        topic_id: None,
        versions: Vec::new(),
    };
    vec![
        Change::Organisation(Organisation {
            uscc,
            name: "部门".into(),
            division: DivisionCode::parse("500000").unwrap(),
        }),
        Change::System(System {
            id: SystemId::parse("police").unwrap(),
            organisation: uscc,
            name: "系统".into(),
        }),
        Change::System(System {
            id: SystemId::parse("hall").unwrap(),
            organisation: uscc,
            name: "大厅".into(),
        }),
        Change::Resource(resource),
        schema_version(1, "{1}"),
    ]
}

fn schema_version(version: u32, text: &str) -> Change {
    Change::SchemaVersion { resource: ResourceName::parse("population").unwrap(), version, text: text.into() }
}

pub(crate) fn grant(id: &str) -> Grant {
    let item = |name: &str, treatment| ViewItem { name: ItemName::parse(name).unwrap(), treatment };
    let items = vec![
        item("id_no", Treatment::Pseudonym),
        item("name", Treatment::Mask(MaskRule { first: 1, last: 0 })),
        item("birth_date", Treatment::Generalise(Generalisation::Year)),
        item("height", Treatment::Generalise(Generalisation::Step(10))),
        item("x", Treatment::Constant("0".into())),
    ];
    let scope = PseudonymScope { scope: "hall/population".into(), master_version: 1 };
    Grant {
        id: GrantId::parse(id).unwrap(),
        system: SystemId::parse("hall").unwrap(),
        resource: ResourceName::parse("population").unwrap(),
        view: View::new(items, Some("live_division == '500103'".into()), scope),
        modes: vec![Mode::Subscribe, Mode::Query],
        purpose: "办事".into(),
        basis: "条例".into(),
        starts_at: Timestamp::from_micros(5),
        ends_at: Timestamp::from_micros(9_000_000),
        state: GrantState::Active,
        limits: Limits { records_per_second: Some(10), ..Limits::default() },
        codec: Codec::Gzip,
    }
}

pub(crate) async fn what_is_written_is_loaded_and_the_version_grows(fresh: &Fresh) {
    let store = fresh.open().await;
    let before = store.policy_version().await.unwrap();
    store.write(&changes(), &["{\"a\":1}".into()]).await.unwrap();
    let projected = Change::Projected {
        resource: ResourceName::parse("population").unwrap(),
        version: 1,
        view: grant("g-1").view.digest(),
        text: "{p}".into(),
    };
    let topic = Change::Topic { resource: ResourceName::parse("population").unwrap(), id: TopicId([7; 16]) };
    let version =
        store.write(&[Change::Grant(grant("g-1")), projected.clone(), projected, topic], &[]).await.unwrap();
    assert_eq!((version, store.policy_version().await.unwrap()), (before + 2, before + 2));

    // As another process would find it.
    let again = fresh.open().await;
    let facts = again.facts().await.unwrap();
    assert_eq!(facts.version, version);
    assert_eq!(facts.grants, [grant("g-1")]);
    let resource = &facts.resources[0];
    assert_eq!(resource.topic_id, Some(TopicId([7; 16])));
    assert_eq!(resource.sharing, Sharing::NotShared { basis: "法律".into() });
    assert_eq!(resource.subjects.len(), 2);
    assert_eq!(resource.versions[0].text, "{1}");
    assert_eq!(facts.projected.len(), 1);
    assert_eq!(facts.projected[0].writer, resource.versions[0].id);
    assert_ne!(facts.projected[0].id, resource.versions[0].id);
    shuniu_policy::Snapshot::new(facts).unwrap();
    let outbox = again.outbox_next(10).await.unwrap();
    assert_eq!(outbox[0].draft, "{\"a\":1}");
    let mut claim = again.claim_outbox().await.unwrap().unwrap();
    claim.done(outbox[0].id).await.unwrap();
    claim.release().await.unwrap();
    assert!(store.outbox_next(10).await.unwrap().is_empty());
}

pub(crate) async fn a_failed_write_leaves_nothing_behind(fresh: &Fresh) {
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    let version = store.policy_version().await.unwrap();
    let mut stranger = grant("g-2");
    stranger.system = SystemId::parse("nobody").unwrap();
    let organisation = Organisation {
        uscc: Uscc::parse("91110108551385082Q").unwrap(),
        name: "新".into(),
        division: DivisionCode::parse("110108").unwrap(),
    };
    let error = store
        .write(&[Change::Organisation(organisation), Change::Grant(stranger)], &["{}".into()])
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert_eq!(store.policy_version().await.unwrap(), version);
    assert_eq!(store.facts().await.unwrap().organisations.len(), 1);
    assert!(store.outbox_next(10).await.unwrap().is_empty());
}

pub(crate) async fn a_system_holds_one_grant_on_a_resource_until_it_is_revoked(fresh: &Fresh) {
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    store.write(&[Change::Grant(grant("g-1"))], &[]).await.unwrap();
    assert!(matches!(
        store.write(&[Change::Grant(grant("g-2"))], &[]).await.unwrap_err(),
        StoreError::Conflict(_)
    ));
    let revoke = Change::GrantState { id: GrantId::parse("g-1").unwrap(), state: GrantState::Revoked };
    store.write(&[revoke, Change::Grant(grant("g-2"))], &[]).await.unwrap();
    assert_eq!(store.facts().await.unwrap().grants.len(), 2);
    let missing = Change::GrantState { id: GrantId::parse("g-9").unwrap(), state: GrantState::Revoked };
    assert!(matches!(store.write(&[missing], &[]).await.unwrap_err(), StoreError::Conflict(_)));
}

pub(crate) async fn a_registered_schema_version_never_changes_and_its_id_is_never_given_again(fresh: &Fresh) {
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    store.write(&[schema_version(1, "{1}")], &[]).await.unwrap();
    assert!(matches!(
        store.write(&[schema_version(1, "{other}")], &[]).await.unwrap_err(),
        StoreError::Conflict(_)
    ));
    store.write(&[schema_version(2, "{2}")], &[]).await.unwrap();
    let versions = &store.facts().await.unwrap().resources[0].versions;
    assert_eq!(versions.iter().map(|it| (it.version, it.id)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
}

pub(crate) async fn a_checkpoint_is_swapped_only_for_the_one_it_follows(fresh: &Fresh) {
    let store = fresh.open().await;
    assert_eq!(store.checkpoint().await.unwrap(), None);
    let row = |tree_size| CheckpointRow { tree_size, next_offset: 3, root: "aa".into(), note: "n".into() };
    assert!(store.swap_checkpoint(0, &row(0)).await.unwrap());
    assert!(store.swap_checkpoint(0, &row(4)).await.unwrap());
    assert!(!store.swap_checkpoint(0, &row(5)).await.unwrap());
    assert!(!store.swap_checkpoint(3, &row(5)).await.unwrap());
    assert!(store.swap_checkpoint(4, &row(6)).await.unwrap());
    assert_eq!(store.checkpoint().await.unwrap(), Some(row(6)));
}

pub(crate) async fn a_key_of_a_name_is_entered_once(fresh: &Fresh) {
    let store = fresh.open().await;
    assert_eq!(store.key_fingerprints().await.unwrap(), []);
    let (one, other) =
        tokio::join!(store.claim_key("subjects-2027", "aa"), store.claim_key("subjects-2027", "bb"));
    let kept = one.unwrap();
    assert_eq!(other.unwrap(), kept);
    assert_eq!(store.claim_key("audit-signing", "cc").await.unwrap(), "cc");
    let all = [("audit-signing".to_owned(), "cc".to_owned()), ("subjects-2027".to_owned(), kept)];
    assert_eq!(store.key_fingerprints().await.unwrap(), all);
}

pub(crate) async fn revoked_certificates_are_facts(fresh: &Fresh) {
    let store = fresh.open().await;
    let revoke = Change::RevokeCertificate { serial: "ab12".into(), reason: "lost".into() };
    store.write(&[revoke.clone(), revoke], &[]).await.unwrap();
    assert_eq!(store.facts().await.unwrap().revoked_certificates, ["ab12"]);
}

pub(crate) async fn a_grant_keeps_its_view_whatever_else_of_it_changes(fresh: &Fresh) {
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    store.write(&[Change::Grant(grant("g-1"))], &[]).await.unwrap();
    let mut renewed = grant("g-1");
    renewed.ends_at = Timestamp::from_micros(i64::MAX);
    renewed.state = GrantState::Suspended;
    renewed.limits = Limits::default();
    renewed.codec = Codec::None;
    store.write(&[Change::GrantTerms(renewed.clone())], &[]).await.unwrap();
    assert_eq!(store.facts().await.unwrap().grants, [renewed.clone()]);
    // What a change of terms says of the view is not written.
    let mut widened = renewed.clone();
    widened.view = View::whole();
    store.write(&[Change::GrantTerms(widened)], &[]).await.unwrap();
    assert_eq!(store.facts().await.unwrap().grants, [renewed]);
}

pub(crate) async fn a_write_worked_out_from_an_older_directory_is_refused(fresh: &Fresh) {
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    let read = store.policy_version().await.unwrap();
    // Somebody else is faster.
    let revoke = Change::RevokeCertificate { serial: "ab12".into(), reason: "lost".into() };
    store.write(&[revoke], &[]).await.unwrap();
    let late = store.write_after(read, &[Change::Grant(grant("g-1"))], &["{}".into()]).await.unwrap_err();
    assert!(matches!(late, StoreError::Changed), "{late}");
    assert!(store.facts().await.unwrap().grants.is_empty());
    assert!(store.outbox_next(10).await.unwrap().is_empty());
    let version = store.write_after(read + 1, &[Change::Grant(grant("g-1"))], &[]).await.unwrap();
    assert_eq!(version, read + 2);
}

pub(crate) async fn facts_are_of_one_moment_while_others_write(fresh: &Fresh) {
    const WRITES: usize = 40;
    let store = fresh.open().await;
    let base = store.write(&changes(), &[]).await.unwrap();
    let systems = store.facts().await.unwrap().systems.len();
    let writer = async {
        for index in 0..WRITES {
            let uscc = Uscc::parse(USCC).unwrap();
            let id = SystemId::parse(&format!("s-{index}")).unwrap();
            let system = System { id, organisation: uscc, name: "系统".into() };
            store.write(&[Change::System(system)], &[]).await.unwrap();
        }
    };
    let reader = async {
        loop {
            let facts = store.facts().await.unwrap();
            let written = usize::try_from(facts.version - base).unwrap();
            assert_eq!(facts.systems.len(), systems + written, "one system for each version");
            if written == WRITES {
                return;
            }
        }
    };
    tokio::join!(writer, reader);
}

pub(crate) async fn no_draft_is_lost_between_writers_and_the_one_who_clears(fresh: &Fresh) {
    const EACH: usize = 25;
    let store = fresh.open().await;
    let directory = async {
        for index in 0..EACH {
            let revoke = Change::RevokeCertificate { serial: format!("{index:x}"), reason: "lost".into() };
            store.write(&[revoke], &[format!("write {index}")]).await.unwrap();
        }
    };
    let readings = async {
        for index in 0..EACH {
            store.outbox_add(&format!("add {index}")).await.unwrap();
        }
    };
    let clearing = async {
        let mut seen = std::collections::BTreeSet::new();
        let mut claim = store.claim_outbox().await.unwrap().unwrap();
        while seen.len() < 2 * EACH {
            let rows = claim.next(3).await.unwrap();
            let Some(last) = rows.last().map(|row| row.id) else {
                tokio::task::yield_now().await;
                continue;
            };
            seen.extend(rows.into_iter().map(|row| row.draft));
            claim.done(last).await.unwrap();
        }
        claim.release().await.unwrap();
    };
    let all = async { tokio::join!(directory, readings, clearing) };
    tokio::time::timeout(std::time::Duration::from_secs(60), all).await.unwrap();
}

pub(crate) async fn programs_that_start_at_once_make_the_tables_once(fresh: &Fresh) {
    let (one, two, three) = tokio::join!(fresh.open(), fresh.open(), fresh.open());
    one.write(&changes(), &[]).await.unwrap();
    assert_eq!(two.facts().await.unwrap().version, three.policy_version().await.unwrap());
}

pub(crate) async fn of_writers_that_read_the_same_version_one_writes(fresh: &Fresh) {
    const ROUNDS: usize = 20;
    let (one, two) = (fresh.open().await, fresh.open().await);
    let mut version = one.write(&changes(), &[]).await.unwrap();
    for round in 0..ROUNDS {
        let by = |who: &str| {
            vec![Change::RevokeCertificate { serial: format!("{round:x}{who}"), reason: "lost".into() }]
        };
        let (of_one, of_two) = (by("a"), by("b"));
        let drafts = ["{}".to_owned()];
        let (first, second) = tokio::join!(
            one.write_after(version, &of_one, &drafts),
            two.write_after(version, &of_two, &drafts),
        );
        let written: Vec<u64> =
            [&first, &second].into_iter().filter_map(|it| it.as_ref().ok().copied()).collect();
        assert_eq!(written, [version + 1], "{first:?} {second:?}");
        let refused = first.err().or(second.err()).unwrap();
        assert!(matches!(refused, StoreError::Changed), "{refused:?}");
        version += 1;
    }
    assert_eq!(two.facts().await.unwrap().revoked_certificates.len(), ROUNDS);
    assert_eq!(one.outbox_next(1_000).await.unwrap().len(), ROUNDS);
}

pub(crate) async fn writers_at_once_give_no_schema_id_twice(fresh: &Fresh) {
    const EACH: u32 = 20;
    let (one, two) = (fresh.open().await, fresh.open().await);
    let second = |version: u32| Change::Projected {
        resource: ResourceName::parse("population").unwrap(),
        version: 1,
        view: {
            let scope = PseudonymScope { scope: format!("scope {version}"), master_version: 1 };
            View::new(Vec::new(), None, scope).digest()
        },
        text: "{p}".into(),
    };
    one.write(&changes(), &[]).await.unwrap();
    let versions = async {
        for version in 2..2 + EACH {
            one.write(&[schema_version(version, "{}")], &[]).await.unwrap();
        }
    };
    let projected = async {
        for version in 0..EACH {
            two.write(&[second(version)], &[]).await.unwrap();
        }
    };
    tokio::join!(versions, projected);
    let facts = one.facts().await.unwrap();
    let mut ids: Vec<u32> = facts.resources[0].versions.iter().map(|it| it.id).collect();
    ids.extend(facts.projected.iter().map(|it| it.id));
    ids.sort_unstable();
    assert_eq!(ids, (1..=1 + 2 * EACH).collect::<Vec<_>>());
}

pub(crate) async fn tables_of_another_version_are_not_opened(fresh: &Fresh) {
    fresh.open().await.close().await;
    // There is one version as yet: the older one is made up.
    fresh.run("UPDATE schema_version SET version = -1").await;
    let error = Store::open(fresh.database.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: -1, .. }), "{error:?}");
    assert!(error.to_string().contains("run `shuniu migrate`"), "{error}");
    fresh.run("UPDATE schema_version SET version = 99").await;
    let error = Store::open(fresh.database.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("use the newer program"), "{error}");
    let error = Store::migrate(fresh.database.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
}

pub(crate) async fn migrating_twice_changes_nothing(fresh: &Fresh) {
    let first = Store::migrate(fresh.database.clone()).await.unwrap();
    assert_eq!(first.from, 0);
    let store = fresh.open().await;
    store.write(&changes(), &[]).await.unwrap();
    let facts = store.facts().await.unwrap();
    let again = Store::migrate(fresh.database.clone()).await.unwrap();
    assert_eq!((again.from, again.to), (first.to, first.to));
    let after = store.facts().await.unwrap();
    assert_eq!((after.version, after.systems), (facts.version, facts.systems));
}

pub(crate) async fn the_feed_says_where_the_policy_is(fresh: &Fresh) {
    let store = fresh.open().await;
    let mut feed = store.policy_feed();
    let before = feed.ask().await.unwrap();
    let elsewhere = fresh.open().await;
    let version = elsewhere.write(&changes(), &[]).await.unwrap();
    let after = feed.ask().await.unwrap();
    assert_eq!((before.version + 1, version), (version, after.version));
    assert!(after.database_time >= before.database_time);
}
