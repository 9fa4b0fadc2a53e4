//! `broker::Upstream` on a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shuniu_broker::leaders::{EARLIEST, LATEST, Leaders};
use shuniu_broker::topic::{Topic, TopicSpec, ensure, find};
use shuniu_broker::{Connection, KafkaCluster, KafkaOptions, NodeId, Upstream, UpstreamError, connect_any};
use shuniu_tests::{KAFKA_3, Kafka};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, Scratch, batches};
use shuniu_wire::messages as m;
use shuniu_wire::messages::{ResponseError, StrBytes, TopicName};
use shuniu_wire::{ApiKey, Request, Response};
use tokio_util::task::TaskTracker;

fn cluster(bootstrap: Vec<String>, tls: Option<Arc<rustls::ClientConfig>>) -> KafkaCluster {
    let options = KafkaOptions { bootstrap, tls, ..KafkaOptions::default() };
    KafkaCluster::new(options, TaskTracker::new())
}

async fn ask<A>(connection: &dyn Connection, request: impl Into<Request>) -> A
where
    A: TryFrom<Response, Error = Response>,
{
    A::try_from(connection.call(request.into()).await.unwrap()).ok().unwrap()
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn spec(name: &str, replication: u16) -> TopicSpec {
    let settings = BTreeMap::from([
        ("min.insync.replicas", replication.saturating_sub(1).max(1).to_string()),
        // The records are of 1970: brokers look for what is over its time from half a minute after their start on.
        ("retention.ms", "-1".to_owned()),
    ]);
    TopicSpec { name: name.to_owned(), partitions: 1, replication, settings }
}

async fn idempotent(connection: &dyn Connection) -> m::InitProducerIdResponse {
    let request = m::InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let producer: m::InitProducerIdResponse = ask(connection, request.clone()).await;
        // A cluster that has just started has no ids to give for a moment.
        if producer.error_code == 0 {
            return producer;
        }
        assert!(Instant::now() < deadline, "{producer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn batch(producer: &m::InitProducerIdResponse, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::Lz4).producer(
        producer.producer_id.0,
        producer.producer_epoch,
        sequence,
    );
    let value = Some(value.as_bytes());
    builder.push(&BuiltRecord { timestamp: 1_000, key: Some(b"k"), value, headers: &[] });
    builder.build().unwrap()
}

/// Produces by name, or by id where `topic` has one.
fn produce(name: &str, topic: Option<&Topic>, records: Bytes) -> Request {
    use m::produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(text(name)))
        .with_topic_id(topic.map_or_else(uuid::Uuid::nil, |topic| uuid::Uuid::from_bytes(topic.id)))
        .with_partition_data(vec![data]);
    m::ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]).into()
}

/// The offset of the first record.
fn produced(response: Response) -> i64 {
    let response = m::ProduceResponse::try_from(response).unwrap();
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer.base_offset
}

