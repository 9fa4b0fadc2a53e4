//! Who is let in, for how long, and what everybody may ask.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{LONG, Open, exchange};
use crate::world::{Authority, Claim};

const ASK: &[u8] = b"GET /registry/subjects HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_without_a_certificate_of_this_hub() {
    let open = Open::new().await;
    let authority = &open.world.authority;
    let uri = Some("urn:shuniu:system:bank".to_owned());
    let mixed = authority.issue(&Claim { uri, ..Claim::of("hall") });
    let old = authority.issue(&Claim { last_second: Some(1_600_000_000), ..Claim::of("hall") });
    let foreign = Authority::new().issue(&Claim::of("hall"));
    for certificate in [None, Some(&mixed), Some(&old), Some(&foreign)] {
        let Ok(mut stream) = open.connect(authority.client(certificate)).await else { continue };
        stream.write_all(ASK).await.ok();
        let mut read = Vec::new();
        tokio::time::timeout(LONG, stream.read_to_end(&mut read)).await.unwrap().ok();
        assert!(read.is_empty(), "{}", String::from_utf8_lossy(&read));
    }
    // In plain text nothing is answered either; at most a TLS alert comes back.
    let mut plain = TcpStream::connect(open.at).await.unwrap();
    plain.write_all(ASK).await.unwrap();
    let mut read = Vec::new();
    tokio::time::timeout(LONG, plain.read_to_end(&mut read)).await.unwrap().ok();
    assert!(read.len() < 16, "{}", String::from_utf8_lossy(&read));
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_an_open_connection_ends_when_its_certificate_is_revoked() {
    let open = Open::new().await;
    let certificate = open.world.authority.issue(&Claim::of("hall"));
    let mut stream = open.client_with(&certificate).await;
    stream.write_all(ASK).await.unwrap();
    assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
    open.world.revoke_certificate(&certificate.serial).await;
    let revoked = Instant::now();
    let ended = tokio::time::timeout(LONG, stream.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_bodies_headers_connections_and_handshakes_are_bounded() {
    let open = Open::with(|options| {
        options.body_bytes_max = 1_000;
        options.connections_per_system_max = 2;
        options.handshake_max = Duration::from_millis(500);
    })
    .await;
    let large = "x".repeat(2_000);
    assert_eq!(open.post("register", "/registry/subjects/shop-value", &large).await.error(), (413, 413));
    let long = format!("/registry/subjects/{}", "x".repeat(40_000));
    assert!(matches!(open.get("register", &long).await.status, 414 | 431));
    // A handshake that never goes on.
    let mut silent = TcpStream::connect(open.at).await.unwrap();
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), silent.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");

    let mut halls = Vec::new();
    for _ in 0..2 {
        let mut hall = open.client("hall").await;
        hall.write_all(ASK).await.unwrap();
        assert!(hall.read(&mut [0; 4_096]).await.unwrap() > 0);
        halls.push(hall);
    }
    let mut third = open.client("hall").await;
    let ended = tokio::time::timeout(LONG, third.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(open.get("register", "/registry/subjects").await.status, 200);
    drop(halls);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(open.get("hall", "/registry/subjects").await.status, 200);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_silent_connections_of_one_address_keep_no_known_caller_out() {
    let open = Open::with(|options| {
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
    for _ in 0..3 {
        assert_eq!(open.get("hall", "/registry/subjects").await.status, 200);
    }
    // The oldest ones made room.
    let ended = tokio::time::timeout(LONG, silent[0].read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(silent);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_nothing_but_health() {
    let open = Open::new().await;
    let health = async |path: &str| {
        let mut stream = TcpStream::connect(open.health_at).await.unwrap();
        exchange(&mut stream, "GET", path, "").await
    };
    assert_eq!((health("/health/live").await.status, health("/health/ready").await.status), (200, 200));
    assert_eq!(health("/health/ready").await.body, "ready\na thing to look at\n");
    for path in ["/registry/subjects", "/health", "/"] {
        let unknown = health(path).await;
        assert_eq!(
            (unknown.status, unknown.content_type.as_str()),
            (404, "application/problem+json"),
            "{path}"
        );
        assert_eq!(unknown.json()["code"], "path-unknown");
    }
    // About to close, it is not ready, though it still serves.
    open.closing.cancel();
    let closing = health("/health/ready").await;
    assert_eq!((closing.status, closing.json()["code"].as_str()), (503, Some("not-ready")));
    assert_eq!(health("/health/live").await.status, 200);
    let outside = open.get("hall", "/nothing").await;
    assert_eq!((outside.status, outside.json()["code"].as_str()), (404, Some("path-unknown")));
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_shuts_down_waits_for_no_idle_client() {
    let open = Open::new().await;
    let mut idle = open.client("hall").await;
    let half_known = TcpStream::connect(open.at).await.unwrap();
    let mut half_asked = open.client("hall").await;
    let head = b"POST /registry/subjects/shop-value HTTP/1.1\r\nhost: l\r\ncontent-length: 9\r\n\r\n";
    half_asked.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    open.world.cancel.cancel();
    tokio::time::timeout(LONG, idle.read(&mut [0; 64])).await.unwrap().ok();
    open.world.close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop((half_known, half_asked));
}
