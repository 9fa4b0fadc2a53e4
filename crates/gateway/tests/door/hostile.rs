//! P10: no byte from a client can panic, exhaust memory or block another client.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use shuniu_gateway::Options;
use shuniu_wire::messages::{
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, StrBytes, TransactionalId,
};
use shuniu_wire::{SERVED, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, LONG, Open};
use crate::records::{fetch, large_answers, produce, publish_megabytes, schema_id, whole_permit};
use crate::world::{Authority, Certificate, Claim, World};

impl Open {
    /// Another client is served as ever.
    async fn serves(&self) {
        let mut client = self.client("hall").await;
        let _: MetadataResponse = client.ask(9, MetadataRequest::default().with_topics(None)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_frames_that_claim_what_they_do_not_hold_end_the_connection() {
    let open = Open::new().await;
    let header = |key: i16, version: i16| {
        [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0, 1, b't']].concat()
    };
    let flexible = |key, version| [header(key, version), vec![0]].concat();
    let frames = [
        // Metadata 12 with 2^31 topics in five bytes, and Metadata 0 with as many.
        [flexible(3, 12), vec![0xff, 0xff, 0xff, 0xff, 0x07]].concat(),
        [header(3, 0), vec![0x7f, 0xff, 0xff, 0xff]].concat(),
        // A client id longer than the frame.
        vec![0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff],
        // Produce: records of 2 GiB.
        [
            header(0, 3),
            vec![
                0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b's', 0, 0, 0, 1, 0, 0, 0, 0, 0x7f,
                0xff, 0xff, 0xff,
            ],
        ]
        .concat(),
        // Fetch with a negative count other than null's.
        [header(1, 4), vec![0xff; 17], vec![0x80, 0, 0, 0]].concat(),
        // Bytes after the body.
        [header(12, 0), vec![0xaa; 64]].concat(),
        // Text that is not UTF-8.
        [header(3, 0), vec![0, 0, 0, 1, 0, 2, 0xff, 0xfe]].concat(),
    ];
    for frame in frames {
        let mut client = open.client("hall").await;
        client.send_frame(&frame).await;
        client.ends().await;
    }
    for length in [i32::MAX, i32::MIN, -1, 0, 7, 300 << 20] {
        let mut client = open.client("hall").await;
        client.send_bytes(&length.to_be_bytes()).await;
        client.ends().await;
    }
    open.serves().await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_random_bodies_of_every_api_never_stop_the_door() {
    let open = Open::of(World::new().await, |_| {}).await;
    let certificate = open.world.authority.issue(&Claim::of("hall"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut client = open.client_with(&certificate).await;
    for row in SERVED {
        for version in row.min..=row.max {
            for _ in 0..6 {
                let length = usize::try_from(random() % 96).unwrap();
                // Small numbers reach further into a body than random ones.
                let body = (0..length).map(|_| if random() % 3 == 0 { random().to_le_bytes()[0] } else { 0 });
                let mut frame =
                    [&(row.api as i16).to_be_bytes()[..], &version.to_be_bytes(), &[0; 6]].concat();
                frame.extend(body);
                client.send_frame(&frame).await;
                // Answered or ended: both are fine, waiting for ever is not.
                if client.frame().await.is_err() {
                    client = open.client_with(&certificate).await;
                }
            }
        }
    }
    open.serves().await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_what_is_not_tls_is_closed_and_holds_nobody_up() {
    let open =
        Open::of(World::new().await, |options| options.handshake_max = Duration::from_millis(500)).await;
    let plain_kafka = encode_request(1, 1, "test", &MetadataRequest::default().into()).unwrap();
    let garbage_tls = [&[0x16, 3, 1, 0xff, 0xff][..], &[0xaa; 2_000]].concat();
    let garbage: [&[u8]; 5] = [&plain_kafka, b"GET / HTTP/1.1\r\n\r\n", &garbage_tls, &[0x16], &[]];
    let mut streams = Vec::new();
    for bytes in garbage {
        let mut stream = TcpStream::connect(open.at).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    // While they are under way others are served.
    open.serves().await;
    for mut stream in streams {
        let mut read = Vec::new();
        // Closed or reset; at most a TLS alert comes before.
        tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut read)).await.unwrap().ok();
        assert!(read.len() < 16);
    }
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_silent_connections_of_one_address_keep_no_known_caller_out() {
    let open = Open::of(World::new().await, |options| {
        options.connections_max = 20;
        options.connections_per_system_max = 20;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(open.at).await.unwrap());
    }
    open.serves().await;
    // The oldest ones made room.
    let ended = tokio::time::timeout(Duration::from_secs(5), silent[0].read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(silent);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_prove_no_system_of_this_hub_are_refused() {
    let open = Open::new().await;
    let authority = &open.world.authority;
    let good = Claim::of("hall");
    let refused = |certificate: Option<Certificate>| async move {
        let config = authority.client(certificate.as_ref());
        // A TLS 1.3 client may believe in the connection until it reads.
        if let Ok(mut client) = Client::connect(open.at, config).await {
            let frame = encode_request(1, 1, "test", &MetadataRequest::default().into()).unwrap();
            client.stream.write_all(&frame).await.ok();
            client.stream.flush().await.ok();
            client.ends().await;
        }
    };
    refused(None).await;
    refused(Some(Authority::new().issue(&good))).await;
    refused(Some(authority.issue(&Claim { last_second: Some(1_600_000_000), ..good.clone() }))).await;
    // Another purpose, any purpose, and none.
    for usage in [Some(ExtendedKeyUsagePurpose::ServerAuth), Some(ExtendedKeyUsagePurpose::Any), None] {
        refused(Some(authority.issue(&Claim { usage, ..good.clone() }))).await;
    }
    refused(Some(authority.issue(&Claim { uri: None, ..good.clone() }))).await;
    let uri = Some("urn:shuniu:system:bank".to_owned());
    refused(Some(authority.issue(&Claim { uri, ..good.clone() }))).await;
    refused(Some(authority.issue(&Claim::of("nobody")))).await;
    let revoked = authority.issue(&good);
    open.world.revoke_certificate(&revoked.serial).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    refused(Some(revoked)).await;
    open.serves().await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_a_client_that_takes_no_answers_is_given_up_and_blocks_nobody() {
    let adjust = |options: &mut Options| options.write_max = Duration::from_millis(500);
    let open = Open::of(World::with(large_answers(), &whole_permit("2099-12-31")).await, adjust).await;
    publish_megabytes(&open, "permit", 14).await;
    let mut lazy = open.client("hall").await;
    for _ in 0..8 {
        lazy.send(12, fetch("permit", 0, 0)).await;
    }
    open.serves().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What the kernels hold may still arrive; then it ends, long before the eighth answer of 14 MB.
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = tokio::time::timeout(LONG, lazy.stream.read(&mut buffer)).await.unwrap() {
        taken += read;
    }
    assert!(taken < 70_000_000, "{taken}");
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_connections_are_bounded_for_one_system_and_for_all() {
    let open = Open::of(World::new().await, |options| {
        options.connections_per_system_max = 2;
        options.connections_max = 3;
    })
    .await;
    let mut halls = Vec::new();
    for _ in 0..2 {
        let mut hall = open.client("hall").await;
        let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
        halls.push(hall);
    }
    open.client("hall").await.ends().await;
    let mut bank = open.client("bank").await;
    let _: MetadataResponse = bank.ask(9, MetadataRequest::default().with_topics(None)).await;
    open.client("register").await.ends().await;
    drop(halls);
    tokio::time::sleep(Duration::from_millis(200)).await;
    open.serves().await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_that_wants_no_acknowledgement_ends_the_connection() {
    let open = Open::new().await;
    let schema = schema_id(&open, "shop").await;
    let mut register = open.client("register").await;
    register.send(9, produce("shop", schema, &[("1", "a")]).with_acks(0)).await;
    register.ends().await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_id_is_refused_with_its_error() {
    let open = Open::new().await;
    let schema = schema_id(&open, "shop").await;
    let mut register = open.client("register").await;
    let id = Some(TransactionalId(StrBytes::from_static_str("t")));
    let request: ProduceRequest = produce("shop", schema, &[("1", "a")]).with_transactional_id(id);
    let response: ProduceResponse = register.ask(9, request).await;
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 53);
    assert!(partition.error_message.as_ref().unwrap().contains("idempotent"), "{partition:?}");
    open.world.close().await;
}
