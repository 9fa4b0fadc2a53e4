//! Batches that producers send again to a leader that no longer knows where they stand.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shuniu_tests::{Hub, Kafka};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages as m;
use shuniu_wire::messages::ResponseError;
use shuniu_wire::messages::produce_response::PartitionProduceResponse;

use crate::equivalence::{Topic, division, produce, topic_id};
use crate::raw::Raw;

const PRODUCE: i16 = 12;
const DIVISION: Topic = Topic { name: "division", id: uuid::Uuid::nil() };

/// One row of a producer, under a sequence. A broker that starts forgets producers whose last record is of a time long ago.
fn batch(schema: u32, sequence: i32, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::Lz4).producer(4_711, 0, sequence);
    let value = division(schema, "500103", &format!("row {sequence}"));
    builder.push(&BuiltRecord { timestamp, key: Some(b"500103"), value: Some(&value), headers: &[] });
    builder.build().unwrap()
}

async fn sent(client: &mut Raw, records: Bytes) -> PartitionProduceResponse {
    let answer: m::ProduceResponse = client.get(PRODUCE, produce(DIVISION, 0, records)).await;
    answer.responses[0].partition_responses[0].clone()
}

#[test]
fn p3_a_batch_that_a_leader_started_again_does_not_place_is_acknowledged_with_its_entry() {
    let kafka = Kafka::start(1);
    let hub = Hub::on_kafka(&kafka);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let schema = hub.schema_id("civil-affairs", "division");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    runtime.block_on(async {
        // As another hub leaves them that dies before it writes their entries.
        let mut bare = Raw::bare(&kafka.bootstrap()[0]).await;
        topic_id(&mut bare, "division").await;
        for sequence in 0..4 {
            assert_eq!(sent(&mut bare, batch(schema, sequence, now)).await.error_code, 0);
        }
    });
    // It writes down of each producer its last batch.
    kafka.stop(1);
    kafka.restart(1);
    let deadline = Instant::now() + Duration::from_secs(90);
    while !hub.health("/health/ready").starts_with("ready") {
        assert!(Instant::now() < deadline, "{}", hub.health("/health/ready"));
        std::thread::sleep(Duration::from_millis(200));
    }
    runtime.block_on(async {
        let mut bare = Raw::bare(&kafka.bootstrap()[0]).await;
        topic_id(&mut bare, "division").await;
        let refused = sent(&mut bare, batch(schema, 1, now)).await;
        let error = ResponseError::try_from_code(refused.error_code);
        assert_eq!(error, Some(ResponseError::OutOfOrderSequenceNumber), "or the test shows nothing");
        let mut client = Raw::of_system(&hub, "civil-affairs").await;
        topic_id(&mut client, "division").await;
        let answer = loop {
            let answer = sent(&mut client, batch(schema, 1, now)).await;
            let error = ResponseError::try_from_code(answer.error_code);
            // The log's topic may have no leader for a moment.
            if error != Some(ResponseError::KafkaStorageError) {
                break answer;
            }
            assert!(Instant::now() < deadline, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!((answer.error_code, answer.base_offset), (0, 1), "{answer:?}");
        // What was never sent is a gap still, which its producer must hear of.
        let gap = sent(&mut client, batch(schema, 9, now)).await;
        let error = ResponseError::try_from_code(gap.error_code);
        assert_eq!(error, Some(ResponseError::OutOfOrderSequenceNumber));
    });
    hub.recorded(&["--resource", "division", "--action", "published"], &["civil-affairs"]);
}
