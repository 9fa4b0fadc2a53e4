//! A hub is backed up while it runs, lost, and restored.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use shuniu_tests::{Hub, Postgres, Publisher, SmallDisk, citizen, person};

use crate::connectors::{describe, divisions, query, run};
use crate::objects::ObjectServer;
use crate::{consume, producer, publish};

/// What a restore passes over.
const PASSED_OVER: i64 = 1 << 30;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn backup(hub: &Hub, folder: &Path) -> String {
    hub.run(&["backup", text(folder), "--config", text(&hub.folder().join("hub.toml"))])
}

/// The hub's machine is lost; what was in its data folder is in `old`.
fn lose(hub: &mut Hub, old: &Path) {
    hub.kill();
    std::fs::rename(hub.folder(), old).unwrap();
}

fn restore(hub: &Hub, folder: &Path, more: &[&str]) -> String {
    let arguments = [&["restore", text(folder), "--into", text(hub.folder())], more].concat();
    let output = Hub::apart(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs what must fail; gives what it says.
fn refused(arguments: &[&str]) -> String {
    let output = Hub::apart(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn verify_since(hub: &Hub, checkpoint: &Path) -> std::process::Output {
    let audit = hub.folder().join("audit");
    Hub::apart(&["audit", "verify", text(&audit), "--since", text(checkpoint)])
}

#[test]
fn p4_a_backup_made_beside_publishing_is_restored_whole_and_no_offset_comes_again() {
    let mut hub = Hub::start();
    let outside = tempfile::tempdir().unwrap();
    let (folder, old) = (outside.path().join("backup"), outside.path().join("old"));
    let publisher = Publisher::new(&hub);
    (0..400).for_each(|n| publisher.publish(n));
    publisher.flush(Duration::from_secs(60));
    let committed = read_and_commit(&hub);
    let pseudonyms: BTreeSet<String> =
        consume(&hub, "bank-supervisor", "population", "before").into_keys().collect();

    let making = std::thread::scope(|scope| {
        let making = scope.spawn(|| backup(&hub, &folder));
        let mut n = 400;
        while !making.is_finished() {
            publisher.publish(n);
            n += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        making.join().unwrap()
    });
    assert!(making.contains("audit log"), "{making}");
    // Acknowledged behind the backup, and lost.
    (900_000..900_100).for_each(|n| publisher.publish(n));
    let acknowledged = publisher.finish(Duration::from_secs(60));
    let ends: Vec<i64> = (0..4).map(|partition| high(&hub, partition)).collect();
    // A consumer that has seen what is lost, and stays.
    let live = member(&hub, "live");
    read_to_the_end(&live, &[0; 4]);
    hub.recorded(&["--action", "administered"], &["a backup is made, with keys"]);
    lose(&mut hub, &old);

    let checked = Hub::apart(&["backup", "--check", text(&folder)]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let told = restore(&hub, &folder, &[]);
    assert!(told.contains("Later entries are lost"), "{told}");
    hub.restart();
    let got = consume(&hub, "hall-yuzhong", "population", "check");
    let missed: Vec<_> = (0..400).map(citizen).filter(|key| !got.contains_key(key)).collect();
    assert!(missed.is_empty(), "what was acknowledged before the backup: {missed:?}");
    let invented: Vec<_> = got.keys().filter(|key| !acknowledged.contains_key(*key)).collect();
    assert!(invented.is_empty(), "{invented:?}");
    assert!(!got.contains_key(&citizen(900_000)));
    // Keys and grants are the same.
    let now: BTreeSet<String> = consume(&hub, "bank-supervisor", "population", "after").into_keys().collect();
    assert!(pseudonyms.len() == 400 && now.is_superset(&pseudonyms));
    // The group goes on where it was.
    assert_eq!(commits(&hub), committed);
    let next = read_to_the_end(&member(&hub, "kept"), &committed);
    assert_eq!(next + 400, got.len(), "what came behind the commit, once");
    // What was given out is given to nothing else.
    let schema = hub.schema_id("population-register", "population");
    let key = citizen(7_777);
    publish(&producer(&hub), &key, Some(&person(schema, &key, "张三", "500103")), b"");
    for (partition, end) in (0..4).zip(ends) {
        let now = high(&hub, partition);
        assert!(now >= PASSED_OVER && now > end, "partition {partition}: {now} {end}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(
            Instant::now() < deadline,
            "who was further hears of nothing that comes since\n{}",
            hub.log()
        );
        // A hub that was away is an error that passes.
        if let Some(Ok(message)) = live.poll(Duration::from_secs(1))
            && message.key() == Some(key.as_bytes())
        {
            break;
        }
    }
    drop(live);
    hub.recorded(&["--action", "administered"], &["restored from the backup of", "hub"]);
    hub.verify();
    // A clean stop, and all of it holds as after any other.
    hub.stop();
    hub.restart();
    assert!(consume(&hub, "hall-yuzhong", "population", "again").contains_key(&key));
    hub.verify();
}

/// Reads all of `population` as a member of the group `kept`, and commits; what was committed, by partition.
fn read_and_commit(hub: &Hub) -> Vec<i64> {
    let consumer = member(hub, "kept");
    assert_eq!(read_to_the_end(&consumer, &[0; 4]), 400);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(consumer);
    commits(hub)
}

fn member(hub: &Hub, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = hub
        .client("hall-yuzhong")
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    consumer.subscribe(&["population"]).unwrap();
    consumer
}

/// How many records there are to the end of each partition, none of which is before `from`.
fn read_to_the_end(consumer: &BaseConsumer, from: &[i64]) -> usize {
    let (mut read, mut ended) = (0, BTreeSet::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while ended.len() < from.len() {
        assert!(Instant::now() < deadline, "{ended:?} of the partitions ended, {read} records");
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(message) => {
                let message = message.unwrap();
                let first = from[usize::try_from(message.partition()).unwrap()];
                assert!(message.offset() >= first, "{} {}", message.partition(), message.offset());
                read += 1;
            }
        }
    }
    read
}

fn commits(hub: &Hub) -> Vec<i64> {
    let consumer = member(hub, "kept");
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition("population", partition);
    }
    let offsets = consumer.committed_offsets(list, Duration::from_secs(20)).unwrap();
    let offset = |partition| match offsets.find_partition("population", partition).unwrap().offset() {
        Offset::Offset(offset) => offset,
        other => panic!("{other:?}"),
    };
    (0..4).map(offset).collect()
}

fn high(hub: &Hub, partition: i32) -> i64 {
    let consumer: BaseConsumer = hub.client("hall-yuzhong").create().unwrap();
    consumer.fetch_watermarks("population", partition, Duration::from_secs(20)).unwrap().1
}

#[test]
fn p5_with_newer_tiles_a_restored_log_goes_on_whole_and_without_them_an_auditor_sees_the_cut() {
    let mut hub = Hub::start();
    let outside = tempfile::tempdir().unwrap();
    let (folder, old) = (outside.path().join("backup"), outside.path().join("old"));
    let schema = hub.schema_id("population-register", "population");
    let put = |hub: &Hub, n: u32| {
        let key = citizen(n);
        publish(&producer(hub), &key, Some(&person(schema, &key, "张三", "500103")), b"");
    };
    put(&hub, 0);
    backup(&hub, &folder);
    // Behind the backup: records, and a grant that is revoked.
    (1..5).for_each(|n| put(&hub, n));
    let directory = std::fs::read_to_string(hub.folder().join("directory.toml")).unwrap();
    let grant = "id = \"jiangbei-population\"";
    assert!(directory.contains(grant));
    hub.apply(&directory.replace(grant, &format!("{grant}\nstate = \"revoked\"")));
    hub.recorded(&["--action", "revoked"], &["jiangbei-population"]);
    hub.stop();
    let later = outside.path().join("later");
    std::fs::copy(hub.folder().join("audit/checkpoint"), &later).unwrap();
    lose(&mut hub, &old);

    // Without them.
    let told = restore(&hub, &folder, &[]);
    assert!(told.contains("Later entries are lost"), "{told}");
    hub.restart();
    hub.verify();
    let seen = verify_since(&hub, &later);
    let seen = (seen.status.success(), String::from_utf8_lossy(&seen.stderr).into_owned());
    assert!(!seen.0, "{}", seen.1);
    // And once it is as long as it was.
    (10..40).for_each(|n| put(&hub, n));
    hub.stop();
    let seen = verify_since(&hub, &later);
    assert!(!seen.status.success(), "{}", String::from_utf8_lossy(&seen.stdout));

    // With them.
    std::fs::remove_dir_all(hub.folder()).unwrap();
    let told = restore(&hub, &folder, &["--audit", text(&old.join("audit"))]);
    assert!(told.contains("that were kept"), "{told}");
    assert!(told.contains("jiangbei-population"), "what the directory lacks is named: {told}");
    let shown = std::fs::read_to_string(hub.folder().join("audit/checkpoint")).unwrap();
    assert_eq!(shown, std::fs::read_to_string(&later).unwrap(), "none is shown that is smaller");
    hub.restart();
    put(&hub, 50);
    hub.recorded(&["--action", "administered"], &["restored from the backup of"]);
    hub.stop();
    hub.verify();
    let seen = verify_since(&hub, &later);
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    // Its records are the backup's, and the log says what was there.
    hub.restart();
    let got = consume(&hub, "hall-yuzhong", "population", "check");
    assert_eq!(got.into_keys().collect::<Vec<_>>(), [citizen(0), citizen(50)]);
}

#[test]
fn a_backup_that_is_not_as_it_was_made_is_refused_and_what_is_wrong_is_named() {
    let hub = Hub::start();
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("backup");
    backup(&hub, &folder);
    for name in ["", "data", "data/keys", "data/keys/audit-signing", "data/directory.db", "manifest.json"] {
        let mode = folder.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let again = hub.command(&["backup", text(&folder)]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    let into = outside.path().join("data");
    let restore = ["restore", text(&folder), "--into", text(&into)];
    let check = ["backup", "--check", text(&folder)];
    for name in ["data/directory.db", "data/audit/checkpoint", "data/keys/audit-signing", "hub.toml"] {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        for arguments in [&restore[..], &check] {
            let told = refused(arguments);
            assert!(told.contains(name) && told.contains("not as it was written"), "{told}");
        }
        std::fs::remove_file(&path).unwrap();
        let told = refused(&restore);
        assert!(told.contains(name) && told.contains("missing"), "{told}");
        std::fs::write(&path, &whole).unwrap();
    }
    // The manifest itself, and a backup that was broken off: it is written last.
    let manifest = folder.join("manifest.json");
    let whole = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, whole.replacen("\"tree_size\": ", "\"tree_size\": 1", 1)).unwrap();
    assert!(refused(&restore).contains("manifest.json"));
    std::fs::remove_file(&manifest).unwrap();
    let told = refused(&restore);
    assert!(told.contains("no whole backup"), "{told}");
    std::fs::write(&manifest, &whole).unwrap();
    std::fs::write(folder.join("data/keys/stranger"), "x").unwrap();
    assert!(refused(&restore).contains("data/keys/stranger"));
    std::fs::remove_file(folder.join("data/keys/stranger")).unwrap();
    assert!(Hub::apart(&check).status.success());
    // A folder with something in it is left alone, and so is nothing left of what was refused.
    std::fs::create_dir(&into).unwrap();
    std::fs::write(into.join("mine"), "x").unwrap();
    let told = refused(&restore);
    assert!(told.contains("is not empty"), "{told}");
    std::fs::remove_file(into.join("mine")).unwrap();
    let left: Vec<PathBuf> =
        std::fs::read_dir(outside.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(Hub::apart(&restore).status.success());

    // Without secrets, and what is left out is named.
    let bare = outside.path().join("bare");
    let told = hub.run(&["backup", text(&bare), "--without-keys"]);
    for secret in ["keys/audit-signing", "ca/ca.key", "ca/hub.key", "ca/systems/hall-yuzhong.key"] {
        assert!(told.contains(&format!("left out    {secret}")), "{told}");
        assert!(!bare.join("data").join(secret).exists());
        assert!(folder.join("data").join(secret).exists());
    }
    assert!(bare.join("data/ca/hub.pem").exists());
}

#[test]
fn a_full_disk_leaves_nothing_of_a_backup() {
    let Some(place) = SmallDisk::new("600k") else { return };
    let hub = Hub::start();
    let publisher = Publisher::new(&hub);
    (0..6_000).for_each(|n| publisher.publish(n));
    drop(publisher.finish(Duration::from_secs(60)));
    let output = hub.command(&["backup", text(&place.path().join("backup"))]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let left = std::fs::read_dir(place.path()).unwrap().count();
    assert!(!output.status.success());
    assert!(told.contains("what to do: the disk is full"), "{told}");
    assert_eq!(left, 0, "{told}");
    // The hub does not mind.
    assert!(consume(&hub, "hall-yuzhong", "population", "check").len() == 6_000);
}

#[test]
fn p4_after_a_restore_connectors_bring_the_newest_state_back_and_tables_keep_nothing_that_is_gone() {
    let mut hub = Hub::start();
    let outside = tempfile::tempdir().unwrap();
    let (folder, old) = (outside.path().join("backup"), outside.path().join("old"));
    let place = outside.path().join("department");
    std::fs::create_dir(&place).unwrap();
    describe(&hub, &place);
    let (source, sink) = (place.join("source.toml"), place.join("sink.toml"));
    divisions(&place, 0..100);
    run(&hub, text(&source), &[]);
    backup(&hub, &folder);
    // Behind the backup: 10 more, and one is gone.
    divisions(&place, 1..110);
    run(&hub, text(&source), &[]);
    run(&hub, text(&sink), &[]);
    let rows = "SELECT count(*) || ' ' || min(code) || ' ' || max(code) FROM division";
    assert_eq!(query(&place, rows), "109 500100001 500100109");
    lose(&mut hub, &old);
    restore(&hub, &folder, &[]);
    hub.restart();
    // A row that went at the source before it could be sent again.
    divisions(&place, 1..109);
    run(&hub, text(&source), &[]);
    let got = consume(&hub, "hall-yuzhong", "division", "check");
    let live = got.values().filter(|records| records.last().unwrap().is_some()).count();
    assert_eq!(live, 108, "what was sent behind the backup is there again");
    run(&hub, text(&sink), &[]);
    assert_eq!(query(&place, rows), "108 500100001 500100108");
    // Once is enough.
    let before: i64 = (0..4).map(|partition| high_of(&hub, "division", partition)).sum();
    run(&hub, text(&source), &[]);
    assert_eq!((0..4).map(|partition| high_of(&hub, "division", partition)).sum::<i64>(), before);
    let told = run(&hub, text(&sink), &[]);
    assert!(!told.contains("restored"), "{told}");
    hub.stop();
    hub.verify();
}

fn high_of(hub: &Hub, topic: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer = hub.client("hall-yuzhong").create().unwrap();
    consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).map_or(0, |marks| marks.1)
}

#[test]
fn a_directory_in_postgresql_is_in_the_backup_and_is_restored_into_a_new_database() {
    let Some(postgres) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    let mut hub = Hub::start();
    let outside = tempfile::tempdir().unwrap();
    let (folder, old) = (outside.path().join("backup"), outside.path().join("old"));
    let schema = hub.schema_id("population-register", "population");
    publish(&producer(&hub), &citizen(0), Some(&person(schema, &citizen(0), "张三", "500103")), b"");
    hub.stop();
    let url = |name: &str| {
        let file = outside.path().join(name);
        std::fs::write(&file, postgres.database(name)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("[directory]\nstore = \"postgresql\"\nurl_file = \"{}\"\n", file.display())
    };
    let config = hub.folder().join("hub.toml");
    let trial = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{trial}{}", url("first"))).unwrap();
    let directory = hub.folder().join("directory.db");
    hub.run(&["migrate", "--config", text(&config), "--from", text(&directory)]);
    hub.restart();
    publish(&producer(&hub), &citizen(1), Some(&person(schema, &citizen(1), "张三", "500103")), b"");
    let told = backup(&hub, &folder);
    assert!(
        told.contains("not in it") && told.contains("first"),
        "the connection string is elsewhere: {told}"
    );
    lose(&mut hub, &old);
    // The database is still in use, so a restore leaves it alone.
    let arguments = ["restore", text(&folder), "--into", text(hub.folder())];
    assert!(refused(&arguments).contains("in use already"));
    let other = outside.path().join("other.toml");
    std::fs::write(&other, format!("{trial}{}", url("second"))).unwrap();
    restore(&hub, &folder, &["--config", text(&other)]);
    assert!(!hub.folder().join("directory.db").exists());
    hub.restart();
    assert_eq!(hub.schema_id("population-register", "population"), schema);
    let got = consume(&hub, "hall-yuzhong", "population", "check");
    assert_eq!(got.into_keys().collect::<Vec<_>>(), [citizen(0), citizen(1)]);
    hub.stop();
    hub.verify();

    // The machine is lost and the database is not.
    std::fs::remove_dir_all(hub.folder()).unwrap();
    restore(&hub, &folder, &["--config", text(&other), "--keep-directory"]);
    hub.restart();
    assert_eq!(consume(&hub, "hall-yuzhong", "population", "kept").len(), 2);
    hub.stop();
    hub.verify();
}

#[test]
fn p5_tiles_in_an_object_store_are_gone_on_with_and_brought_back_where_it_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(ObjectServer::start());
    let mut hub = Hub::prepare(tempfile::tempdir().unwrap());
    let outside = tempfile::tempdir().unwrap();
    let (folder, config) = (outside.path().join("backup"), hub.folder().join("hub.toml"));
    for (name, secret) in [("s3-key-id", "hub"), ("s3-secret", "geheim")] {
        let file = outside.path().join(name);
        std::fs::write(&file, secret).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let trial = std::fs::read_to_string(&config).unwrap();
    let on = |store: &ObjectServer| {
        format!(
            "{trial}[audit]\ntiles = \"s3\"\n[audit.s3]\nendpoint = \"http://{}\"\nregion = \"cn-west\"\n\
             bucket = \"tiles\"\nprefix = \"hub/audit\"\nkey_id_file = \"{}\"\nsecret_file = \"{}\"\n",
            store.address,
            outside.path().join("s3-key-id").display(),
            outside.path().join("s3-secret").display()
        )
    };
    std::fs::write(&config, on(&store)).unwrap();
    hub.restart();
    let schema = hub.schema_id("population-register", "population");
    let put = |hub: &Hub, n: u32| {
        let key = citizen(n);
        publish(&producer(hub), &key, Some(&person(schema, &key, "张三", "500103")), b"");
    };
    put(&hub, 0);
    backup(&hub, &folder);
    assert!(Hub::apart(&["backup", "--check", text(&folder)]).status.success());
    put(&hub, 1);
    hub.stop();
    let later = outside.path().join("later");
    std::fs::copy(store.file("hub/audit/checkpoint"), &later).unwrap();
    lose(&mut hub, &outside.path().join("old"));
    let verified = || {
        let whole = Hub::apart(&["audit", "verify", "--config", text(&config)]);
        assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
        Hub::apart(&["audit", "verify", "--config", text(&config), "--since", text(&later)])
    };

    // The store outlived the hub: nothing of the log is lost, and nobody had to say where the tiles are.
    let told = restore(&hub, &folder, &[]);
    assert!(told.contains("that were kept"), "{told}");
    hub.restart();
    put(&hub, 2);
    hub.stop();
    let since = verified();
    assert!(since.status.success(), "{}", String::from_utf8_lossy(&since.stderr));

    // Both are lost: the backup's tiles are put into another store.
    let other = runtime.block_on(ObjectServer::start());
    let other_config = outside.path().join("other.toml");
    std::fs::write(&other_config, on(&other)).unwrap();
    std::fs::remove_dir_all(hub.folder()).unwrap();
    let told = restore(&hub, &folder, &["--config", text(&other_config)]);
    assert!(told.contains("Later entries are lost"), "{told}");
    hub.restart();
    put(&hub, 3);
    hub.stop();
    assert!(!verified().status.success(), "the cut is seen");
}