fn values(records: &Bytes) -> Vec<String> {
    let mut values = Vec::new();
    for batch in batches(records) {
        for record in batch.unwrap().records(&mut Scratch::default(), 1 << 20).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

/// Producer ids, records in and out by name and by id, offsets, a group from its first join to its leaving, settings.
///
/// `newer`: whether it has groups whose coordinator assigns.
async fn the_whole_seam(upstream: Arc<dyn Upstream>, name: &str, newer: bool) {
    assert_eq!(upstream.nodes().await.unwrap().len(), 1);
    assert!(matches!(upstream.connect(NodeId(77)).await.err(), Some(UpstreamError::NoSuchNode(_))));
    let connection = upstream.connect(NodeId(1)).await.unwrap();
    assert_eq!(connection.has(ApiKey::ConsumerGroupHeartbeat), newer);
    let topic = ensure(connection.as_ref(), &spec(name, 1)).await.unwrap();
    assert_eq!(ensure(connection.as_ref(), &spec(name, 1)).await.unwrap(), topic);
    let mut leaders = Leaders::new(Arc::clone(&upstream), Duration::from_secs(20));
    assert_eq!(leaders.offset(name, 0, LATEST).await.unwrap(), 0);

    let producer = idempotent(connection.as_ref()).await;
    // Submitted one after the other without waiting: the order of the calls is the order of the records.
    let calls: Vec<_> = (0..4)
        .map(|at| {
            let by = (at % 2 == 0).then_some(&topic);
            connection.call(produce(name, by, batch(&producer, at, &format!("value {at}"))))
        })
        .collect();
    for (at, call) in calls.into_iter().enumerate() {
        let response = call.await.unwrap();
        let Response::Produce(named) = &response else { panic!("{response:?}") };
        assert_eq!(named.responses[0].name.as_str(), name);
        assert_eq!(produced(response), i64::try_from(at).unwrap());
    }
    // Sent again as after a lost answer: the store has it already, and says where.
    let again = connection.call(produce(name, None, batch(&producer, 3, "value 3"))).await.unwrap();
    assert_eq!(produced(again), 3);
    let records = leaders.fetch(name, 0, 0, 1 << 20).await.unwrap().records;
    assert_eq!(values(&records), ["value 0", "value 1", "value 2", "value 3"]);
    assert_eq!(leaders.offset(name, 0, EARLIEST).await.unwrap(), 0);
    assert_eq!(leaders.offset(name, 0, LATEST).await.unwrap(), 4);

    // A fetch by id waits for what another connection appends.
    let other = upstream.connect(NodeId(1)).await.unwrap();
    let waiting = other.call(fetch_by_id(&topic, 4));
    produced(connection.call(produce(name, Some(&topic), batch(&producer, 4, "late"))).await.unwrap());
    let response = m::FetchResponse::try_from(waiting.await.unwrap()).unwrap();
    let of_topic = &response.responses[0];
    assert_eq!((of_topic.topic_id, response.session_id), (uuid::Uuid::from_bytes(topic.id), 0));
    assert_eq!(values(of_topic.partitions[0].records.as_ref().unwrap()), ["late"]);
    // Of a topic that was made anew under its name nothing is given.
    let stranger = Topic { id: [9; 16], ..topic.clone() };
    let refused: m::FetchResponse = ask(connection.as_ref(), fetch_by_id(&stranger, 0)).await;
    let code = refused.responses[0].partitions[0].error_code;
    assert_eq!(ResponseError::try_from_code(code), Some(ResponseError::UnknownTopicId));

    // The hub lets go of what it needs no longer.
    assert_eq!(deleted(connection.as_ref(), name, 2).await, (0, 2));
    assert_eq!(leaders.offset(name, 0, EARLIEST).await.unwrap(), 2);
    let beyond = deleted(connection.as_ref(), name, 99).await.0;
    assert_eq!(ResponseError::try_from_code(beyond), Some(ResponseError::OffsetOutOfRange));

    a_group(connection.as_ref(), name).await;
}

/// Deletes what stands before an offset; the error and the first offset that is left.
async fn deleted(connection: &dyn Connection, topic: &str, offset: i64) -> (i16, i64) {
    use m::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(TopicName(text(topic)));
    let request = m::DeleteRecordsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(vec![topic.with_partitions(vec![partition])]);
    let answer: m::DeleteRecordsResponse = ask(connection, request).await;
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

fn fetch_by_id(topic: &Topic, offset: i64) -> Request {
    use m::fetch_request::{FetchPartition, FetchTopic};
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default()
        .with_topic_id(uuid::Uuid::from_bytes(topic.id))
        .with_partitions(vec![partition]);
    m::FetchRequest::default()
        .with_max_wait_ms(20_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(5)
        .with_topics(vec![wanted])
        .into()
}

async fn a_group(connection: &dyn Connection, topic: &str) {
    let group = m::GroupId(text(&format!("hall:{topic}")));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // In the old form, as a client of version 3 asks.
        let request = m::FindCoordinatorRequest::default().with_key(group.0.clone());
        let found: m::FindCoordinatorResponse = ask(connection, request).await;
        if found.coordinators[0].error_code == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"m"));
    let join = m::JoinGroupRequest::default()
        .with_group_id(group.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let mut joined: m::JoinGroupResponse = ask(connection, join.clone()).await;
    while joined.error_code != 0 {
        assert!(Instant::now() < deadline, "{joined:?}");
        let again = join.clone().with_member_id(joined.member_id.clone());
        joined = ask(connection, again).await;
    }
    // Without saying what the group speaks, as old clients do.
    let assignment = m::sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    let sync = m::SyncGroupRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    let synced: m::SyncGroupResponse = ask(connection, sync).await;
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, b"all".as_slice()));

    let partition = m::offset_commit_request::OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(3)
        .with_committed_metadata(Some(text("view:m")));
    let committed_topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    let commit = m::OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_retention_time_ms(5)
        .with_topics(vec![committed_topic]);
    let committed: m::OffsetCommitResponse = ask(connection, commit).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let wanted = m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group.clone());
    let request = m::OffsetFetchRequest::default().with_groups(vec![wanted.with_topics(None)]);
    let offsets: m::OffsetFetchResponse = ask(connection, request).await;
    let partition = &offsets.groups[0].topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.metadata.as_deref()), (3, Some("view:m")));

    let leave = m::LeaveGroupRequest::default().with_group_id(group).with_member_id(joined.member_id);
    let left: m::LeaveGroupResponse = ask(connection, leave).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
}

