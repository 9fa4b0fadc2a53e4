//! What the frames promise.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::messages::{self as m, ApiKey, StrBytes};

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A request of the API with something in every array that the version has.
#[expect(clippy::too_many_lines, reason = "one arm an API")]
fn full(api: ApiKey, version: i16) -> Option<Request> {
    let group = m::GroupId(text("g"));
    let topic = m::TopicName(text("t"));
    Some(match api {
        ApiKey::Produce => m::ProduceRequest::default()
            .with_topic_data(vec![
                m::produce_request::TopicProduceData::default().with_name(topic).with_partition_data(vec![
                    m::produce_request::PartitionProduceData::default()
                        .with_records(Some(Bytes::from_static(b"abc"))),
                ]),
            ])
            .into(),
        ApiKey::Fetch => {
            let mut fetch = m::fetch_request::FetchTopic::default()
                .with_partitions(vec![m::fetch_request::FetchPartition::default().with_fetch_offset(3)]);
            if version >= 13 {
                fetch.topic_id = uuid::Uuid::from_u128(7);
            } else {
                fetch.topic = topic;
            }
            m::FetchRequest::default().with_topics(vec![fetch]).into()
        }
        ApiKey::ListOffsets => m::ListOffsetsRequest::default()
            .with_topics(vec![
                m::list_offsets_request::ListOffsetsTopic::default()
                    .with_name(topic)
                    .with_partitions(vec![m::list_offsets_request::ListOffsetsPartition::default()]),
            ])
            .into(),
        ApiKey::Metadata => m::MetadataRequest::default()
            .with_topics(Some(vec![
                m::metadata_request::MetadataRequestTopic::default().with_name(Some(topic)),
            ]))
            .into(),
        ApiKey::OffsetCommit => m::OffsetCommitRequest::default()
            .with_group_id(group)
            .with_topics(vec![
                m::offset_commit_request::OffsetCommitRequestTopic::default()
                    .with_name(topic)
                    .with_partitions(vec![m::offset_commit_request::OffsetCommitRequestPartition::default()]),
            ])
            .into(),
        ApiKey::OffsetFetch if version >= 8 => m::OffsetFetchRequest::default()
            .with_groups(vec![
                m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group).with_topics(
                    Some(vec![
                        m::offset_fetch_request::OffsetFetchRequestTopics::default()
                            .with_name(topic)
                            .with_partition_indexes(vec![0, 1]),
                    ]),
                ),
            ])
            .into(),
        ApiKey::OffsetFetch => m::OffsetFetchRequest::default()
            .with_group_id(group)
            .with_topics(Some(vec![
                m::offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(topic)
                    .with_partition_indexes(vec![0, 1]),
            ]))
            .into(),
        ApiKey::FindCoordinator if version >= 4 => {
            m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]).into()
        }
        ApiKey::FindCoordinator => m::FindCoordinatorRequest::default().with_key(text("g")).into(),
        ApiKey::JoinGroup => m::JoinGroupRequest::default()
            .with_group_id(group)
            .with_protocols(vec![
                m::join_group_request::JoinGroupRequestProtocol::default()
                    .with_name(text("range"))
                    .with_metadata(Bytes::from_static(b"m")),
            ])
            .into(),
        ApiKey::Heartbeat => m::HeartbeatRequest::default().with_group_id(group).into(),
        ApiKey::LeaveGroup if version >= 3 => m::LeaveGroupRequest::default()
            .with_group_id(group)
            .with_members(vec![m::leave_group_request::MemberIdentity::default().with_member_id(text("m"))])
            .into(),
        ApiKey::LeaveGroup => {
            m::LeaveGroupRequest::default().with_group_id(group).with_member_id(text("m")).into()
        }
        ApiKey::SyncGroup => m::SyncGroupRequest::default()
            .with_group_id(group)
            .with_assignments(vec![m::sync_group_request::SyncGroupRequestAssignment::default()])
            .into(),
        ApiKey::InitProducerId => m::InitProducerIdRequest::default().into(),
        ApiKey::OffsetForLeaderEpoch => m::OffsetForLeaderEpochRequest::default()
            .with_topics(vec![
                m::offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                    .with_topic(topic)
                    .with_partitions(vec![
                        m::offset_for_leader_epoch_request::OffsetForLeaderPartition::default(),
                    ]),
            ])
            .into(),
        ApiKey::DescribeConfigs => m::DescribeConfigsRequest::default()
            .with_resources(vec![
                m::describe_configs_request::DescribeConfigsResource::default()
                    .with_resource_name(text("t"))
                    .with_configuration_keys(Some(vec![text("k")])),
            ])
            .into(),
        ApiKey::DescribeCluster => m::DescribeClusterRequest::default().into(),
        ApiKey::ConsumerGroupHeartbeat => m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group)
            .with_member_id(text("m"))
            .with_subscribed_topic_names(Some(vec![topic]))
            .with_subscribed_topic_regex((version >= 1).then(|| text("t.*")))
            .with_topic_partitions(Some(vec![
                m::consumer_group_heartbeat_request::TopicPartitions::default()
                    .with_topic_id(uuid::Uuid::from_u128(7))
                    .with_partitions(vec![0, 1]),
            ]))
            .into(),
        _ => return None,
    })
}

