//! Writes the first inputs of every corpus: `cargo run -p shuniu-fuzz --example seeds`. Fuzzing adds to them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a developer's tool that stops where it cannot go on"
)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, HEADER_BYTES};
use shuniu_wire::messages as m;
use shuniu_wire::{Request, SERVED, encode_request, request_header};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn main() {
    for (row, served) in (0_u8..).zip(SERVED) {
        let versions = (0_u8..).zip(served.min..=served.max);
        for (at, version) in versions.filter(|(_, version)| [served.min, served.max].contains(version)) {
            let Some(request) = request(served.api, version) else { continue };
            let mut body = encode_request(version, 1, "", &request).expect("a request").slice(4..);
            request_header(&mut body).expect("a header");
            write("request", &format!("{:?}-{version}", served.api), &[&[row, at], &body[..]].concat());
        }
    }
    for (attributes, codec) in (0_u8..).zip(CODECS) {
        for count in [1_u8, 3, 40] {
            // Attributes, last offset delta, count, base offset, then the payload.
            let batch =
                [&[attributes, count - 1, count, 1][..], &batch(codec, count)[HEADER_BYTES..]].concat();
            write("batch_walk", &format!("{codec}-{count}"), &batch);
            let at = u8::try_from(batch.len()).unwrap_or(u8::MAX);
            write(
                "rewrite",
                &format!("{codec}-{count}"),
                &[&[0b1011_0101, at, 2][..], &batch, &batch].concat(),
            );
        }
    }
    // In the order of the schema: id, name, count, small, ratio, flag, blob, born, amount, tags, notes, kind, hash, tree.
    let body: &[&[u8]] = &[
        b"\x04ab",
        b"\x02\x06a\xc3\xa9",
        b"\x02\x0a",
        b"\x03",
        b"\x02\0\0\0\0\0\0\xf0\x3f",
        b"\x01",
        b"\x04xy",
        b"\x02\xd0\x0f",
        b"\x02\x04\x01\x02",
        b"\x04\x02a\x02b\0",
        b"\x02\x02k\x02\x08\0",
        b"\x02",
        b"hash",
        b"\x02\x02\0",
    ];
    write("avro", "full", &body.concat());
}

fn batch(codec: Compression, count: u8) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..count {
        let header: (&[u8], Option<&[u8]>) = (b"before", (n % 2 == 0).then_some(b"x"));
        builder.push(&BuiltRecord {
            timestamp: i64::from(n),
            key: Some(&[n]),
            value: (n % 3 != 0).then_some(b"the value of a record"),
            headers: &[header],
        });
    }
    builder.build().expect("a batch")
}

/// A request with something in every array.
#[expect(clippy::too_many_lines, reason = "one arm an API")]
fn request(api: m::ApiKey, version: i16) -> Option<Request> {
    let group = m::GroupId(text("g"));
    let topic = m::TopicName(text("t"));
    Some(match api {
        m::ApiKey::Produce => m::ProduceRequest::default()
            .with_topic_data(vec![
                m::produce_request::TopicProduceData::default().with_name(topic).with_partition_data(vec![
                    m::produce_request::PartitionProduceData::default()
                        .with_records(Some(batch(Compression::Lz4, 3))),
                ]),
            ])
            .into(),
        m::ApiKey::Fetch => {
            let mut fetch = m::fetch_request::FetchTopic::default()
                .with_partitions(vec![m::fetch_request::FetchPartition::default()]);
            if version < 13 {
                fetch.topic = topic;
            }
            m::FetchRequest::default().with_topics(vec![fetch]).into()
        }
        m::ApiKey::ListOffsets => m::ListOffsetsRequest::default()
            .with_topics(vec![
                m::list_offsets_request::ListOffsetsTopic::default()
                    .with_name(topic)
                    .with_partitions(vec![m::list_offsets_request::ListOffsetsPartition::default()]),
            ])
            .into(),
        m::ApiKey::Metadata => m::MetadataRequest::default()
            .with_topics(Some(vec![
                m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic)),
            ]))
            .into(),
        m::ApiKey::OffsetCommit => m::OffsetCommitRequest::default()
            .with_group_id(group)
            .with_topics(vec![
                m::offset_commit_request::OffsetCommitRequestTopic::default()
                    .with_name(topic)
                    .with_partitions(vec![m::offset_commit_request::OffsetCommitRequestPartition::default()]),
            ])
            .into(),
        m::ApiKey::OffsetFetch if version >= 8 => m::OffsetFetchRequest::default()
            .with_groups(vec![
                m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group),
            ])
            .into(),
        m::ApiKey::OffsetFetch => m::OffsetFetchRequest::default().with_group_id(group).into(),
        m::ApiKey::FindCoordinator if version >= 4 => {
            m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]).into()
        }
        m::ApiKey::FindCoordinator => m::FindCoordinatorRequest::default().with_key(text("g")).into(),
        m::ApiKey::JoinGroup => m::JoinGroupRequest::default()
            .with_group_id(group)
            .with_protocols(vec![
                m::join_group_request::JoinGroupRequestProtocol::default().with_name(text("range")),
            ])
            .into(),
        m::ApiKey::SyncGroup => m::SyncGroupRequest::default()
            .with_group_id(group)
            .with_assignments(vec![m::sync_group_request::SyncGroupRequestAssignment::default()])
            .into(),
        m::ApiKey::LeaveGroup if version >= 3 => m::LeaveGroupRequest::default()
            .with_group_id(group)
            .with_members(vec![m::leave_group_request::MemberIdentity::default()])
            .into(),
        m::ApiKey::LeaveGroup => m::LeaveGroupRequest::default().with_group_id(group).into(),
        m::ApiKey::Heartbeat => m::HeartbeatRequest::default().with_group_id(group).into(),
        m::ApiKey::InitProducerId => m::InitProducerIdRequest::default().into(),
        m::ApiKey::OffsetForLeaderEpoch => m::OffsetForLeaderEpochRequest::default()
            .with_topics(vec![
                m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(topic),
            ])
            .into(),
        m::ApiKey::DescribeConfigs => m::DescribeConfigsRequest::default()
            .with_resources(vec![
                m::describe_configs_request::DescribeConfigsResource::default().with_resource_name(text("t")),
            ])
            .into(),
        m::ApiKey::DescribeCluster => m::DescribeClusterRequest::default().into(),
        m::ApiKey::ConsumerGroupHeartbeat => m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group)
            .with_member_id(text("m"))
            .with_subscribed_topic_names(Some(vec![topic]))
            .with_topic_partitions(Some(vec![
                m::consumer_group_heartbeat_request::TopicPartitions::default().with_partitions(vec![0, 1]),
            ]))
            .into(),
        _ => return None,
    })
}

fn text(value: &str) -> m::StrBytes {
    m::StrBytes::from_string(value.to_owned())
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/__fuzz__")
        .join(format!("p10_{target}"))
        .join("corpus");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a file");
}
