//! What only the inside can be asked: a disk that fails to sync, index lookups, producers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use shuniu_model::Timestamp;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages::ResponseError;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::index::{Tally, entry_of, position_of_offset, position_of_time};
use super::partition::{LogContext, Partition, SettingsCell};
use super::producers::{Producers, Verdict};
use super::segment::{Segment, SegmentName};
use crate::EngineConfig;
use crate::epochs::Epochs;
use crate::header::Header;
use crate::settings::Settings;

fn partition(folder: &std::path::Path) -> Arc<Partition> {
    let context = LogContext {
        config: EngineConfig::new(folder.to_owned()),
        clock: Arc::new(|| Timestamp::from_micros(0)),
        tracker: TaskTracker::new(),
        maintenance: Notify::new(),
    };
    let settings = SettingsCell::new(Settings::new(std::collections::BTreeMap::new(), 1 << 20).unwrap());
    Partition::open(
        "t".into(),
        (0, Epochs::default()),
        folder,
        Arc::new(context),
        settings,
        super::open::Kept::Made,
    )
    .unwrap()
}

fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::Lz4);
    builder.push(&BuiltRecord { value: Some(value.as_bytes()), ..BuiltRecord::default() });
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_after_a_failed_sync_the_partition_refuses_until_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let log = partition(folder.path());
    assert_eq!(log.submit(batch("kept")).await.unwrap().unwrap().base_offset, 0);
    log.sync_fails.store(true, Ordering::Relaxed);
    let storage = ResponseError::KafkaStorageError;
    assert_eq!(log.submit(batch("doubtful")).await.unwrap().unwrap_err().code, storage);
    // The disk says yes again; what it says is not believed.
    log.sync_fails.store(false, Ordering::Relaxed);
    assert_eq!(log.submit(batch("later")).await.unwrap().unwrap_err().code, storage);
    assert_eq!(log.seen(|view| view.high_watermark()), 1, "nobody sees what is not durable");
    assert!(!log.read(0, 1 << 20, true).unwrap().is_empty());
    log.drain();
    drop(log);
    let log = partition(folder.path());
    assert_eq!(log.seen(|view| view.high_watermark()), 1);
    assert_eq!(log.submit(batch("again")).await.unwrap().unwrap().base_offset, 1);
}

/// Batches as compaction leaves them: gaps, any timestamps.
fn headers() -> impl Strategy<Value = Vec<Header>> {
    proptest::collection::vec((0..50_i64, 0..20_i32, 0..1_000_i64, 61..40_000_usize), 0..60).prop_map(
        |rows| {
            let mut next = 100;
            rows.into_iter()
                .map(|(gap, last_offset_delta, max_timestamp, bytes)| {
                    let base_offset = next + gap;
                    next = base_offset + i64::from(last_offset_delta) + 1;
                    Header {
                        base_offset,
                        bytes,
                        magic: 2,
                        crc: 0,
                        attributes: 0,
                        last_offset_delta,
                        base_timestamp: 0,
                        max_timestamp,
                        producer_id: -1,
                        producer_epoch: -1,
                        base_sequence: -1,
                        records: last_offset_delta + 1,
                    }
                })
                .collect()
        },
    )
}

proptest! {
    #[test]
    fn an_index_lookup_is_never_beyond_what_is_looked_for(headers in headers(), asked in 90..2_000_i64) {
        let folder = tempfile::tempdir().unwrap();
        let mut tally = Tally::new(100);
        let mut positions = Vec::new();
        for header in &headers {
            positions.push(tally.bytes);
            tally.push(header);
        }
        let name = SegmentName { base: 100, generation: 0 };
        std::fs::File::create(name.log(folder.path())).unwrap().set_len(tally.bytes).unwrap();
        let closed = Segment::close(name, folder.path(), &tally).unwrap();
        let loaded = Segment::load(name, folder.path()).unwrap().unwrap();
        prop_assert_eq!(loaded.bytes, tally.bytes);
        prop_assert_eq!(loaded.end, tally.end);
        let by = |wanted: &dyn Fn(&Header) -> bool| {
            headers.iter().position(wanted).map_or(tally.bytes, |at| positions[at])
        };
        let entries = &tally.entries;
        let delta = u64::try_from(asked - 100).unwrap_or(0);
        let found = position_of_offset(entries.len(), entry_of(entries), delta).unwrap();
        prop_assert!(found <= by(&|header| header.last_offset() >= asked));
        prop_assert!(found == 0 || positions.contains(&found));
        prop_assert_eq!(closed.position_of_offset(asked).unwrap(), found);
        prop_assert_eq!(loaded.position_of_offset(asked).unwrap(), found);
        let found = position_of_time(entries.len(), entry_of(entries), asked).unwrap();
        prop_assert!(found <= by(&|header| header.max_timestamp >= asked));
        prop_assert_eq!(loaded.position_of_time(asked).unwrap(), found);
    }
}

fn sequenced(id: i64, sequence: i32, records: i32) -> Header {
    Header {
        base_offset: 0,
        bytes: 100,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: id,
        producer_epoch: 0,
        base_sequence: sequence,
        records,
    }
}

#[test]
fn sequences_go_on_at_zero_after_the_largest() {
    let mut producers = Producers::default();
    let mut judge = |sequence, records, offset| {
        let mut changed = HashMap::new();
        let verdict = producers.judge(&mut changed, &sequenced(1, sequence, records), offset, 0, -1);
        producers.commit(changed, 10);
        verdict
    };
    assert_eq!(judge(i32::MAX - 1, 2, 0), Ok(Verdict::Append));
    assert_eq!(judge(1, 1, 2), Err(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(judge(0, 2, 2), Ok(Verdict::Append));
    assert_eq!(judge(2, 1, 4), Ok(Verdict::Append));
    assert_eq!(judge(i32::MAX - 1, 2, 5), Ok(Verdict::Repeated { first_offset: 0, append_time_ms: -1 }));
}

#[test]
fn producers_are_bounded_and_the_ones_silent_longest_are_forgotten() {
    let mut producers = Producers::default();
    for id in 0..1_000 {
        let mut changed = HashMap::new();
        producers.judge(&mut changed, &sequenced(id, 0, 1), id, id, -1).unwrap();
        producers.commit(changed, 100);
        assert!(producers.last_offsets().len() <= 100);
    }
    assert!(producers.last_offsets().contains_key(&999));
    producers.expire(1_050, Duration::from_millis(100));
    assert!(producers.last_offsets().keys().all(|id| *id >= 950));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("producers");
    producers.write(&path).unwrap();
    assert_eq!(Producers::read(&path).unwrap().unwrap().last_offsets(), producers.last_offsets());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(Producers::read(&path).unwrap().is_none(), "a damaged snapshot does not count");
}