fn rows() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|row| (row.min..=row.max).map(|version| (row.api, version)))
}

fn open(frame: &Bytes) -> (RequestHeader, Bytes) {
    let mut frame = frame.slice(4..);
    let header = request_header(&mut frame).unwrap();
    (header, frame)
}

#[test]
fn every_served_request_is_read_as_it_was_written() {
    let mut read = 0;
    for (api, version) in rows() {
        let Some(request) = full(api, version) else {
            assert_eq!(api, ApiKey::ApiVersions);
            continue;
        };
        let frame = encode_request(version, 9, "kcat", &request).unwrap();
        let (header, body) = open(&frame);
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (api as i16, version, 9));
        assert_eq!(header.client_id.as_deref(), Some("kcat"));
        let decoded = decode_request(&header, body.clone())
            .unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert_eq!(format!("{decoded:?}"), format!("{request:?}"), "{api:?} {version}");
        // Cut anywhere, or with a byte more, it is refused: never read as something else, never a panic.
        for cut in 0..body.len() {
            assert!(decode_request(&header, body.slice(..cut)).is_err(), "{api:?} {version} cut at {cut}");
        }
        let longer = Bytes::from([&body[..], &[0]].concat());
        assert!(decode_request(&header, longer).is_err(), "{api:?} {version}");
        read += 1;
    }
    assert!(read > 80);
}

#[test]
fn every_served_response_is_fitted_to_its_version() {
    for (api, version) in rows() {
        let Some(response) = default_response(api) else { continue };
        let frame = encode_response(version, 3, response)
            .unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        let (correlation_id, read) = decode_response(api, version, frame.slice(4..))
            .unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert_eq!(correlation_id, 3);
        if let Response::OffsetFetch(body) = read
            && version < 8
        {
            assert_eq!(body.topics[0].partitions[0].committed_offset, 41);
        }
    }
}