#[tokio::test]
async fn the_seam_holds_on_the_newest_kafka() {
    let upstream = cluster(Kafka::shared().bootstrap(), None);
    the_whole_seam(Arc::new(upstream), "seam", true).await;
}

#[tokio::test]
async fn the_seam_holds_on_kafka_3() {
    let kafka = Kafka::start_version(KAFKA_3, 1);
    the_whole_seam(Arc::new(cluster(kafka.bootstrap(), None)), "seam", false).await;
}

fn tls(
    certificate: &std::path::Path,
    key: &std::path::Path,
    authority: &std::path::Path,
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap()
}

#[tokio::test]
async fn a_cluster_with_tls_lets_the_hubs_certificate_in_and_no_other() {
    let kafka = Kafka::shared();
    let (certificate, key, authority) = kafka.certificate();
    let good = cluster(kafka.bootstrap_tls(), Some(Arc::new(tls(&certificate, &key, &authority))));
    let connection = connect_any(&good).await.unwrap();
    assert_eq!(find(connection.as_ref(), "no-such-topic").await.unwrap(), None);
    let (certificate, key) = kafka.strange_certificate();
    let strange = cluster(kafka.bootstrap_tls(), Some(Arc::new(tls(&certificate, &key, &authority))));
    assert!(matches!(connect_any(&strange).await.err(), Some(UpstreamError::Unreachable { .. })));
}

/// Appends until it is acknowledged, as the hub's own producers do: after each failure the leader is looked up again.
async fn append(upstream: &KafkaCluster, name: &str, records: &Bytes) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let attempt = async {
            let any = connect_any(upstream).await.ok()?;
            let wanted =
                m::metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
            let request = m::MetadataRequest::default().with_topics(Some(vec![wanted]));
            let answer = m::MetadataResponse::try_from(any.call(request.into()).await.ok()?).ok()?;
            let leader = answer.topics.first()?.partitions.first()?.leader_id;
            let connection = upstream.connect(NodeId(leader.0)).await.ok()?;
            let answer = connection.call(produce(name, None, records.clone())).await.ok()?;
            let answer = m::ProduceResponse::try_from(answer).ok()?;
            let partition = answer.responses.first()?.partition_responses.first()?;
            (partition.error_code == 0).then_some(partition.base_offset)
        };
        if let Some(offset) = attempt.await {
            return offset;
        }
        assert!(Instant::now() < deadline, "no leader takes the record");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_leader_that_is_killed_or_held_is_given_up_and_its_successor_found() {
    let kafka = Kafka::start(3);
    let options = KafkaOptions {
        bootstrap: kafka.bootstrap(),
        answer_max: Duration::from_secs(2),
        connect_max: Duration::from_secs(2),
        ..KafkaOptions::default()
    };
    let upstream = Arc::new(KafkaCluster::new(options, TaskTracker::new()));
    let any = connect_any(upstream.as_ref()).await.unwrap();
    ensure(any.as_ref(), &spec("moves", 3)).await.unwrap();
    let producer = idempotent(any.as_ref()).await;
    assert_eq!(append(&upstream, "moves", &batch(&producer, 0, "0")).await, 0);

    let leader = kafka.leader("moves", 0).unwrap();
    let node = NodeId(i32::try_from(leader).unwrap());
    let held = upstream.connect(node).await.unwrap();
    let under_way = held.call(produce("moves", None, batch(&producer, 1, "1")));
    kafka.kill(leader);
    // Acknowledged or broken; if broken, nobody knows whether it was written, and the same batch is sent again.
    drop(under_way.await);
    assert!(matches!(
        held.call(m::HeartbeatRequest::default().into()).await,
        Err(UpstreamError::Unreachable { .. })
    ));
    assert_eq!(append(&upstream, "moves", &batch(&producer, 1, "1")).await, 1);
    kafka.restart(leader);

    let leader = kafka.leader("moves", 0).unwrap();
    let held = upstream.connect(NodeId(i32::try_from(leader).unwrap())).await.unwrap();
    kafka.pause(leader);
    let silent = held.call(m::MetadataRequest::default().with_topics(Some(Vec::new())).into()).await;
    assert!(matches!(silent, Err(UpstreamError::Unreachable { .. })));
    assert_eq!(append(&upstream, "moves", &batch(&producer, 2, "2")).await, 2);
    kafka.resume(leader);
    let mut leaders = Leaders::new(upstream, Duration::from_secs(30));
    let records = leaders.fetch("moves", 0, 0, 1 << 20).await.unwrap().records;
    assert_eq!(values(&records), ["0", "1", "2"]);
}
