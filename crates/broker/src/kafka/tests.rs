//! A connection to a broker that is played by the test.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_wire::messages::{HeartbeatRequest, HeartbeatResponse};
use shuniu_wire::{Response, encode_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::task::TaskTracker;

use super::KafkaOptions;
use super::connection::KafkaConnection;
use crate::upstream::{Connection, UpstreamError};

/// Serves Heartbeat version 4 alone.
const APIS: [u8; 20] = [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 0, 0, 0, 4];

async fn connect(options: KafkaOptions) -> (KafkaConnection, DuplexStream) {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let tracker = TaskTracker::new();
    let open = KafkaConnection::open(Box::new(near), "played:1".to_owned(), Arc::new(options), &tracker);
    let play = async {
        read_frame(&mut far).await;
        far.write_all(&APIS).await.unwrap();
    };
    let (opened, ()) = tokio::join!(open, play);
    (opened.unwrap(), far)
}

async fn read_frame(stream: &mut DuplexStream) -> Vec<u8> {
    let length = stream.read_i32().await.unwrap();
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

fn heartbeat(generation: i32) -> shuniu_wire::Request {
    HeartbeatRequest::default().with_generation_id(generation).into()
}

/// An answer to the call with that correlation id, whose throttle time is told apart.
fn answer(id: i32, throttle: i32) -> Bytes {
    let answer = HeartbeatResponse::default().with_throttle_time_ms(throttle);
    encode_response(4, id, answer.into()).unwrap()
}

fn throttle(response: Response) -> i32 {
    HeartbeatResponse::try_from(response).unwrap().throttle_time_ms
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_the_calls_and_each_gets_its_own_answer() {
    let (connection, mut far) = connect(KafkaOptions::default()).await;
    let (first, second) = (connection.call(heartbeat(1)), connection.call(heartbeat(2)));
    // Submitted without being polled, and dropping the future takes nothing back.
    drop(connection.call(heartbeat(3)));
    for generation in [1_u8, 2, 3] {
        let frame = read_frame(&mut far).await;
        assert!(frame.windows(5).any(|bytes| bytes == [1, 0, 0, 0, generation]), "{frame:?}");
    }
    for id in 0..3 {
        far.write_all(&answer(id, 10 + id)).await.unwrap();
    }
    assert_eq!(throttle(second.await.unwrap()), 11);
    assert_eq!(throttle(first.await.unwrap()), 10);
}

#[tokio::test]
async fn a_connection_cut_in_mid_answer_fails_all_its_calls_and_stays_broken() {
    let (connection, mut far) = connect(KafkaOptions::default()).await;
    let (first, second) = (connection.call(heartbeat(1)), connection.call(heartbeat(2)));
    read_frame(&mut far).await;
    let half = answer(0, 1);
    far.write_all(&half[..half.len() - 3]).await.unwrap();
    drop(far);
    for call in [first, second, connection.call(heartbeat(3))] {
        assert!(matches!(call.await, Err(UpstreamError::Unreachable { .. })));
    }
}

#[tokio::test]
async fn an_answer_over_the_bound_or_for_another_call_breaks_the_connection() {
    let options = KafkaOptions { answer_bytes_max: 1_000, ..KafkaOptions::default() };
    let (connection, mut far) = connect(options.clone()).await;
    let call = connection.call(heartbeat(1));
    far.write_all(&[0x7f, 0xff, 0xff, 0xff]).await.unwrap();
    assert!(matches!(call.await, Err(UpstreamError::Unreachable { .. })));
    let (connection, mut far) = connect(options).await;
    let call = connection.call(heartbeat(1));
    far.write_all(&answer(5, 0)).await.unwrap();
    assert!(matches!(call.await, Err(UpstreamError::Unreachable { .. })));
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_and_so_are_too_many_calls() {
    let answer_max = Duration::from_millis(50);
    let options = KafkaOptions { answer_max, in_flight_max: 2, ..KafkaOptions::default() };
    let (connection, _far) = connect(options).await;
    let calls: Vec<_> = (0..3).map(|generation| connection.call(heartbeat(generation))).collect();
    for call in calls {
        assert!(matches!(call.await, Err(UpstreamError::Unreachable { .. })));
    }
}

#[tokio::test]
async fn what_the_broker_does_not_serve_is_said_and_breaks_nothing() {
    let (connection, mut far) = connect(KafkaOptions::default()).await;
    let refused = connection.call(shuniu_wire::messages::MetadataRequest::default().into()).await;
    assert!(matches!(refused, Err(UpstreamError::Unsupported { .. })));
    let call = connection.call(heartbeat(1));
    far.write_all(&answer(0, 7)).await.unwrap();
    assert_eq!(throttle(call.await.unwrap()), 7);
}
