//! Requests that change nothing.

use std::time::Duration;

use shuniu_tests::{Hub, Kafka};
use shuniu_wire::batch::Compression;
use shuniu_wire::messages as m;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use uuid::Uuid;

use super::{Case, Found, PROJECTED, Sides, Topic, WHOLE, batch, case, text};
use crate::raw::Raw;

fn from(offset: i64) -> FetchPartition {
    FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20)
}

fn fetch(version: i16, topic: Topic, partition: FetchPartition) -> m::FetchRequest {
    let mut wanted = FetchTopic::default().with_partitions(vec![partition]);
    if version >= 13 {
        wanted.topic_id = topic.id;
    } else {
        wanted.topic = topic.name();
    }
    m::FetchRequest::default().with_min_bytes(1).with_max_bytes(8 << 20).with_topics(vec![wanted])
}

/// Fetches. The topic has about ten batches, some of them of transactions, one aborted.
pub(super) fn fetches() -> Vec<Case> {
    const COMMITTED: i8 = 1;
    vec![
        case("fetch from the start", 4..=17, |v, t| fetch(v, t, from(0))),
        case("fetch from within a batch", 4..=17, |v, t| fetch(v, t, from(1))),
        case("fetch what is committed", 4..=17, |v, t| fetch(v, t, from(0)).with_isolation_level(COMMITTED)),
        case("fetch one batch", 4..=17, |v, t| fetch(v, t, from(0).with_partition_max_bytes(1))),
        case("fetch at most a byte", 4..=17, |v, t| fetch(v, t, from(0)).with_max_bytes(1)),
        case("fetch beyond the end", 4..=17, |v, t| fetch(v, t, from(1_000_000))),
        case("fetch before the start", 4..=17, |v, t| fetch(v, t, from(-5))),
        case("fetch a partition that is not there", 4..=17, |v, t| fetch(v, t, from(0).with_partition(99))),
        case("fetch of a leader epoch to come", 9..=17, |v, t| {
            fetch(v, t, from(0).with_current_leader_epoch(999))
        }),
        case("fetch of this leader epoch", 9..=17, |v, t| fetch(v, t, from(0).with_current_leader_epoch(0))),
        case("fetch after an epoch that was none", 12..=17, |v, t| {
            fetch(v, t, from(3).with_last_fetched_epoch(999))
        }),
        case("fetch after this epoch", 12..=17, |v, t| fetch(v, t, from(3).with_last_fetched_epoch(0))),
        case("fetch of two topics", 4..=17, |v, t| {
            let mut request = fetch(v, t, from(0));
            let absent = Topic { name: "absent", id: Uuid::from_u128(78) };
            request.topics.extend(fetch(v, absent, from(0)).topics);
            request
        }),
        case("fetch that names a topic twice", 4..=12, |v, t| {
            let mut request = fetch(v, t, from(0));
            let absent = Topic { name: "absent", id: Uuid::from_u128(78) };
            request.topics.extend(fetch(v, absent, from(0)).topics);
            request.topics.extend(fetch(v, t, from(0).with_partition(99)).topics);
            request
        }),
        case("fetch of nothing", 4..=17, |_, _| m::FetchRequest::default()),
        case("fetch that opens a session", 7..=17, |v, t| fetch(v, t, from(0)).with_session_epoch(0)),
        case("fetch that opens a session in the place of another", 7..=17, |v, t| {
            fetch(v, t, from(0)).with_session_id(77).with_session_epoch(0)
        }),
        case("fetch of a session that is none", 7..=17, |v, t| {
            fetch(v, t, from(0)).with_session_id(77).with_session_epoch(3)
        }),
        case("fetch that closes a session that is none", 7..=17, |v, t| {
            fetch(v, t, from(0)).with_session_id(77).with_session_epoch(-1)
        }),
    ]
}

pub(super) fn offset_at(topic: Topic, timestamp: i64) -> m::ListOffsetsRequest {
    listed(topic, m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(timestamp))
}

fn listed(topic: Topic, partition: m::list_offsets_request::ListOffsetsPartition) -> m::ListOffsetsRequest {
    let wanted = m::list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic.name())
        .with_partitions(vec![partition]);
    m::ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted])
}

fn metadata(topics: Option<Vec<m::metadata_request::MetadataRequestTopic>>) -> m::MetadataRequest {
    m::MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true)
}

fn by_name(topic: Topic) -> m::metadata_request::MetadataRequestTopic {
    m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic.name()))
}

fn epoch_end(topic: Topic, partition: i32, current: i32, asked: i32) -> m::OffsetForLeaderEpochRequest {
    use m::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let partition = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(asked);
    let wanted = OffsetForLeaderTopic::default().with_topic(topic.name()).with_partitions(vec![partition]);
    m::OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![wanted])
}

fn settings(kind: i8, name: &str, keys: Option<&[&str]>) -> m::DescribeConfigsRequest {
    let wanted = m::describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    m::DescribeConfigsRequest::default().with_resources(vec![wanted])
}