fn default_response(api: ApiKey) -> Option<Response> {
    Some(match api {
        ApiKey::Produce => m::ProduceResponse::default()
            .with_node_endpoints(vec![m::produce_response::NodeEndpoint::default().with_port(1)])
            .into(),
        ApiKey::Fetch => m::FetchResponse::default()
            .with_node_endpoints(vec![m::fetch_response::NodeEndpoint::default().with_port(1)])
            .with_responses(vec![m::fetch_response::FetchableTopicResponse::default().with_partitions(vec![
                m::fetch_response::PartitionData::default().with_current_leader(
                    m::fetch_response::LeaderIdAndEpoch::default().with_leader_epoch(4),
                ),
            ])])
            .into(),
        ApiKey::ListOffsets => m::ListOffsetsResponse::default()
            .with_topics(vec![m::list_offsets_response::ListOffsetsTopicResponse::default().with_partitions(
                vec![m::list_offsets_response::ListOffsetsPartitionResponse::default().with_leader_epoch(3)],
            )])
            .into(),
        ApiKey::Metadata => m::MetadataResponse::default()
            .with_cluster_authorized_operations(4)
            .with_topics(vec![
                m::metadata_response::MetadataResponseTopic::default().with_topic_authorized_operations(8),
            ])
            .into(),
        ApiKey::OffsetCommit => m::OffsetCommitResponse::default().into(),
        ApiKey::OffsetFetch => m::OffsetFetchResponse::default()
            .with_groups(vec![
                m::offset_fetch_response::OffsetFetchResponseGroup::default()
                    .with_group_id(m::GroupId(text("g")))
                    .with_topics(vec![
                        m::offset_fetch_response::OffsetFetchResponseTopics::default()
                            .with_name(m::TopicName(text("t")))
                            .with_partitions(vec![
                                m::offset_fetch_response::OffsetFetchResponsePartitions::default()
                                    .with_committed_offset(41),
                            ]),
                    ]),
            ])
            .into(),
        ApiKey::FindCoordinator => m::FindCoordinatorResponse::default()
            .with_port(5)
            .with_coordinators(vec![m::find_coordinator_response::Coordinator::default().with_key(text("g"))])
            .into(),
        ApiKey::JoinGroup => {
            m::JoinGroupResponse::default().with_protocol_name(None).with_skip_assignment(true).into()
        }
        ApiKey::Heartbeat => m::HeartbeatResponse::default().into(),
        ApiKey::LeaveGroup => m::LeaveGroupResponse::default()
            .with_members(vec![m::leave_group_response::MemberResponse::default().with_error_code(25)])
            .into(),
        ApiKey::SyncGroup => m::SyncGroupResponse::default().into(),
        ApiKey::InitProducerId => {
            m::InitProducerIdResponse::default().with_ongoing_txn_producer_id(4.into()).into()
        }
        ApiKey::OffsetForLeaderEpoch => m::OffsetForLeaderEpochResponse::default().into(),
        ApiKey::DescribeConfigs => m::DescribeConfigsResponse::default().into(),
        ApiKey::DescribeCluster => m::DescribeClusterResponse::default()
            .with_endpoint_type(2)
            .with_brokers(vec![
                m::describe_cluster_response::DescribeClusterBroker::default().with_is_fenced(true),
            ])
            .into(),
        ApiKey::ConsumerGroupHeartbeat => m::ConsumerGroupHeartbeatResponse::default()
            .with_assignment(Some(
                m::consumer_group_heartbeat_response::Assignment::default().with_topic_partitions(vec![
                    m::consumer_group_heartbeat_response::TopicPartitions::default().with_partitions(vec![3]),
                ]),
            ))
            .into(),
        _ => return None,
    })
}

#[test]
fn p10_a_metadata_request_that_claims_2_to_the_31_topics_is_refused() {
    let header = |api_version| RequestHeader { api_key: 3, api_version, correlation_id: 1, client_id: None };
    // Version 12: an unsigned varint count of 2^31, in five bytes, and nothing after it.
    let compact = Bytes::from_static(&[0x81, 0x80, 0x80, 0x80, 0x08]);
    assert!(matches!(
        decode_request(&header(12), compact),
        Err(FrameError::Count { claimed: 0x8000_0000, .. })
    ));
    let plain = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    assert!(matches!(decode_request(&header(4), plain), Err(FrameError::Count { .. })));
}

#[test]
fn p10_a_count_beyond_the_bytes_that_are_left_is_refused_before_memory_is_set_aside() {
    // 20,000 topics are fewer than a body may have, and four bytes follow.
    let header = RequestHeader { api_key: 3, api_version: 4, correlation_id: 1, client_id: None };
    let body = Bytes::from_static(&[0, 0, 0x4e, 0x20, 0, 0, 0, 0]);
    assert!(matches!(decode_request(&header, body), Err(FrameError::Count { claimed: 20_000, .. })));
}

