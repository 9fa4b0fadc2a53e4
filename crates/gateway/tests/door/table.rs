//! The closed table: what is in it is answered, what is not is refused.

use futures_util::StreamExt;
use shuniu_wire::messages as m;
use shuniu_wire::{ApiKey, Request, SERVED, Served, decode_response, encode_request, served};

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

#[tokio::test(flavor = "multi_thread")]
async fn api_versions_announces_the_table_and_nothing_else() {
    let open = Open::new().await;
    let table: Vec<_> = SERVED.iter().map(|row| (row.api as i16, row.min, row.max)).collect();
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
        assert_eq!(frame.len(), fixed + width * SERVED.len(), "version {version}");
    }
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_every_api_and_version_outside_the_table_is_refused() {
    let open = Open::new().await;
    let certificate = open.world.authority.issue(&crate::world::Claim::of("hall"));
    let config = open.world.authority.client(Some(&certificate));
    let outside = (0..=100_i16)
        .flat_map(|key| (0..=20_i16).map(move |version| (key, version)))
        .chain([(i16::MAX, 0), (-1, 0), (3, -1), (3, i16::MAX)])
        .filter(|(key, version)| *key != 18 && served(*key, *version).is_none());
    let refused = futures_util::stream::iter(outside)
        .map(|(key, version)| {
            let config = std::sync::Arc::clone(&config);
            async move {
                let mut client = Client::connect(open.at, config).await.unwrap();
                let frame = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 40]].concat();
                client.send_frame(&frame).await;
                client.ends().await;
            }
        })
        .buffer_unordered(16)
        .count()
        .await;
    assert!(refused > 1_900, "{refused}");
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
        for row in SERVED {
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
