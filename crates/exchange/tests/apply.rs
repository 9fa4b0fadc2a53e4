//! The directory file, on the demonstration's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use shuniu_exchange::apply::{Changes, Context, DirectoryFile, Problems};
use shuniu_exchange::{KeyRing, KeyUnavailable};
use shuniu_ledger::SubjectKey;
use shuniu_model::{Codec, GrantId, GrantState, ResourceName, Timestamp, TopicId};
use shuniu_policy::Snapshot;
use shuniu_store::{Change, Store, StoreError};

struct Keys;

impl KeyRing for Keys {
    fn pseudonym_master(&self, version: u32) -> Result<[u8; 32], KeyUnavailable> {
        Ok([u8::try_from(version).unwrap(); 32])
    }

    fn subjects_of(&self, year: u16) -> Result<SubjectKey, KeyUnavailable> {
        Ok(SubjectKey::new(year, &[9; 32]))
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn directory() -> String {
    std::fs::read_to_string(root().join("config/directory.toml")).unwrap()
}

fn parse(text: &str) -> Result<DirectoryFile, Problems> {
    DirectoryFile::parse(text, |path| std::fs::read_to_string(root().join("config").join(path)))
}

async fn changes(text: &str, store: &Store) -> Result<Changes, Problems> {
    let facts = store.facts().await.unwrap();
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    parse(text)?.changes(&Context { facts: &facts, keys: &Keys, time_zone: "Asia/Shanghai", now })
}

async fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
    (folder, store)
}

async fn problems(text: &str, store: &Store) -> String {
    changes(text, store).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_file_is_applied_once_and_then_changes_nothing() {
    let (_folder, store) = open().await;
    let first = changes(&directory(), &store).await.unwrap();
    assert!(first.lines().iter().all(|line| line.starts_with('+')), "{:#?}", first.lines());
    let shown = first.lines().join("\n");
    assert!(shown.contains("name (masked but for 1 first, 0 last)"), "{shown}");
    assert!(shown.contains("id_no (pseudonym)") && shown.contains("birth_date (year)"), "{shown}");
    first.apply(&store, "wang").await.unwrap();
    let facts = store.facts().await.unwrap();
    let population = facts.resources.iter().find(|resource| resource.name.as_str() == "population").unwrap();
    assert_eq!(population.versions.len(), 1);
    let bank = facts.grants.iter().find(|grant| grant.id.as_str() == "bank-population").unwrap();
    assert!(
        facts
            .projected
            .iter()
            .any(|it| it.view == bank.view.digest() && it.writer == population.versions[0].id)
    );
    // 2030-12-31 in Shanghai ends eight hours before it ends in UTC.
    assert_eq!(bank.ends_at.to_string(), "2030-12-31T16:00:00.000000Z");
    let drafts = store.outbox_next(1000).await.unwrap();
    assert_eq!(drafts.len(), first.lines().len());
    assert!(drafts.iter().all(|row| row.draft.contains("wang")));
    Snapshot::new(facts).unwrap();
    assert!(changes(&directory(), &store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_grant_ends_by_its_state_and_never_comes_back() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let revoked =
        directory().replace("id = \"bank-population\"", "id = \"bank-population\"\nstate = \"revoked\"");
    let second = changes(&revoked, &store).await.unwrap();
    assert_eq!(second.lines(), ["- grant bank-population: revoked"]);
    second.apply(&store, "wang").await.unwrap();
    let facts = store.facts().await.unwrap();
    let bank = facts.grants.iter().find(|grant| grant.id.as_str() == "bank-population").unwrap();
    assert_eq!(bank.state, GrantState::Revoked);
    assert!(problems(&directory(), &store).await.contains("it is revoked, for good"));
    let successor =
        revoked.replace("state = \"revoked\"", "").replace("\"bank-population\"", "\"bank-population-2\"");
    changes(&successor, &store).await.unwrap().apply(&store, "wang").await.unwrap();
}

#[tokio::test]
async fn a_changed_view_is_a_new_grant() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let wider = directory().replace("death_flag = \"keep\"", "death_flag = \"keep\"\nethnic = \"keep\"");
    assert!(problems(&wider, &store).await.contains("give the new one a new id"));
    let longer = directory().replacen("ends_at = \"2030-12-31\"", "ends_at = \"2031-12-31\"", 1);
    assert_eq!(changes(&longer, &store).await.unwrap().lines().len(), 1);
}

#[tokio::test]
async fn another_codec_is_the_same_grant() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let with = |codec: &str| {
        directory().replace("id = \"bank-population\"", &format!("id = \"bank-population\"\n{codec}"))
    };
    let gzip = changes(&with("codec = \"gzip\""), &store).await.unwrap();
    let [line] = gzip.lines() else { unreachable!("{:?}", gzip.lines()) };
    assert!(line.contains("~ grant bank-population") && line.ends_with("codec gzip"), "{line}");
    gzip.apply(&store, "wang").await.unwrap();
    let facts = store.facts().await.unwrap();
    let bank = facts.grants.iter().find(|grant| grant.id.as_str() == "bank-population").unwrap();
    assert_eq!(bank.codec, Codec::Gzip);
    assert!(changes(&with("codec = \"gzip\""), &store).await.unwrap().is_empty());
    let problem = parse(&with("codec = \"gzp\"")).unwrap_err().to_string();
    assert!(problem.contains("did you mean `gzip`?"), "{problem}");
}

#[tokio::test]
async fn everything_wrong_with_a_file_is_told_at_once() {
    let (_folder, store) = open().await;
    let broken = directory()
        .replacen("live_division == '500103'", "live_division > 5", 1)
        .replacen("code = \"101001/1\"", "code = \"901001/1\"", 1)
        .replacen("system = \"bank-supervisor\"", "system = \"bank\"", 1)
        .replacen("uscc = \"11500000XNG000011B\"", "uscc = \"11500000XNG000011C\"", 1);
    let text = problems(&broken, &store).await;
    for expected in
        ["grant yuzhong-population", "901001/1", "system `bank` is neither here", "check character"]
    {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert!(store.facts().await.unwrap().organisations.is_empty());
}

#[tokio::test]
async fn a_filter_that_compares_text_with_a_number_is_refused() {
    let (_folder, store) = open().await;
    let text =
        problems(&directory().replacen("live_division == '500103'", "live_division == 500103", 1), &store)
            .await;
    assert!(text.contains("grant yuzhong-population"), "{text}");
    assert!(text.contains("the one is text, the other a number"), "{text}");
}

#[tokio::test]
async fn a_partial_date_ends_no_grant() {
    let (_folder, store) = open().await;
    for date in ["2030-13-31", "2030-12", "soon", "2030-12-31T12:00:00", "2030-12-31 12:00:00"] {
        let broken = directory().replacen("ends_at = \"2030-12-31\"", &format!("ends_at = \"{date}\""), 1);
        assert!(problems(&broken, &store).await.contains("neither a date nor an RFC 3339 instant"), "{date}");
    }
}

#[tokio::test]
async fn an_organisation_cannot_hold_the_key_and_its_pseudonym() {
    let (_folder, store) = open().await;
    let second = "\n[[system]]\nid = \"bank-second\"\norganisation = \"11500000XNG0000976\"\nname = \"n\"\n\
        [[grant]]\nid = \"bank-second-population\"\nsystem = \"bank-second\"\nresource = \"population\"\n\
        modes = [\"subscribe\"]\npurpose = \"p\"\nbasis = \"b\"\nends_at = \"2030-12-31\"\n[grant.items]\nid_no = \"keep\"\n";
    let text = problems(&format!("{}{second}", directory()), &store).await;
    assert!(text.contains("the key in another form"), "{text}");
}

#[tokio::test]
async fn the_same_holds_for_a_system_that_moves_to_the_organisation() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let moved = directory().replacen(
        "id = \"hall-yuzhong\"\norganisation = \"",
        "id = \"hall-yuzhong\"\norganisation = \"11500000XNG0000976\" # \"",
        1,
    );
    assert_ne!(moved, directory());
    let text = problems(&moved, &store).await;
    assert!(text.contains("the key in another form"), "{text}");
}

#[tokio::test]
async fn a_publishing_system_cannot_leave_its_provider_even_where_its_resource_is_not_named() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let alone = "[[system]]\nid = \"civil-affairs\"\norganisation = \"11500000XNG0000976\"\nname = \"n\"\n";
    let text = problems(alone, &store).await;
    assert!(text.contains("resource division: its publishing system `civil-affairs`"), "{text}");
}

#[tokio::test]
async fn a_publishing_system_is_given_no_grant_on_what_it_publishes() {
    let (_folder, store) = open().await;
    let own = "\n[[grant]]\nid = \"own\"\nsystem = \"civil-affairs\"\nresource = \"division\"\n\
        modes = [\"subscribe\"]\npurpose = \"p\"\nbasis = \"b\"\nends_at = \"2030-12-31\"\nwhole = true\n";
    let text = problems(&format!("{}{own}", directory()), &store).await;
    assert!(text.contains("reads it back without a grant"), "{text}");
}

#[tokio::test]
async fn a_subject_must_be_an_item_of_every_registered_version() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let wrong = directory().replacen("subjects = [\"lei\"]", "subjects = [\"lei\", \"leii\"]", 1);
    assert_ne!(wrong, directory());
    let text = problems(&wrong, &store).await;
    assert!(text.contains("resource legal-entity") && text.contains("leii"), "{text}");
}