#[test]
fn p10_a_tagged_field_cannot_lead_the_decoder_astray() {
    // The decoder reads 16 bytes for tag 0 of a partition whatever its size says, and would go on in the wrong place.
    let request = full(ApiKey::Fetch, 17).unwrap();
    let frame = encode_request(17, 9, "c", &request).unwrap();
    let (header, body) = open(&frame);
    // The partition's tagged fields come before the topic's, the forgotten topics, the rack and the request's own.
    let partition_tags = body.len() - 5;
    let tagged = |tag: &[u8]| {
        let mut bytes = body.to_vec();
        bytes.splice(partition_tags..=partition_tags, [&[1], tag, &[1, 0xff]].concat());
        decode_request(&header, Bytes::from(bytes))
    };
    assert_eq!(tagged(&[0]).unwrap_err(), FrameError::Tag { api: "Fetch", tag: 0 });
    assert!(tagged(&[7]).is_ok());
    // It keeps tags as i32, and so would write this one wrongly when the request goes on to a broker.
    let over = tagged(&[0x80, 0x80, 0x80, 0x80, 0x08]);
    assert_eq!(over.unwrap_err(), FrameError::Tag { api: "Fetch", tag: 1 << 31 });
}

#[test]
fn p10_a_body_of_tiny_elements_is_refused_by_their_number() {
    // Topics without a name and without partitions are three bytes each.
    let topics = vec![m::produce_request::TopicProduceData::default(); guard::ELEMENTS_MAX + 1];
    let produce = |topics| {
        let frame = encode_request(9, 1, "c", &m::ProduceRequest::default().with_topic_data(topics).into());
        let (header, body) = open(&frame.unwrap());
        decode_request(&header, body)
    };
    assert!(matches!(produce(topics.clone()), Err(FrameError::Count { field: "topic_data", .. })));
    assert!(produce(topics[1..].to_vec()).is_ok());
}

#[test]
fn an_answer_that_claims_more_than_it_holds_is_refused_before_memory_is_taken() {
    // A Fetch answer, version 17: header, throttle time, error, session, and a count of topics of 2^31.
    let mut frame = vec![0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.extend([0xff, 0xff, 0xff, 0xff, 0x07]);
    let refused = decode_response(ApiKey::Fetch, 17, Bytes::from(frame)).unwrap_err();
    assert!(matches!(refused, FrameError::Count { field: "responses", .. }), "{refused}");
    // A tagged field that is longer than it says.
    let endpoint = m::fetch_response::NodeEndpoint::default().with_host(text("kafka-1"));
    let answer = m::FetchResponse::default().with_node_endpoints(vec![endpoint]);
    let frame = encode_response(17, 9, answer.into()).unwrap().slice(4..);
    decode_response(ApiKey::Fetch, 17, frame.clone()).unwrap();
    let mut longer = frame.to_vec();
    // Its size stands before its 19 bytes: a count, and the endpoint.
    let size = longer.len() - 20;
    assert_eq!(longer[size], 19);
    longer[size] = 18;
    assert!(decode_response(ApiKey::Fetch, 17, Bytes::from(longer)).is_err());
}

#[test]
fn a_broker_is_asked_in_the_highest_version_that_both_sides_know() {
    let mut frame = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    frame.extend([0, 1, 0, 4, 0, 17, 0, 0, 0, 0, 0, 11]);
    let (_, apis) = BrokerApis::read(Bytes::from(frame)).unwrap();
    let named = m::fetch_request::FetchTopic::default().with_topic(m::TopicName(text("t")));
    let by_id = named.clone().with_topic_id(uuid::Uuid::from_bytes([1; 16]));
    let fetch = |topic| m::FetchRequest::default().with_topics(vec![topic]).with_session_id(7).into();
    let (version, request) = apis.fit(fetch(by_id)).unwrap();
    assert_eq!(version, 17);
    assert!(
        matches!(request, Request::Fetch(request) if (request.session_id, request.session_epoch) == (0, -1))
    );
    assert_eq!(apis.fit(fetch(named)).unwrap().0, 12);
    assert_eq!(apis.fit(m::ProduceRequest::default().into()).unwrap().0, 11);
    assert!(apis.fit(m::HeartbeatRequest::default().into()).is_err());
    assert!(BrokerApis::read(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0])).is_err());
}

