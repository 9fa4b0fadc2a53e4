//! The closed table: what is in it is answered, what is not is refused.

use futures_util::StreamExt;
use shuniu_wire::messages as m;
use shuniu_wire::{ApiKey, Request, SERVED, Served, decode_response, encode_request};

use crate::client::{Client, Open};

/// ApiVersions as it is on the wire: not among the requests that reach the exchange.
fn api_versions(version: i16) -> Vec<u8> {
    let mut frame =
        [&18_i16.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0, 4], b"test"].concat();
    if version >= 3 {
        // Tagged fields, client software name and version, tagged fields.
        frame.extend_from_slice(&[0, 5, b't', b'e', b's', b't', 2, b'1', 0]);
    }
    frame
}

/// What an ApiVersions answer announces, and its error. Versions before 3 and from 3 on.
fn announced(frame: &[u8], flexible: bool) -> (i16, Vec<(i16, i16, i16)>) {
    assert_eq!(frame[..4], 7_i32.to_be_bytes());
    let error = i16::from_be_bytes([frame[4], frame[5]]);
    let (count, rows, width) = if flexible {
        (usize::from(frame[6]) - 1, &frame[7..], 7)
    } else {
        (usize::from(frame[9]), &frame[10..], 6)
    };
    let number = |row: &[u8], at: usize| i16::from_be_bytes([row[at], row[at + 1]]);
    let rows = rows.chunks(width).take(count).map(|row| (number(row, 0), number(row, 2), number(row, 4)));
    (error, rows.collect())
}

/// What a hub on the engine serves: groups of the newer kind are a cluster's.
fn table() -> impl Iterator<Item = &'static Served> {
    SERVED.iter().filter(|row| !row.if_stored)
}

fn served(key: i16, version: i16) -> Option<&'static Served> {
    table().find(|row| row.api as i16 == key && (row.min..=row.max).contains(&version))
}

#[tokio::test(flavor = "multi_thread")]
async fn api_versions_announces_the_table_and_nothing_else() {
    let open = Open::new().await;
    let table: Vec<_> = table().map(|row| (row.api as i16, row.announced_min, row.max)).collect();
    let mut hall = open.client("hall").await;
    for version in 0..=20 {
        hall.send_frame(&api_versions(version)).await;
        let frame = hall.frame().await.unwrap();
        let known = served(18, version).is_some();
        let (error, rows) = announced(&frame, known && version >= 3);
        assert_eq!((error, rows), (if known { 0 } else { 35 }, table.clone()), "version {version}");
        // No feature and no other tagged field: the frame ends with the rows, the throttle time and an empty list.
        let fixed = match (known, version) {
            (false, _) | (true, 0) => 10,
            (true, 1 | 2) => 14,
            (true, _) => 12,
        };
        let width = if known && version >= 3 { 7 } else { 6 };
        assert_eq!(frame.len(), fixed + width * table.len(), "version {version}");
    }
    open.world.close().await;
}

/// Every API and version there is, and more.
fn everything() -> impl Iterator<Item = (i16, i16)> {
    let ends = [(i16::MAX, 0), (-1, 0), (3, -1), (3, i16::MAX)];
    (0..=100_i16).flat_map(|key| (0..=20_i16).map(move |version| (key, version))).chain(ends)
}

/// What is announced without being served, and why. All else is either both or neither.
const ANNOUNCED_ALONE: [(i16, std::ops::RangeInclusive<i16>, &str); 1] =
    [(0, 0..=2, "librdkafka 2.0.2 sends uncompressed to a hub that does not announce Produce 0 (KIP-896)")];

fn announced_alone(key: i16, version: i16) -> bool {
    ANNOUNCED_ALONE.iter().any(|(of, versions, _)| *of == key && versions.contains(&version))
}