#[tokio::test]
async fn what_was_worked_out_from_an_older_directory_is_not_applied() {
    let (_folder, store) = open().await;
    let first = changes(&directory(), &store).await.unwrap();
    first.apply(&store, "wang").await.unwrap();
    let longer = directory().replacen("ends_at = \"2030-12-31\"", "ends_at = \"2031-12-31\"", 1);
    let late = changes(&longer, &store).await.unwrap();
    changes(&longer, &store).await.unwrap().apply(&store, "li").await.unwrap();
    let error = late.apply(&store, "wang").await.unwrap_err();
    assert!(error.to_string().contains("look at the difference again"), "{error}");
}

#[tokio::test]
async fn what_the_hub_itself_noted_meanwhile_hinders_no_change() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let longer = directory().replacen("ends_at = \"2030-12-31\"", "ends_at = \"2031-12-31\"", 1);
    let late = changes(&longer, &store).await.unwrap();
    let population = ResourceName::parse("population").unwrap();
    let made = Change::Topic { resource: population.clone(), id: TopicId([7; 16]) };
    store.write(&[made], &["{}".to_owned()]).await.unwrap();
    late.apply(&store, "wang").await.unwrap();
    let facts = store.facts().await.unwrap();
    let resource = facts.resources.iter().find(|it| it.name == population).unwrap();
    assert_eq!(resource.topic_id, Some(TopicId([7; 16])), "what the hub noted stays");
    assert!(changes(&longer, &store).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_person_changed_meanwhile_is_looked_at_before_anything_is_written() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let longer = directory().replacen("ends_at = \"2030-12-31\"", "ends_at = \"2031-12-31\"", 1);
    let late = changes(&longer, &store).await.unwrap();
    // Of a grant that the late change does not touch, and beside the hub's own write.
    let state =
        Change::GrantState { id: GrantId::parse("bank-population").unwrap(), state: GrantState::Suspended };
    let resource = ResourceName::parse("population").unwrap();
    store.write(&[state, Change::Topic { resource, id: TopicId([7; 16]) }], &[]).await.unwrap();
    let before = store.facts().await.unwrap();
    let error = late.apply(&store, "wang").await.unwrap_err();
    assert!(matches!(error, StoreError::Changed), "{error}");
    assert_eq!(store.facts().await.unwrap(), before);
}

