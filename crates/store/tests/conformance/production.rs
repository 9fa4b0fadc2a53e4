//! PostgreSQL as several hubs use it.

use std::time::Duration;

use shuniu_store::{Change, CheckpointRow, Database, DatabaseSettings, PolicyFeed, Store, StoreError};

use crate::Fresh;
use crate::postgres::Postgres;
use crate::rules::{changes, grant};

/// For what must happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);

fn revoke(serial: &str) -> Change {
    Change::RevokeCertificate { serial: serial.into(), reason: "lost".into() }
}

async fn until_asked(feed: &mut PolicyFeed) {
    let asking = async {
        while feed.ask().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
}

/// Whether a write elsewhere is heard without a question.
async fn hears(feed: &mut PolicyFeed, store: &Store, serial: &str) {
    // The answer to this question comes before the write.
    let before = feed.ask().await.unwrap().version;
    let write = async {
        let attempts = async {
            while store.write(&[revoke(serial)], &[]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        attempts.await;
    };
    let heard = async { tokio::join!(feed.told(), write) };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    assert!(feed.ask().await.unwrap().version > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_database_that_hangs_or_dies_is_noticed_and_followed_again_when_it_is_back() {
    let Some(cluster) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    let fresh = Fresh::postgres(&cluster, "followed");
    let (store, elsewhere) = (fresh.open().await, fresh.open().await);
    let mut feed = store.policy_feed();
    feed.ask().await.unwrap();
    hears(&mut feed, &elsewhere, "1").await;

    cluster.hang();
    let error = tokio::time::timeout(PATIENCE, feed.ask()).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Silent { milliseconds: 0..700, .. }), "{error:?}");
    // The next question makes another connection, which hangs as well, and gives up as soon.
    assert!(tokio::time::timeout(PATIENCE, feed.ask()).await.unwrap().is_err());
    cluster.go_on();
    until_asked(&mut feed).await;
    hears(&mut feed, &elsewhere, "2").await;

    cluster.kill();
    assert!(feed.ask().await.is_err());
    cluster.restart();
    until_asked(&mut feed).await;
    hears(&mut feed, &elsewhere, "3").await;
    assert_eq!(store.facts().await.unwrap().revoked_certificates.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_hangs_is_given_up_and_its_connection_not_used_again() {
    let Some(cluster) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    let settings = DatabaseSettings {
        connections_max: 1,
        connect_max: Duration::from_secs(1),
        statement_max: Duration::from_secs(1),
    };
    let database = Database::postgres(&cluster.database("hung"), settings).unwrap();
    Store::migrate(database.clone()).await.unwrap();
    let store = Store::open(database).await.unwrap();
    cluster.hang();
    assert!(tokio::time::timeout(PATIENCE, store.facts()).await.unwrap().is_err());
    cluster.go_on();
    let facts = async {
        loop {
            match store.facts().await {
                Ok(facts) => return facts,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, facts).await.unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_hubs_share_one_directory() {
    let Some(cluster) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    a_database_without_tables_is_refused(&cluster).await;
    one_replica_at_a_time_empties_the_outbox(&cluster).await;
    a_directory_moves_whole_and_both_ways(&cluster).await;
    // Last: from here on the server takes nothing but TLS.
    the_server_is_checked_when_it_is_asked_by_tls(&cluster).await;
}

async fn a_database_without_tables_is_refused(cluster: &Postgres) {
    let fresh = Fresh::postgres(cluster, "bare");
    let error = Store::open(fresh.database.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::NoTables), "{error:?}");
    assert!(error.to_string().contains("run `shuniu migrate`"), "{error}");
}

async fn one_replica_at_a_time_empties_the_outbox(cluster: &Postgres) {
    let fresh = Fresh::postgres(cluster, "outbox");
    let (one, two) = (fresh.open().await, fresh.open().await);
    one.outbox_add("first").await.unwrap();
    let mut claim = one.claim_outbox().await.unwrap().unwrap();
    assert!(two.claim_outbox().await.unwrap().is_none());
    let rows = claim.next(10).await.unwrap();
    claim.done(rows[0].id).await.unwrap();
    claim.release().await.unwrap();
    let claim = two.claim_outbox().await.unwrap().unwrap();
    // A replica that ends in between gives nothing back; its connection does.
    drop(claim);
    let again = async {
        loop {
            if let Some(claim) = one.claim_outbox().await.unwrap() {
                return claim;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap().release().await.unwrap();
}

async fn a_directory_moves_whole_and_both_ways(cluster: &Postgres) {
    let trial = Fresh::sqlite();
    let (from, to) = (trial.open().await, Fresh::postgres(cluster, "moved"));
    from.write(&changes(), &["one".into()]).await.unwrap();
    let topic = Change::Topic {
        resource: shuniu_model::ResourceName::parse("population").unwrap(),
        id: shuniu_model::TopicId([7; 16]),
    };
    from.write(&[Change::Grant(grant("g-1")), topic, revoke("ab")], &["two".into()]).await.unwrap();
    let mut claim = from.claim_outbox().await.unwrap().unwrap();
    let first = claim.next(1).await.unwrap()[0].id;
    claim.done(first).await.unwrap();
    claim.release().await.unwrap();
    let row = CheckpointRow { tree_size: 5, next_offset: 7, root: "aa".into(), note: "n".into() };
    assert!(from.swap_checkpoint(0, &row).await.unwrap());

    let target = to.open().await;
    let copied = target.copy_from(&from, "moved").await.unwrap();
    assert_eq!(copied.policy_version, from.policy_version().await.unwrap());
    assert_eq!(in_order(&from).await, in_order(&target).await);
    assert_eq!(target.checkpoint().await.unwrap(), Some(row.clone()));
    let drafts = target.outbox_next(10).await.unwrap();
    assert_eq!(drafts[0], from.outbox_next(10).await.unwrap()[0]);
    assert_eq!((drafts.len(), drafts[1].draft.as_str()), (2, "moved"));
    // Ids go on where they were.
    let next = |version| Change::SchemaVersion {
        resource: shuniu_model::ResourceName::parse("population").unwrap(),
        version,
        text: "{next}".into(),
    };
    target.write(&[next(2)], &["three".into()]).await.unwrap();
    assert_eq!(target.facts().await.unwrap().resources[0].versions[1].id, 2);
    assert!(target.outbox_next(10).await.unwrap()[2].id > drafts[1].id);

    // Not into what is in use, and then nothing is changed.
    let error = target.copy_from(&from, "again").await.unwrap_err();
    assert!(error.to_string().contains("in use already"), "{error}");
    assert_eq!(target.outbox_next(10).await.unwrap().len(), 3);

    // And back.
    let back = Fresh::sqlite();
    let back = back.open().await;
    back.copy_from(&target, "back").await.unwrap();
    assert_eq!(in_order(&back).await, in_order(&target).await);
    assert_eq!(back.checkpoint().await.unwrap(), Some(row));
    assert_eq!(back.outbox_next(10).await.unwrap()[..3], target.outbox_next(10).await.unwrap()[..]);
    back.write(&[next(3)], &["four".into()]).await.unwrap();

    // Into a file, from either; and in use again without giving anything out twice.
    let folder = tempfile::tempdir().unwrap();
    for (name, store) in [("postgresql", &target), ("sqlite", &back)] {
        let file = folder.path().join(name);
        store.copy_to_file(&file).await.unwrap();
        let copy = Store::open_file(&file).await.unwrap();
        assert_eq!(in_order(&copy).await, in_order(store).await);
        assert_eq!(copy.checkpoint().await.unwrap(), store.checkpoint().await.unwrap());
        assert_eq!(copy.outbox_next(10).await.unwrap(), store.outbox_next(10).await.unwrap());
        let before = copy.policy_version().await.unwrap();
        copy.pass_over(1_000, "restored").await.unwrap();
        assert_eq!(copy.policy_version().await.unwrap(), before + 1);
        assert_eq!(copy.outbox_next(10).await.unwrap().last().unwrap().draft, "restored");
        let last = copy.facts().await.unwrap().resources[0].versions.len();
        copy.write(&[next(u32::try_from(last).unwrap() + 1)], &["five".into()]).await.unwrap();
        assert!(copy.facts().await.unwrap().resources[0].versions[last].id > 1_000);
        copy.close().await;
        assert!(store.copy_to_file(&file).await.is_err(), "a file that is there is left alone");
    }
}

/// All facts, in an order that does not depend on the database.
async fn in_order(store: &Store) -> String {
    let mut facts = store.facts().await.unwrap();
    facts.systems.sort_by_key(|system| system.id.to_string());
    format!("{facts:?}")
}

async fn the_server_is_checked_when_it_is_asked_by_tls(cluster: &Postgres) {
    let plain = cluster.database("tls");
    let authority = cluster.with_tls();
    let open = |url: String| async move {
        let settings =
            DatabaseSettings { connect_max: Duration::from_secs(20), ..DatabaseSettings::default() };
        let database = Database::postgres(&url, settings).unwrap();
        Store::migrate(database).await
    };
    let good = format!("{plain}?sslmode=verify-full&sslrootcert={}", authority.display());
    let migrated = async {
        // The server reads its new settings in its own time.
        while open(good.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, migrated).await.unwrap();
    assert!(open(format!("{plain}?sslmode=disable")).await.is_err(), "without TLS");
    let stranger = open(format!("{plain}?sslmode=verify-full")).await.unwrap_err();
    assert!(format!("{stranger:?}").to_lowercase().contains("certificate"), "{stranger:?}");
    let named = good.replace("127.0.0.1", "localhost");
    assert!(open(named).await.is_err(), "the certificate is for another name");
}