#[test]
fn what_is_not_in_the_table_is_refused() {
    for key in -5..120_i16 {
        for version in -2..30_i16 {
            let in_table = served(key, version).is_some();
            let listed =
                SERVED.iter().any(|row| row.api as i16 == key && row.min <= version && version <= row.max);
            assert_eq!(in_table, listed);
            if !in_table {
                let header =
                    RequestHeader { api_key: key, api_version: version, correlation_id: 0, client_id: None };
                assert_eq!(
                    decode_request(&header, Bytes::from_static(&[0; 64])).unwrap_err(),
                    FrameError::NotServed { key, version }
                );
            }
        }
    }
}

#[test]
fn api_versions_announces_exactly_the_table() {
    for version in 0..=4_i16 {
        let header = RequestHeader { api_key: 18, api_version: version, correlation_id: 77, client_id: None };
        let frame = api_versions_response(&header, |_| true);
        let mut body = frame.slice(8..);
        let response =
            <m::ApiVersionsResponse as kafka_protocol::protocol::Decodable>::decode(&mut body, version)
                .unwrap();
        assert!(body.is_empty());
        assert_eq!(response.error_code, 0);
        let announced: Vec<(i16, i16, i16)> =
            response.api_keys.iter().map(|key| (key.api_key, key.min_version, key.max_version)).collect();
        let table: Vec<_> = SERVED.iter().map(|row| (row.api as i16, row.announced_min, row.max)).collect();
        assert_eq!(announced, table);
        // What is announced is served, but for what librdkafka looks for in Produce.
        let more = SERVED.iter().filter(|row| row.announced_min != row.min);
        assert_eq!(
            more.map(|row| (row.api, row.announced_min, row.min)).collect::<Vec<_>>(),
            [(ApiKey::Produce, 0, 3)]
        );
    }
    let too_new = RequestHeader { api_key: 18, api_version: 9, correlation_id: 77, client_id: None };
    let mut body = api_versions_response(&too_new, |_| true).slice(8..);
    let response =
        <m::ApiVersionsResponse as kafka_protocol::protocol::Decodable>::decode(&mut body, 0).unwrap();
    assert_eq!(response.error_code, 35);
}

proptest! {
    #[test]
    fn p10_no_frame_panics_the_decoder(
        row in 0_usize..200, tail in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let rows: Vec<_> = rows().collect();
        let (api, version) = rows[row % rows.len()];
        let mut raw = BytesMut::new();
        raw.put_i16(api as i16);
        raw.put_i16(version);
        raw.extend_from_slice(&tail);
        let mut noise = raw.freeze();
        if let Ok(header) = request_header(&mut noise) {
            drop(decode_request(&header, noise));
        }
        if let Some(request) = full(api, version) {
            let mut frame = encode_request(version, 9, "c", &request).unwrap()[4..].to_vec();
            for (at, byte) in flips {
                let at = at.index(frame.len() - 4) + 4;
                frame[at] = byte;
            }
            let mut frame = Bytes::from(frame);
            if let Ok(header) = request_header(&mut frame) {
                drop(decode_request(&header, frame));
            }
        }
    }
}

#[test]
fn all_topics_as_librdkafka_asks_for_them_are_all_topics() {
    for (version, flags) in [(9, &[1, 0, 1][..]), (10, &[1, 0, 1]), (11, &[1, 1]), (12, &[1, 1])] {
        let header = RequestHeader { api_key: 3, api_version: version, correlation_id: 1, client_id: None };
        for placeholder in [1, 4] {
            let body = [&vec![0; placeholder][..], flags, &[0]].concat();
            let Request::Metadata(request) = decode_request(&header, Bytes::from(body)).unwrap() else {
                panic!("not metadata")
            };
            assert_eq!(request.topics, None);
            assert!(request.allow_auto_topic_creation && request.include_topic_authorized_operations);
        }
    }
}