/// A whole request of an API that the hub itself asks of its record store, and no client may.
fn of_the_hub_alone() -> [Request; 4] {
    let name = m::StrBytes::from_static_str("made-by-a-client");
    let topic = m::create_topics_request::CreatableTopic::default()
        .with_name(m::TopicName(name.clone()))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let more = m::create_partitions_request::CreatePartitionsTopic::default()
        .with_name(m::TopicName(name))
        .with_count(9);
    [
        m::CreateTopicsRequest::default().with_timeout_ms(1_000).with_topics(vec![topic]).into(),
        m::CreatePartitionsRequest::default().with_timeout_ms(1_000).with_topics(vec![more]).into(),
        m::DeleteRecordsRequest::default().with_timeout_ms(1_000).into(),
        m::IncrementalAlterConfigsRequest::default().into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_served_and_what_is_not_is_neither() {
    let open = Open::new().await;
    let mut hall = open.client("hall").await;
    hall.send_frame(&api_versions(4)).await;
    let (_, rows) = announced(&hall.frame().await.unwrap(), true);
    let mut known = 0;
    for (key, version) in everything() {
        let announced = rows.iter().any(|(of, min, max)| *of == key && (*min..=*max).contains(&version));
        let served = served(key, version).is_some();
        assert_eq!(announced, served || announced_alone(key, version), "API {key} version {version}");
        let of_kafka = ApiKey::try_from(key).is_ok_and(|api| {
            let versions = api.valid_versions();
            (versions.min..=versions.max).contains(&version)
        });
        assert!(of_kafka || !served, "API {key} version {version} is none of Kafka's");
        known += usize::from(of_kafka);
    }
    // Kafka's own table is within what was looked at.
    let of_kafka = (0..i16::MAX).filter_map(|key| ApiKey::try_from(key).ok()).map(|api| api.valid_versions());
    let versions: i16 = of_kafka.map(|versions| versions.max - versions.min + 1).sum();
    assert_eq!(known, usize::try_from(versions).unwrap());
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_every_api_and_version_outside_the_table_is_refused_and_none_reaches_the_record_store() {
    let open = Open::new().await;
    let certificate = open.world.authority.issue(&crate::world::Claim::of("hall"));
    let config = open.world.authority.client(Some(&certificate));
    let outside = everything()
        .filter(|(key, version)| *key != 18 && served(*key, *version).is_none())
        .map(|(key, version)| [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 40]].concat());
    let hubs = of_the_hub_alone().into_iter().flat_map(|request| {
        let versions = request.api().valid_versions();
        (versions.min..=versions.max).map(move |version| {
            let frame = encode_request(version, 7, "test", &request).unwrap();
            frame[4..].to_vec()
        })
    });
    let before = open.world.calls();
    let refused = futures_util::stream::iter(outside.chain(hubs))
        .map(|frame| {
            let config = std::sync::Arc::clone(&config);
            async move {
                let mut client = Client::connect(open.at, config).await.unwrap();
                client.send_frame(&frame).await;
                client.ends().await;
            }
        })
        .buffer_unordered(16)
        .count()
        .await;
    assert!(refused > 1_900, "{refused}");
    assert_eq!(open.world.calls(), before, "something reached the record store");
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_what_is_announced_and_not_served_is_refused_in_words_and_recorded() {
    let open = Open::new().await;
    let mut register = open.client("register").await;
    let before = open.world.calls();
    for (key, versions, _) in ANNOUNCED_ALONE {
        for version in versions {
            // acks -1, a timeout, one topic with one partition and three bytes of records.
            let body = [
                &[0xff, 0xff, 0, 0, 1, 0, 0, 0, 0, 1, 0, 4][..],
                b"shop",
                &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3],
            ];
            let body = [&body.concat()[..], b"abc"].concat();
            let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0, 1, b't']]
                .concat();
            register.send_frame(&[&head[..], &body].concat()).await;
            let answer = register.frame().await.unwrap();
            // The correlation id, one topic of that name, one partition, partition 0, UNSUPPORTED_VERSION.
            let expected =
                [&[0, 0, 0, 7, 0, 0, 0, 1, 0, 4][..], b"shop", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 35]].concat();
            assert_eq!(answer[..expected.len()], expected, "version {version}");
        }
    }
    assert_eq!(open.world.calls(), before, "something reached the record store");
    while open.world.audit_entries("refused").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The connection goes on.
    let _: m::MetadataResponse = register.ask(12, m::MetadataRequest::default()).await;
    open.world.close().await;
}

/// A request of that API that a client could send, with nothing in it.
fn request(row: &Served) -> Option<Request> {
    Some(match row.api {
        ApiKey::Produce => m::ProduceRequest::default().with_acks(-1).into(),
        ApiKey::Fetch => m::FetchRequest::default().into(),
        ApiKey::ListOffsets => m::ListOffsetsRequest::default().into(),
        ApiKey::Metadata => m::MetadataRequest::default().with_topics(Some(Vec::new())).into(),
        ApiKey::OffsetCommit => m::OffsetCommitRequest::default().into(),
        ApiKey::OffsetFetch => m::OffsetFetchRequest::default().into(),
        ApiKey::FindCoordinator => m::FindCoordinatorRequest::default().into(),
        ApiKey::JoinGroup => m::JoinGroupRequest::default().into(),
        ApiKey::Heartbeat => m::HeartbeatRequest::default().into(),
        ApiKey::LeaveGroup => m::LeaveGroupRequest::default().into(),
        ApiKey::SyncGroup => m::SyncGroupRequest::default().into(),
        ApiKey::InitProducerId => m::InitProducerIdRequest::default().into(),
        ApiKey::OffsetForLeaderEpoch => m::OffsetForLeaderEpochRequest::default().into(),
        ApiKey::DescribeConfigs => m::DescribeConfigsRequest::default().into(),
        ApiKey::DescribeCluster => m::DescribeClusterRequest::default().into(),
        ApiKey::ApiVersions => return None,
        other => panic!("{other:?} is served without a test"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_in_the_table_is_answered_in_its_own_form() {
    let open = Open::new().await;
    for system in ["hall", "register"] {
        let mut client = open.client(system).await;
        for row in table() {
            let Some(request) = request(row) else { continue };
            for version in row.min..=row.max {
                let frame = encode_request(version, i32::from(version), "test", &request).unwrap();
                client.send_frame(&frame[4..]).await;
                let frame =
                    client.frame().await.unwrap_or_else(|e| panic!("{:?} version {version}: {e}", row.api));
                let (correlation, response) = decode_response(row.api, version, frame).unwrap();
                assert_eq!((correlation, response.api()), (i32::from(version), row.api));
            }
        }
    }
    open.world.close().await;
}
