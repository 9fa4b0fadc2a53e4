//! Damage is told from a torn tail: the engine does not open, cuts nothing, and goes on only where a loss is accepted.

use std::fs;
use std::path::{Path, PathBuf};

use shuniu_engine::{Damage, EngineConfig, EngineError, Finding, Loss};
use shuniu_wire::messages::ResponseError;

use crate::crash::batch;
use crate::support::*;

/// A log of `batches` batches with two records each, closed.
async fn closed_log(folder: &Path, batches: i32, segment_bytes: &str) -> PathBuf {
    let hub = Hub::open(folder).await;
    // Nothing is dropped for its age: what the loss leaves has none.
    hub.create("t", 1, &[("segment.bytes", segment_bytes), ("retention.ms", "-1")]).await;
    for n in 0..batches {
        assert_eq!(hub.produce("t", 0, batch(1, 0, n)).await.base_offset, i64::from(n) * 2);
    }
    hub.engine.close().await;
    partition_folder(folder, "t", 0)
}

/// The log files, in order.
fn logs(partition: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs
}

fn base_of(log: &Path) -> i64 {
    log.file_name().unwrap().to_str().unwrap().split_once('-').unwrap().0.parse().unwrap()
}

/// The log has two records at each even offset; where the batch of this number begins in a file that begins with
/// batch `first`.
fn position_of(first: i32, number: i32) -> usize {
    (first..number).map(|n| batch(1, 0, n).len()).sum()
}

async fn refused(folder: &Path) -> Damage {
    let config = EngineConfig::new(folder.to_owned());
    let error = Hub::open_with(config, TestClock::new()).await.err().expect("the engine does not open");
    let EngineError::Damaged(damage) = error else { panic!("{error}") };
    *damage
}

async fn accept(folder: &Path, first: i64, last: i64) -> Result<(), EngineError> {
    Loss::check(&EngineConfig::new(folder.to_owned()), "t", 0, first, last).await?.accept()
}

