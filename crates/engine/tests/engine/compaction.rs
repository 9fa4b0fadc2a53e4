//! Compaction, tombstones, retention, offsets by time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use shuniu_engine::EngineConfig;
use shuniu_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use shuniu_wire::messages::*;

use crate::support::*;

const DAY_MS: i64 = 86_400_000;

async fn alter(hub: &Hub, name: &str, value: &str) {
    let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = hub.call(request).await;
    assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
}

/// Lets maintenance look at the clock again, and waits until `holds`.
async fn until(hub: &Hub, mut holds: impl AsyncFnMut(&Hub) -> bool) {
    let begun = Instant::now();
    loop {
        alter(hub, "segment.ms", "100000000000").await;
        if holds(hub).await {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "maintenance does not do it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where the active segment begins.
fn active_base(folder: &Path) -> i64 {
    let names =
        std::fs::read_dir(partition_folder(folder, "t", 0)).unwrap().map(|entry| entry.unwrap().file_name());
    let base =
        |name: std::ffi::OsString| name.to_str()?.strip_suffix(".log")?.split('-').next()?.parse().ok();
    names.filter_map(base).max().unwrap()
}

/// Waits until all that may be compacted is: the note of it is written last.
async fn compacted(hub: &Hub, folder: &Path) {
    let note = partition_folder(folder, "t", 0).join("compacted");
    let done = || std::fs::read_to_string(&note).ok().and_then(|text| text.parse::<i64>().ok());
    until(hub, async |_: &Hub| done().is_some_and(|to| to >= active_base(folder))).await;
    assert!(hub.records("t", 0, 0).await.len() < 60);
}

fn told(records: &[Record]) -> BTreeMap<i64, (String, Option<String>)> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    records
        .iter()
        .map(|record| (record.offset, (text(record.key.as_ref().unwrap()), record.value.as_ref().map(text))))
        .collect()
}

/// 60 batches of three records on ten keys, and what a reader that reads all must hold at the end.
async fn fill(hub: &Hub) -> BTreeMap<String, (i64, Option<String>)> {
    let mut latest = BTreeMap::new();
    for n in 0..60_i64 {
        let keys: Vec<String> = (0..3).map(|k| format!("k{}", (n * 7 + k * 3) % 10)).collect();
        let values: Vec<Option<String>> =
            (0..3).map(|k| ((n + k) % 5 != 0).then(|| format!("v{n}-{k}"))).collect();
        let records: Vec<(&str, Option<&str>)> =
            keys.iter().zip(&values).map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let answer = hub.produce("t", 0, Batch::keyed(&records).at(hub.clock.now_ms()).bytes()).await;
        for (k, (key, value)) in (0..).zip(keys.into_iter().zip(values)) {
            latest.insert(key, (answer.base_offset + k, value));
        }
        hub.clock.advance_ms(1);
    }
    latest
}

async fn compacting(folder: &Path, keys_max: usize) -> Hub {
    let mut config = EngineConfig::new(folder.to_owned());
    config.compaction_keys_max = keys_max;
    config.producer_idle_max = Duration::from_hours(10_000);
    let hub = Hub::open_with(config, TestClock::new()).await.unwrap();
    let week = (7 * DAY_MS).to_string();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1024"),
        ("segment.ms", "100000000000"),
        ("min.compaction.lag.ms", week.as_str()),
        ("delete.retention.ms", week.as_str()),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    hub.create("t", 1, &settings).await;
    hub
}

async fn compacts(keys_max: usize) {
    let folder = tempfile::tempdir().unwrap();
    let hub = compacting(folder.path(), keys_max).await;
    let latest = fill(&hub).await;
    let before = told(&hub.records("t", 0, 0).await);
    assert_eq!(before.len(), 180);
    // Nothing goes before its time.
    alter(&hub, "segment.ms", "100000000000").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(told(&hub.records("t", 0, 0).await), before);

    hub.clock.advance_ms(7 * DAY_MS);
    compacted(&hub, folder.path()).await;
    let check = async |hub: &Hub| {
        let after = told(&hub.records("t", 0, 0).await);
        assert!(after.iter().all(|(offset, record)| before.get(offset) == Some(record)), "same offsets");
        let mut seen = BTreeMap::new();
        for (offset, (key, value)) in after {
            seen.insert(key, (offset, value));
        }
        assert_eq!(seen, latest, "the latest of each key, tombstones too");
        // Reading begins anywhere, also in a gap.
        let end = hub.fetch("t", 0, 180).await;
        assert_eq!((end.error_code, end.high_watermark), (0, 180));
        for from in 0..180 {
            let records = hub.fetch("t", 0, from).await.records.unwrap();
            assert!(decode(&records).1.unwrap() > from, "{from} is got past");
        }
    };
    check(&hub).await;
    hub.engine.close().await;
    let clock = hub.clock.clone();
    drop(hub);
    let mut config = EngineConfig::new(folder.path().to_owned());
    config.compaction_keys_max = keys_max;
    let hub = Hub::open_with(config, clock).await.unwrap();
    check(&hub).await;
    assert_eq!(hub.produce("t", 0, Batch::keyed(&[("k", Some("v"))]).bytes()).await.base_offset, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_the_latest_of_each_key_at_its_offset() {
    compacts(1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_with_little_memory_takes_more_passes_to_the_same_end() {
    compacts(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_crash_while_compacted_files_replace_others_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hub = compacting(folder.path(), 1_000_000).await;
    fill(&hub).await;
    let partition = partition_folder(folder.path(), "t", 0);
    let files = || -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        let paths = std::fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path());
        paths.filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
    };
    let before = files();
    hub.clock.advance_ms(7 * DAY_MS);
    compacted(&hub, folder.path()).await;
    let expected = told(&hub.records("t", 0, 0).await);
    let clock = hub.clock.clone();
    hub.engine.close().await;
    drop(hub);
    // As if what was replaced had not been removed yet, the note not been written, a file been left half-made.
    for (path, bytes) in &before {
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
    std::fs::remove_file(partition.join("compacted")).unwrap();
    std::fs::write(partition.join("00000000000000000000-9.log.new"), b"half").unwrap();
    let hub = Hub::open_with(EngineConfig::new(folder.path().to_owned()), clock).await.unwrap();
    assert_eq!(told(&hub.records("t", 0, 0).await), expected);
    compacted(&hub, folder.path()).await;
    assert_eq!(told(&hub.records("t", 0, 0).await), expected);
    let left = files();
    assert!(
        left.keys().filter(|path| path.extension().is_some_and(|e| e == "log")).count() <= 6,
        "{:?}",
        left.keys()
    );
    assert!(!left.keys().any(|path| path.extension().is_some_and(|extension| extension == "new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_go_after_their_retention_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let hub = compacting(folder.path(), 1_000_000).await;
    let latest = fill(&hub).await;
    let base = active_base(folder.path());
    let dead = async |hub: &Hub| {
        let records = hub.records("t", 0, 0).await;
        records.iter().filter(|record| record.offset < base && record.value.is_none()).count()
    };
    hub.clock.advance_ms(7 * DAY_MS);
    compacted(&hub, folder.path()).await;
    let kept = dead(&hub).await;
    assert!(kept > 0, "the data has tombstones: {latest:?}");
    hub.clock.advance_ms(7 * DAY_MS - 1_000);
    alter(&hub, "segment.ms", "100000000000").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(dead(&hub).await, kept);
    hub.clock.advance_ms(2_000);
    until(&hub, async |hub: &Hub| dead(hub).await == 0).await;
    let after = hub.records("t", 0, 0).await;
    for (key, (offset, value)) in latest {
        let found = after.iter().any(|record| record.offset == offset);
        assert!(found || value.is_none(), "{key} lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_compaction_does_not_make_a_producer_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let hub = compacting(folder.path(), 1_000_000).await;
    let id = hub.producer_id().await;
    let mine = Batch::keyed(&[("k", Some("first"))]).by(id, 0, 0).bytes();
    assert_eq!(hub.produce("t", 0, mine.clone()).await.base_offset, 0);
    fill(&hub).await;
    hub.produce("t", 0, Batch::keyed(&[("k", Some("later"))]).bytes()).await;
    fill(&hub).await;
    hub.clock.advance_ms(7 * DAY_MS);
    compacted(&hub, folder.path()).await;
    assert_eq!(hub.records("t", 0, 0).await.iter().filter(|record| record.offset == 0).count(), 0);
    let clock = hub.clock.clone();
    hub.engine.close().await;
    drop(hub);
    // Without snapshots: the state comes from the batches alone.
    for entry in std::fs::read_dir(partition_folder(folder.path(), "t", 0)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "producers") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let hub = Hub::open_with(EngineConfig::new(folder.path().to_owned()), clock).await.unwrap();
    assert_eq!(hub.produce("t", 0, mine).await.base_offset, 0, "it was here");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_are_dropped_by_age_and_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    let day = DAY_MS.to_string();
    hub.create("t", 1, &[("retention.ms", &day), ("segment.bytes", "1024")]).await;
    fill(&hub).await;
    assert_eq!(hub.list_offset("t", 0, -2).await.1, 0);
    alter(&hub, "retention.bytes", "3000").await;
    until(&hub, async |hub: &Hub| hub.list_offset("t", 0, -2).await.1 > 0).await;
    let start = hub.list_offset("t", 0, -2).await.1;
    assert_eq!(hub.records("t", 0, start).await.first().unwrap().offset, start);
    assert_eq!(hub.fetch("t", 0, start - 1).await.error_code, ResponseError::OffsetOutOfRange.code());
    hub.clock.advance_ms(DAY_MS + 1);
    until(&hub, async |hub: &Hub| hub.list_offset("t", 0, -2).await.1 == 180).await;
    assert_eq!(hub.list_offset("t", 0, -1).await.1, 180, "offsets go on");
    hub.engine.close().await;
    let clock = hub.clock.clone();
    drop(hub);
    let hub = Hub::open_with(EngineConfig::new(folder.path().to_owned()), clock).await.unwrap();
    assert_eq!(hub.produce("t", 0, Batch::of(&["x"]).bytes()).await.base_offset, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_to_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("segment.bytes", "1024"), ("retention.ms", "-1")]).await;
    assert_eq!(hub.list_offset("t", 0, -3).await, (0, -1, -1));
    let mut times = Vec::new();
    for n in 0..100_i64 {
        let mut batch = Batch::of(&["a", "b", "c"]).at(START_MS + n * 10);
        // Out of order within the batch, and one batch from the future.
        let ahead = if n == 40 { 100_000 } else { 0 };
        batch.records[1].0 = 5 + ahead;
        batch.records[2].0 = 3;
        times.extend([START_MS + n * 10, START_MS + n * 10 + 5 + ahead, START_MS + n * 10 + 3]);
        hub.produce("t", 0, batch.bytes()).await;
    }
    for asked in (START_MS - 5..START_MS + 1_010).chain([START_MS + 100_405, START_MS + 100_406]) {
        let expected = times.iter().position(|time| *time >= asked);
        let expected = expected.map_or((0, -1, -1), |at| (0, at as i64, times[at]));
        assert_eq!(hub.list_offset("t", 0, asked).await, expected, "{}", asked - START_MS);
    }
    assert_eq!(hub.list_offset("t", 0, -3).await, (0, 121, START_MS + 100_405));
    assert_eq!((hub.list_offset("t", 0, -1).await.1, hub.list_offset("t", 0, -2).await.1), (300, 0));
    assert_eq!(hub.list_offset("t", 9, -1).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_states_no_time_is_found_by_the_times_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("segment.bytes", "1024"), ("retention.ms", "-1")]).await;
    for n in 0..40_i64 {
        let mut batch = Batch { states_no_time: true, ..Batch::of(&["a", "b"]).at(START_MS + n * 10) };
        batch.records[0].0 = 5;
        hub.produce("t", 0, batch.bytes()).await;
    }
    // Here no record has a time either.
    let timeless = Batch { states_no_time: true, ..Batch::of(&["a"]).at(-1) };
    hub.produce("t", 0, timeless.bytes()).await;
    for _ in 0..2 {
        for n in 0..40_i64 {
            let asked = START_MS + n * 10 + 1;
            assert_eq!(hub.list_offset("t", 0, asked).await, (0, n * 2, START_MS + n * 10 + 5), "{n}");
        }
        assert_eq!(hub.list_offset("t", 0, START_MS + 396).await, (0, -1, -1));
        assert_eq!(hub.list_offset("t", 0, -3).await, (0, 78, START_MS + 395));
        let last = hub.fetch("t", 0, 80).await.records.unwrap();
        assert_eq!(last[35..43], (-1_i64).to_be_bytes(), "nothing is invented");
        hub.engine.close().await;
        drop(hub);
        hub = Hub::open(folder.path()).await;
    }
}
