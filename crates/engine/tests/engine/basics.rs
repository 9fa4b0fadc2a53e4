//! Topics, produce, fetch, offsets, ids, restart, the folder's lock.

use std::time::{Duration, Instant};

use shuniu_broker::{Upstream, UpstreamError};
use shuniu_engine::{EngineConfig, EngineError};
use shuniu_wire::Request;
use shuniu_wire::messages::metadata_request::MetadataRequestTopic;
use shuniu_wire::messages::*;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn p4_what_was_acknowledged_is_there_after_reopening_at_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("segment.bytes", "1024")]).await;
    let mut expected = Vec::new();
    for n in 0..100_i64 {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        let answer = hub.produce("t", 0, Batch::of(&[&a, &b]).bytes()).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, n * 2));
        expected.extend([(n * 2, a), (n * 2 + 1, b)]);
    }
    hub.engine.close().await;
    drop(hub);
    let hub = Hub::open(folder.path()).await;
    let read = hub.records("t", 0, 0).await;
    let read: Vec<(i64, String)> =
        read.into_iter().map(|r| (r.offset, String::from_utf8(r.value.unwrap()).unwrap())).collect();
    assert_eq!(read, expected);
    for from in [1, 57, 199] {
        assert_eq!(hub.records("t", 0, from).await[0].offset, from);
    }
    let answer = hub.produce("t", 0, Batch::of(&["next"]).bytes()).await;
    assert_eq!(answer.base_offset, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_kept_as_it_came_but_for_offset_and_leader_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[]).await;
    hub.produce("t", 0, Batch::of(&["first"]).bytes()).await;
    let sent = Batch::of(&["x", "y"]).at(START_MS + 5).bytes();
    hub.produce("t", 0, sent.clone()).await;
    let got = hub.fetch("t", 0, 1).await.records.unwrap();
    assert_eq!(got[..8], 1_i64.to_be_bytes());
    assert_eq!(got[8..12], sent[8..12]);
    assert_eq!(got[12..16], 0_i32.to_be_bytes());
    assert_eq!(got[16..], sent[16..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_append_time_is_stamped_where_the_topic_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let answer = hub.produce("t", 0, Batch::of(&["x"]).at(5).bytes()).await;
    assert_eq!(answer.log_append_time_ms, START_MS);
    assert_eq!(hub.records("t", 0, 0).await[0].timestamp, START_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_repeated_batch_is_answered_with_its_first_offset_and_a_gap_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("segment.bytes", "1024")]).await;
    let id = hub.producer_id().await;
    let batch = |sequence: i32| Batch::of(&["a", "b"]).by(id, 0, sequence).bytes();
    for n in 0..20 {
        assert_eq!(hub.produce("t", 0, batch(n * 2)).await.base_offset, i64::from(n) * 2);
        if n % 7 == 0 {
            hub.engine.close().await;
            drop(hub);
            hub = Hub::open(folder.path()).await;
        }
        // The last five may come again, in any state.
        for back in 0..=n.min(4) {
            let answer = hub.produce("t", 0, batch((n - back) * 2)).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(n - back) * 2));
        }
    }
    let out_of_order = ResponseError::OutOfOrderSequenceNumber.code();
    assert_eq!(hub.produce("t", 0, batch(42)).await.error_code, out_of_order);
    assert_eq!(hub.produce("t", 0, batch(0)).await.error_code, out_of_order, "beyond the window");
    let newer = Batch::of(&["c"]).by(id, 1, 0).bytes();
    assert_eq!(hub.produce("t", 0, newer).await.base_offset, 40);
    let fenced = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(hub.produce("t", 0, batch(40)).await.error_code, fenced);
    let gap = Batch::of(&["c"]).by(id, 2, 7).bytes();
    assert_eq!(hub.produce("t", 0, gap).await.error_code, out_of_order);
    assert_eq!(hub.records("t", 0, 0).await.len(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_connection_are_appended_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[]).await;
    let id = hub.producer_id().await;
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let records = Batch::of(&[&n.to_string()]).by(id, 0, n).bytes();
            hub.connection.call(Request::from(produce("t", 0, records)))
        })
        .collect();
    // Polled backwards: the order of the calls counts, not that of the polls.
    for (n, call) in calls.into_iter().enumerate().rev() {
        let answer = ProduceResponse::try_from(call.await.unwrap()).unwrap();
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, n as i64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_batch_is_refused_whole_with_kafkas_code() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("max.message.bytes", "200")]).await;
    let good = Batch::of(&["x"]).bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        bytes.into()
    };
    let cases = [
        (bytes::Bytes::new(), ResponseError::InvalidRecord),
        (good.slice(..30), ResponseError::CorruptMessage),
        (good.slice(..good.len() - 1), ResponseError::CorruptMessage),
        (with(16, 1), ResponseError::UnsupportedForMessageFormat),
        (with(good.len() - 2, 0xff), ResponseError::CorruptMessage),
        (Batch::of(&["x".repeat(200).as_str()]).bytes(), ResponseError::MessageTooLarge),
    ];
    for (n, (records, code)) in cases.into_iter().enumerate() {
        assert_eq!(hub.produce("t", 0, records).await.error_code, code.code(), "case {n}");
    }
    assert_eq!(hub.produce("t", 1, good.clone()).await.error_code, 3);
    assert_eq!(hub.produce("nowhere", 0, good.clone()).await.error_code, 3);
    assert_eq!(hub.produce("t", 0, good).await.base_offset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_answered_when_records_come_not_when_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 2, &[]).await;
    let mut slowest = Duration::ZERO;
    for n in 0..20_i64 {
        let waiting = hub.connection.call(Request::from(fetch("t", 1, n, 30_000, 1 << 20)));
        let waiting = tokio::task::spawn(waiting);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!waiting.is_finished());
        hub.produce("t", 1, Batch::of(&["x"]).bytes()).await;
        let acknowledged = Instant::now();
        let answer = FetchResponse::try_from(waiting.await.unwrap().unwrap()).unwrap();
        slowest = slowest.max(acknowledged.elapsed());
        assert_eq!(decode(answer.responses[0].partitions[0].records.as_ref().unwrap()).0[0].offset, n);
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let begun = Instant::now();
    let answer: FetchResponse = hub.call(fetch("t", 0, 0, 100, 1 << 20)).await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_returns_a_batch_that_is_over_its_limit_and_honours_it_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[]).await;
    let batch = Batch::of(&["x".repeat(1000).as_str()]).bytes();
    for _ in 0..10 {
        hub.produce("t", 0, batch.clone()).await;
    }
    for (bytes_max, batches) in [(1, 1), (batch.len(), 1), (batch.len() * 3 + 5, 3), (1 << 20, 10)] {
        let answer: FetchResponse = hub.call(fetch("t", 0, 0, 0, bytes_max as i32)).await;
        let records = answer.responses[0].partitions[0].records.clone().unwrap();
        assert_eq!(records.len(), batches * batch.len(), "{bytes_max}");
    }
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    assert_eq!(hub.fetch("t", 0, 11).await.error_code, out_of_range);
    assert_eq!(hub.fetch("t", 0, -1).await.error_code, out_of_range);
    let end = hub.fetch("t", 0, 10).await;
    assert_eq!((end.error_code, end.high_watermark, end.last_stable_offset), (0, 10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_found_by_name_and_by_id_also_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 3, &[]).await;
    hub.produce("t", 2, Batch::of(&["x"]).bytes()).await;
    let all: MetadataResponse = hub.call(MetadataRequest::default().with_topics(None)).await;
    let id = all.topics[0].topic_id;
    assert!(!id.is_nil());
    assert_eq!(all.topics[0].partitions.len(), 3);
    hub.engine.close().await;
    drop(hub);
    let hub = Hub::open(folder.path()).await;
    let asked = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let by_id: MetadataResponse = hub.call(MetadataRequest::default().with_topics(Some(vec![asked]))).await;
    assert_eq!(by_id.topics[0].name, Some(topic("t")));
    assert_eq!(by_id.cluster_id, all.cluster_id);
    let mut request = fetch("", 2, 0, 0, 100);
    request.topics[0].topic_id = id;
    let answer: FetchResponse = hub.call(request.clone()).await;
    assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    request.topics[0].topic_id = Default::default();
    let answer: FetchResponse = hub.call(request).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, ResponseError::UnknownTopicId.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_are_never_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let hub = Hub::open(folder.path()).await;
        for _ in 0..10 {
            assert!(seen.insert(hub.producer_id().await));
        }
        hub.engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_on_one_folder_are_refused_with_folder_and_holder() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    let second = Hub::open_with(EngineConfig::new(folder.path().to_owned()), TestClock::new()).await;
    let error = second.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, EngineError::Locked { .. }));
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    hub.engine.close().await;
    let request = Request::from(MetadataRequest::default());
    assert!(matches!(hub.connection.call(request).await, Err(UpstreamError::Closed)));
    assert!(matches!(hub.engine.connect(shuniu_engine::NODE).await, Err(UpstreamError::Closed)));
    Hub::open(folder.path()).await;
}