/// Accepts the loss as it is named, and holds that nothing else is lost and no offset is given twice.
async fn accepted(folder: &Path, damage: &Damage, next: i64) {
    for (first, last) in
        [(damage.first + 1, damage.last), (damage.first - 1, damage.last), (damage.first, -1)]
    {
        let error = accept(folder, first, last).await.unwrap_err();
        assert!(matches!(error, EngineError::Loss { .. }), "{error}");
    }
    accept(folder, damage.first, damage.last).await.unwrap();
    let hub = Hub::open(folder).await;
    let start = hub.list_offset("t", 0, -2).await.1;
    let lost = damage.first..=damage.last;
    let kept: Vec<i64> = hub.records("t", 0, start).await.into_iter().map(|record| record.offset).collect();
    let expected: Vec<i64> = (start..next).filter(|offset| !lost.contains(offset)).collect();
    assert_eq!(kept, expected, "{damage}");
    let next = next.max(damage.last + 1);
    assert_eq!(hub.list_offset("t", 0, -1).await.1, next);
    let more = Batch::of(&["after the loss"]).bytes();
    assert_eq!(hub.produce("t", 0, more).await.base_offset, next);
    assert_eq!(hub.records("t", 0, start.max(damage.last)).await.last().unwrap().offset, next);
    hub.engine.close().await;
    drop(hub);
    let hub = Hub::open(folder).await;
    assert_eq!(hub.list_offset("t", 0, -1).await.1, next + 1);
    hub.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_changed_byte_in_the_active_segment_is_no_torn_tail() {
    // Of batch 1, and of the last: a byte of a record, of its offset, of its length (it then claims to end beyond the
    // file, as a torn one does), of its magic.
    for (number, at, value) in [1, 4]
        .into_iter()
        .flat_map(|number| [(70, 1), (7, 1), (6, 4), (9, 1), (16, 1)].map(|it| (number, it.0, it.1)))
    {
        let folder = tempfile::tempdir().unwrap();
        let partition = closed_log(folder.path(), 5, "1000000").await;
        let log = logs(&partition).remove(0);
        let position = position_of(0, number);
        let mut bytes = fs::read(&log).unwrap();
        bytes[position + at] ^= value;
        fs::write(&log, &bytes).unwrap();
        let damage = refused(folder.path()).await;
        assert_eq!((damage.finding, damage.position), (Finding::Broken, position as u64), "byte {at}");
        assert_eq!((damage.first, damage.last), (i64::from(number) * 2, 9));
        assert_eq!(fs::read(&log).unwrap(), bytes, "nothing is cut");
        accepted(folder.path(), &damage, i64::from(number) * 2).await;
        let aside = log.with_extension("log.damaged");
        assert_eq!(fs::read(aside).unwrap(), bytes, "the damaged file is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_where_the_mark_is_behind_whole_batches_beyond_a_bad_place_are_a_doubt() {
    for (number, at) in [(1, 70), (1, 7), (1, 9), (3, 70), (0, 16)] {
        let folder = tempfile::tempdir().unwrap();
        let partition = closed_log(folder.path(), 5, "1000000").await;
        // As a power failure may leave it: the records are there, and no note of how far.
        fs::remove_file(partition.join("durable")).unwrap();
        let log = logs(&partition).remove(0);
        let mut bytes = fs::read(&log).unwrap();
        bytes[position_of(0, number) + at] ^= 1;
        fs::write(&log, &bytes).unwrap();
        let damage = refused(folder.path()).await;
        assert_eq!(damage.finding, Finding::Doubtful);
        assert_eq!((damage.first, damage.last), (i64::from(number) * 2, 9));
        assert_eq!(fs::read(&log).unwrap(), bytes);
        accepted(folder.path(), &damage, i64::from(number) * 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_what_lies_beyond_a_torn_batch_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let partition = closed_log(folder.path(), 1, "1000000").await;
    let log = logs(&partition).remove(0);
    // The power went while two batches were on their way: the second reached the disk, the first did not. Nobody was
    // told of them, but the file does not show that: it could as well be damage, and a person decides.
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend(vec![0; batch(1, 0, 1).len()]);
    let mut beyond = Batch::of(&["never acknowledged"]).bytes().to_vec();
    beyond[..8].copy_from_slice(&4_i64.to_be_bytes());
    bytes.extend(beyond);
    fs::write(&log, &bytes).unwrap();
    let damage = refused(folder.path()).await;
    assert_eq!((damage.finding, damage.first, damage.last), (Finding::Doubtful, 2, 4));
    accepted(folder.path(), &damage, 2).await;
    // Without anything whole behind it, it is an unfinished write.
    let folder = tempfile::tempdir().unwrap();
    let partition = closed_log(folder.path(), 1, "1000000").await;
    let log = logs(&partition).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend(vec![0; 10_000]);
    fs::write(&log, &bytes).unwrap();
    for records in [2, 4] {
        let hub = Hub::open(folder.path()).await;
        assert_eq!(hub.records("t", 0, 0).await.len(), records);
        if records == 2 {
            assert_eq!(hub.produce("t", 0, batch(1, 0, 1)).await.base_offset, 2);
        }
        hub.engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_missing_segment_or_end_is_noticed() {
    for missing in ["first", "middle", "last", "all", "a batch", "all and the mark"] {
        let folder = tempfile::tempdir().unwrap();
        let partition = closed_log(folder.path(), 20, "1024").await;
        let logs = logs(&partition);
        assert!(logs.len() > 4);
        let (first, middle, last) = (&logs[0], &logs[2], logs.last().unwrap());
        let (lost, next) = match missing {
            "first" => ((0, base_of(&logs[1]) - 1), 40),
            "middle" => ((base_of(middle), base_of(&logs[3]) - 1), 40),
            "last" => ((base_of(last), 39), base_of(last)),
            "all" => ((0, 39), 0),
            "a batch" => ((38, 39), 38),
            _ => ((0, 0), 0),
        };
        match missing {
            "first" => fs::remove_file(first).unwrap(),
            "middle" => fs::remove_file(middle).unwrap(),
            "last" => fs::remove_file(last).unwrap(),
            "a batch" => {
                let bytes = fs::read(last).unwrap();
                fs::write(last, &bytes[..bytes.len() - batch(1, 0, 19).len()]).unwrap();
            }
            _ => {
                logs.iter().for_each(|log| fs::remove_file(log).unwrap());
                if missing != "all" {
                    fs::remove_file(partition.join("durable")).unwrap();
                }
            }
        }
        let damage = refused(folder.path()).await;
        assert_eq!((damage.first, damage.last), lost, "{missing}: {damage}");
        let finding = if matches!(missing, "last" | "a batch") { Finding::Short } else { Finding::Missing };
        assert_eq!(damage.finding, finding, "{missing}");
        accepted(folder.path(), &damage, next).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_damage_in_a_closed_segment_is_named_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let partition = closed_log(folder.path(), 20, "1024").await;
    let log = logs(&partition).remove(0);
    let next = base_of(&logs(&partition)[1]);
    let index = log.with_extension("index");
    fs::remove_file(&index).unwrap();
    // Without its index a sound segment is indexed anew.
    let hub = Hub::open(folder.path()).await;
    assert_eq!(hub.records("t", 0, 0).await.len(), 40);
    hub.engine.close().await;
    drop(hub);
    let sound = fs::read(&log).unwrap();
    // A byte of a record; the last byte of the second batch's offset, which no checksum covers.
    let second = batch(1, 0, 0).len();
    for (at, position) in [(70, 0), (second + 7, second as u64)] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&log, &bytes).unwrap();
        // With its index it is not read at the start. Nothing damaged leaves, and the rest is served.
        let hub = Hub::open(folder.path()).await;
        let offset = if position == 0 { 0 } else { 2 };
        let data = hub.fetch("t", 0, offset).await;
        assert_eq!(data.error_code, ResponseError::KafkaStorageError.code());
        assert_eq!(hub.records("t", 0, next).await.len() as i64, 40 - next);
        hub.engine.close().await;
        drop(hub);
        fs::remove_file(&index).unwrap();
        let damage = refused(folder.path()).await;
        assert_eq!((damage.finding, damage.position), (Finding::Broken, position));
        assert_eq!((damage.first, damage.last), (offset, next - 1));
        assert_eq!(fs::read(&log).unwrap(), bytes);
        fs::write(&log, &sound).unwrap();
        let hub = Hub::open(folder.path()).await;
        hub.engine.close().await;
    }
    // Cut at a batch's end, with an index that says more.
    fs::write(&log, &sound[..second]).unwrap();
    let damage = refused(folder.path()).await;
    assert_eq!((damage.finding, damage.first, damage.last), (Finding::Missing, 2, next - 1));
    accepted(folder.path(), &damage, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_the_log_does_not_show_is_accepted_from_its_end_on() {
    let folder = tempfile::tempdir().unwrap();
    closed_log(folder.path(), 3, "1000000").await;
    assert!(matches!(accept(folder.path(), 4, 9).await, Err(EngineError::Loss { .. })));
    accept(folder.path(), 6, 9).await.unwrap();
    let hub = Hub::open(folder.path()).await;
    assert_eq!(hub.records("t", 0, 0).await.len(), 6);
    assert_eq!(hub.list_offset("t", 0, -1).await.1, 10);
    let more = Batch::of(&["after the loss"]).bytes();
    assert_eq!(hub.produce("t", 0, more).await.base_offset, 10);
    hub.engine.close().await;
    let other = Loss::check(&EngineConfig::new(folder.path().to_owned()), "t", 1, 0, 9).await;
    assert!(matches!(other, Err(EngineError::Loss { .. })));
}

#[tokio::test]
async fn p4_logs_without_their_tables_refuse_to_open_and_no_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let log = logs(&closed_log(folder.path(), 3, "1048576").await).remove(0);
    let (tables, aside) = (folder.path().join("engine.db"), folder.path().join("aside"));
    let records = fs::read(&log).unwrap();
    fs::rename(&tables, &aside).unwrap();
    let other = tempfile::tempdir().unwrap();
    Hub::open(other.path()).await.engine.close().await;
    let without_topics = fs::read(other.path().join("engine.db")).unwrap();
    for tables_now in [None, Some(&[][..]), Some(&without_topics)] {
        if let Some(content) = tables_now {
            fs::write(&tables, content).unwrap();
        }
        let config = EngineConfig::new(folder.path().to_owned());
        let error = Hub::open_with(config, TestClock::new()).await.err().expect("the engine does not open");
        assert!(matches!(error, EngineError::TablesLost { .. }), "{error}");
        assert!(error.to_string().contains("engine.db"), "{error}");
        let error = accept(folder.path(), 0, 5).await.unwrap_err();
        assert!(matches!(error, EngineError::TablesLost { .. }), "{error}");
        assert_eq!(tables.exists(), tables_now.is_some(), "nothing is made");
    }
    assert_eq!(fs::read(&log).unwrap(), records);
    fs::rename(&aside, &tables).unwrap();
    let hub = Hub::open(folder.path()).await;
    assert_eq!(hub.produce("t", 0, batch(1, 0, 3)).await.base_offset, 6);
    hub.engine.close().await;
}
