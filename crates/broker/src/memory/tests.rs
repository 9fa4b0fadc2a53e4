use bytes::{BufMut as _, Bytes, BytesMut};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::{FetchRequest, ProduceRequest, ResponseError, StrBytes, TopicName};

use super::*;
use crate::topic::{TopicSpec, ensure};

/// A batch by its header alone: the store looks at no more.
fn batch(records: i32, producer: i64, sequence: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i64(0);
    bytes.put_i32(49);
    bytes.put_i32(-1);
    bytes.put_u8(2);
    bytes.put_u32(0);
    bytes.put_i16(0);
    bytes.put_i32(records - 1);
    bytes.put_i64(5);
    bytes.put_i64(5);
    bytes.put_i64(producer);
    bytes.put_i16(0);
    bytes.put_i32(sequence);
    bytes.put_i32(records);
    bytes.freeze()
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

async fn produce(connection: &dyn Connection, records: Bytes) -> Result<(i16, i64), UpstreamError> {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let Response::Produce(response) = connection.call(request.into()).await? else { panic!() };
    let answer = &response.responses[0].partition_responses[0];
    Ok((answer.error_code, answer.base_offset))
}

async fn fetch(connection: &dyn Connection, offset: i64, max_wait_ms: i32) -> (i16, Bytes) {
    let wanted = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1);
    let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_max_bytes(1)
        .with_min_bytes(1)
        .with_max_wait_ms(max_wait_ms)
        .with_topics(vec![topic]);
    let Ok(Response::Fetch(response)) = connection.call(request.into()).await else { panic!() };
    let data = response.responses[0].partitions[0].clone();
    (data.error_code, data.records.unwrap_or_default())
}

async fn store() -> (MemoryUpstream, Arc<dyn Connection>) {
    let store = MemoryUpstream::new(NodeId(1));
    let connection = store.connect(NodeId(1)).await.unwrap();
    ensure(connection.as_ref(), &TopicSpec::of_resource("t", 2, 1)).await.unwrap();
    (store, connection)
}

#[tokio::test]
async fn a_retry_of_an_idempotent_producer_is_not_written_twice() {
    let (store, connection) = store().await;
    assert_eq!(produce(connection.as_ref(), batch(3, 7, 0)).await.unwrap(), (0, 0));
    store.fail(Failure::AnswersLost);
    assert!(produce(connection.as_ref(), batch(2, 7, 3)).await.is_err());
    store.fail(Failure::None);
    assert_eq!(produce(connection.as_ref(), batch(2, 7, 3)).await.unwrap(), (0, 3));
    let gap = ResponseError::OutOfOrderSequenceNumber.code();
    assert_eq!(produce(connection.as_ref(), batch(1, 7, 9)).await.unwrap(), (gap, -1));
    assert_eq!(store.stored("t", 0).len(), 2);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_the_first_batch_always_comes() {
    let (_store, connection) = store().await;
    let waiting = fetch(connection.as_ref(), 0, 10_000);
    let writing = produce(connection.as_ref(), batch(4, -1, -1));
    let ((code, records), written) = tokio::join!(waiting, writing);
    assert_eq!((code, written.unwrap()), (0, (0, 0)));
    assert_eq!(fetch(connection.as_ref(), 3, 0).await.1, records);
    assert_eq!(fetch(connection.as_ref(), 4, 1).await, (0, Bytes::new()));
    assert_eq!(fetch(connection.as_ref(), 5, 1_000).await.0, ResponseError::OffsetOutOfRange.code());
}

#[tokio::test]
async fn it_fails_as_told() {
    let (store, connection) = store().await;
    store.fail(Failure::Full);
    assert!(matches!(
        produce(connection.as_ref(), batch(1, -1, -1)).await,
        Err(UpstreamError::Storage { .. })
    ));
    store.fail(Failure::Down);
    assert!(matches!(store.connect(NodeId(1)).await.map(drop), Err(UpstreamError::Unreachable { .. })));
    store.fail(Failure::None);
    assert!(matches!(store.connect(NodeId(2)).await.map(drop), Err(UpstreamError::NoSuchNode(NodeId(2)))));
    assert_eq!(produce(connection.as_ref(), batch(1, -1, -1)).await.unwrap(), (0, 0));
}