/// The directory with a second version of `population` that lacks an item which grants name, read at that time.
async fn without_death_flag(store: &Store, now: &str) -> Result<Changes, Problems> {
    let path = "../schemas/population/v1.avsc";
    let text = directory().replacen(&format!("\"{path}\""), &format!("\"{path}\", \"v2\""), 1);
    let read = |path: &str| std::fs::read_to_string(root().join("config").join(path));
    let narrower = |path: &str| -> std::io::Result<String> {
        if path != "v2" {
            return read(path);
        }
        let mut schema: serde_json::Value = serde_json::from_str(&read("../schemas/population/v1.avsc")?)?;
        let fields = schema.get_mut("fields").unwrap().as_array_mut().unwrap();
        fields.retain(|field| field["name"] != "death_flag");
        Ok(schema.to_string())
    };
    let facts = store.facts().await.unwrap();
    let now = now.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let now = Timestamp::from_micros(now);
    let context = Context { facts: &facts, keys: &Keys, time_zone: "Asia/Shanghai", now };
    DirectoryFile::parse(&text, narrower)?.changes(&context)
}

#[tokio::test]
async fn a_version_that_removes_an_item_of_a_grant_in_force_is_refused() {
    let (_folder, store) = open().await;
    changes(&directory(), &store).await.unwrap().apply(&store, "wang").await.unwrap();
    let text = without_death_flag(&store, "2030-12-31T15:59:59Z").await.unwrap_err().to_string();
    assert!(text.contains("grant bank-population") && text.contains("death_flag"), "{text}");
    // A grant that has ended binds nothing any more.
    let ended = without_death_flag(&store, "2030-12-31T16:00:00Z").await.unwrap();
    assert_eq!(ended.lines(), ["+ schema version 2 of population"]);
}

#[tokio::test]
async fn a_limit_that_would_hold_nothing_back_is_refused() {
    let (_folder, store) = open().await;
    let id = "id = \"bank-population\"";
    assert!(directory().contains(id));
    for (limit, words) in [
        ("queries_per_day = 100", "grant bank-population: `queries_per_day` would hold nothing back"),
        ("records_per_second = 0", "a limit of 0 lets nothing through"),
    ] {
        let text = directory().replacen(id, &format!("{id}\nlimits = {{ {limit} }}"), 1);
        let told = changes(&text, &store).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    let text = directory().replacen(id, &format!("{id}\nlimits = {{ records_per_second = 9 }}"), 1);
    changes(&text, &store).await.unwrap();
}
