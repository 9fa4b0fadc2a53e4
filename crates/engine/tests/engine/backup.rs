//! A folder is copied while it is used, and what was lost after the copy is given to nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use shuniu_engine::{EngineConfig, copy_records, skip_ahead};
use shuniu_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use shuniu_wire::messages::{
    MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ResponseError,
};

use crate::support::*;

const GAP: u32 = 1 << 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn p4_a_copy_of_a_folder_in_use_holds_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Arc::new(Hub::open(folder.path()).await);
    // Segments close all the time, are compacted and dropped.
    let compacted =
        [("cleanup.policy", "compact"), ("segment.bytes", "2000"), ("min.compaction.lag.ms", "0")];
    hub.create("t", 1, &compacted).await;
    hub.create("told", 1, &[]).await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(-1)));
    let writer = tokio::spawn({
        let (hub, stop, acknowledged) = (Arc::clone(&hub), Arc::clone(&stop), Arc::clone(&acknowledged));
        async move {
            for n in 0_u32.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (key, value) = (format!("k{}", n % 50), format!("{n}"));
                let placed = hub.produce("t", 0, Batch::keyed(&[(&key, Some(&value))]).bytes()).await;
                assert_eq!((placed.error_code, placed.base_offset), (0, i64::from(n)));
                acknowledged.store(i64::from(n), Ordering::SeqCst);
                // What is told of has happened.
                hub.produce("told", 0, Batch::of(&[&value]).bytes()).await;
            }
        }
    });
    for round in 0..8 {
        while acknowledged.load(Ordering::SeqCst) < 150 * (round + 1) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let before = acknowledged.load(Ordering::SeqCst);
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("records");
        let extents = copy_records(folder.path(), &to, "told").await.unwrap();
        assert_eq!(extents[0].topic, "told", "it is copied first");
        let end = extents[1].end;
        assert!(end > before, "{end} {before}");

        let copied = Hub::open(&to).await;
        let records = copied.records("t", 0, 0).await;
        // The newest value of each key that was acknowledged, or a newer one.
        for key in 0..50 {
            let key = format!("k{key}");
            let newest = records.iter().rfind(|it| it.key.as_deref() == Some(key.as_bytes())).unwrap();
            assert_eq!(newest.value.as_deref().unwrap(), newest.offset.to_string().as_bytes());
            assert!(newest.offset > before - 50);
        }
        let told = copied.records("told", 0, 0).await;
        assert!(told.len() as i64 <= end, "it tells of nothing that the copy lacks");
        copied.engine.close().await;
    }
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    hub.engine.close().await;
}

#[tokio::test]
async fn p4_what_was_given_out_after_the_copy_is_given_to_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 2, &[]).await;
    hub.create("told", 1, &[]).await;
    let producer = hub.producer_id().await;
    for n in 0..3 {
        assert_eq!(hub.produce("t", 0, Batch::of(&["a"]).bytes()).await.base_offset, n);
    }
    hub.produce("told", 0, Batch::of(&["a"]).bytes()).await;
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("records");
    copy_records(folder.path(), &to, "told").await.unwrap();
    // Lost with the folder.
    assert_eq!(hub.produce("t", 0, Batch::of(&["lost"]).bytes()).await.base_offset, 3);
    hub.engine.close().await;

    let config = EngineConfig::new(to.clone());
    let extents = skip_ahead(&config, "told", GAP).await.unwrap();
    let ends: Vec<_> = extents.iter().map(|it| (it.topic.as_str(), it.partition, it.end)).collect();
    assert_eq!(ends, [("t", 0, 3), ("t", 1, 0), ("told", 0, 1)]);
    let hub = Hub::open(&to).await;
    let gap = i64::from(GAP);
    assert!(hub.producer_id().await >= producer + gap);
    assert_eq!(hub.produce("t", 0, Batch::of(&["b"]).bytes()).await.base_offset, 3 + gap);
    assert_eq!(hub.produce("t", 1, Batch::of(&["b"]).bytes()).await.base_offset, gap);
    assert_eq!(hub.produce("told", 0, Batch::of(&["b"]).bytes()).await.base_offset, 1);
    // Who was in between goes on behind it.
    let offsets = |records: Vec<Record>| records.iter().map(|it| it.offset).collect::<Vec<_>>();
    assert_eq!(offsets(hub.records("t", 0, 0).await), [0, 1, 2, 3 + gap]);
    assert_eq!(offsets(hub.records("t", 0, 4).await), [3 + gap]);
    assert_eq!(epochs(&hub).await, [(1, (0, 3)), (1, (0, 0))]);
    assert_eq!(end_of(&hub, 0, 1, 1).await, (0, (1, 4 + gap)));
    let fenced = ResponseError::FencedLeaderEpoch.code();
    assert_eq!(end_of(&hub, 0, 0, 0).await.0, fenced, "who knows the old epoch asks anew");
    let data = hub.fetch("t", 0, 3 + gap).await;
    let records = data.records.unwrap();
    assert_eq!(records[12..16], [0, 0, 0, 1], "its records are of the new epoch");
    hub.engine.close().await;

    // Again, from a copy of the copy.
    let second = tempfile::tempdir().unwrap();
    let again = second.path().join("records");
    copy_records(&to, &again, "told").await.unwrap();
    skip_ahead(&EngineConfig::new(again.clone()), "told", GAP).await.unwrap();
    let hub = Hub::open(&again).await;
    assert_eq!(hub.produce("t", 0, Batch::of(&["c"]).bytes()).await.base_offset, 4 + 2 * gap);
    assert_eq!(epochs(&hub).await, [(2, (0, 3)), (2, (0, 0))]);
    assert_eq!(end_of(&hub, 0, 2, 1).await, (0, (1, 4 + gap)));
    hub.engine.close().await;
}

/// Of each partition its epoch now, and what there is of epoch 0: Kafka's answer to who was there.
async fn epochs(hub: &Hub) -> Vec<(i32, (i32, i64))> {
    let request = MetadataRequest::default().with_topics(None);
    let response: MetadataResponse = hub.call(request).await;
    let found = response.topics.iter().find(|it| it.name.as_ref().is_some_and(|name| name.0.as_str() == "t"));
    let mut all = Vec::new();
    for at in &found.unwrap().partitions {
        let (code, ended) = end_of(hub, at.partition_index, at.leader_epoch, 0).await;
        assert_eq!(code, 0);
        all.push((at.leader_epoch, ended));
    }
    all
}

/// (error, (epoch, end)) of an epoch, asked by one who knows `current`.
async fn end_of(hub: &Hub, partition: i32, current: i32, epoch: i32) -> (i16, (i32, i64)) {
    let asked = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let asked = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![asked]);
    let response: OffsetForLeaderEpochResponse =
        hub.call(OffsetForLeaderEpochRequest::default().with_topics(vec![asked])).await;
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, (answer.leader_epoch, answer.end_offset))
}