/// Offsets, topics, settings, brokers.
pub(super) fn others() -> Vec<Case> {
    const A_TOPIC: i8 = 2;
    const A_BROKER: i8 = 4;
    let partition = m::list_offsets_request::ListOffsetsPartition::default;
    vec![
        case("latest offset", 1..=8, |_, t| offset_at(t, -1)),
        case("latest stable offset", 2..=8, |_, t| offset_at(t, -1).with_isolation_level(1)),
        case("earliest offset", 1..=8, |_, t| offset_at(t, -2)),
        case("offset of the largest time", 7..=8, |_, t| offset_at(t, -3)),
        case("earliest local offset", 8..=8, |_, t| offset_at(t, -4)),
        case("offset of 1970", 1..=8, |_, t| offset_at(t, 0)),
        case("offset of a time", 1..=8, |_, t| offset_at(t, 1_760_000_001_000)),
        case("offset of a time between two", 1..=8, |_, t| offset_at(t, 1_760_000_000_001)),
        case("offset of a time to come", 1..=8, |_, t| offset_at(t, i64::MAX / 2)),
        case("offset by a word that is none", 1..=8, |_, t| offset_at(t, -77)),
        case("offset in a partition that is not there", 1..=8, move |_, t| {
            listed(t, partition().with_partition_index(99).with_timestamp(-1))
        }),
        case("offset of a leader epoch to come", 4..=8, move |_, t| {
            listed(t, partition().with_timestamp(-1).with_current_leader_epoch(999))
        }),
        case("metadata by name", 1..=12, |_, t| metadata(Some(vec![by_name(t)]))),
        case("metadata by id", 12..=12, |_, t| {
            let wanted =
                m::metadata_request::MetadataRequestTopic::default().with_name(None).with_topic_id(t.id);
            metadata(Some(vec![wanted]))
        }),
        case("metadata of no topic", 1..=12, |_, _| metadata(Some(Vec::new()))),
        case("metadata of all", 1..=12, |_, _| metadata(None)),
        case("metadata with permissions", 8..=12, |v, t| {
            metadata(Some(vec![by_name(t)]))
                .with_include_topic_authorized_operations(true)
                .with_include_cluster_authorized_operations(v <= 10)
        }),
        case("metadata of a topic that is not there", 1..=12, |_, t| {
            metadata(Some(vec![by_name(t), by_name(Topic { name: "absent", id: Uuid::nil() })]))
        }),
        case("end of an epoch", 2..=4, |_, t| epoch_end(t, 0, -1, 0)),
        case("end of an epoch to come", 2..=4, |_, t| epoch_end(t, 0, -1, 999)),
        case("end of an epoch, of a leader epoch to come", 2..=4, |_, t| epoch_end(t, 0, 999, 0)),
        case("end of an epoch in a partition that is not there", 2..=4, |_, t| epoch_end(t, 99, -1, 0)),
        case("some settings", 1..=4, |_, t| {
            settings(A_TOPIC, t.name, Some(&["cleanup.policy", "max.message.bytes", "no.such.setting"]))
        }),
        case("all settings", 1..=4, |_, t| settings(A_TOPIC, t.name, None)),
        case("settings of a broker", 1..=4, |_, _| settings(A_BROKER, "1", Some(&["log.dirs"]))),
        case("brokers", 0..=1, |_, _| m::DescribeClusterRequest::default()),
    ]
}

/// Waits until the last transaction is over for readers too.
pub(super) async fn settled(sides: &mut Sides) {
    loop {
        let mut ends = [0; 2];
        for (end, isolation_level) in ends.iter_mut().zip([0, 1]) {
            let request = offset_at(sides.topic, -1).with_isolation_level(isolation_level);
            let answer: m::ListOffsetsResponse = sides.bare.get(8, request).await;
            *end = answer.topics[0].partitions[0].offset;
        }
        if ends[0] == ends[1] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A fetch that waits for what is published meanwhile, and one that waits in vain.
pub(super) async fn long_poll(kafka: &Kafka, hub: &Hub, sides: &mut Sides, found: &mut Found) {
    let end: m::ListOffsetsResponse = sides.bare.get(8, offset_at(sides.topic, -1)).await;
    let end = end.topics[0].partitions[0].offset;
    let topic = sides.topic;
    let waiting = move |version: i16, wait_ms| fetch(version, topic, from(end)).with_max_wait_ms(wait_ms);
    let vain = waiting(12, 300);
    let bare = sides.bare.ask(12, vain.clone()).await;
    let whole = sides.whole.ask(12, vain).await;
    found.compare("whole", "fetch that waits in vain", 12, &bare, &whole, &[]);

    let mut bare = Raw::bare(&kafka.bootstrap()[0]).await;
    let mut whole = Raw::of_system(hub, WHOLE).await;
    let mut projected = Raw::of_system(hub, PROJECTED).await;
    let answers = tokio::spawn(async move {
        tokio::join!(
            bare.ask(17, waiting(17, 30_000)),
            whole.ask(17, waiting(17, 30_000)),
            projected.ask(17, waiting(17, 30_000))
        )
    });
    // Most likely they wait by then; if not, the answers are the same.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let records = batch(sides.schema, Compression::None, (-1, -1, -1), &["500199"]);
    let request = super::writes::produce(sides.topic, 0, records);
    let answer: m::ProduceResponse = sides.whole.get(12, request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
    let (bare, whole, projected) = answers.await.unwrap();
    found.compare("whole", "fetch that waits", 17, &bare, &whole, &[]);
    found.compare("projected", "fetch that waits", 17, &whole, &projected, &[]);
}
