//! What nobody may do, and what they are told.

use bytes::Bytes;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::{FetchRequest, ProduceRequest, StrBytes, TopicName};
use shuniu_wire::{Request, Response};

use super::super::DemoError;
use super::super::stage::Stage;
use crate::client::{Client, ClientError};

/// Not a citizen number: the check character would be X.
const BROKEN: &str = "110105194912310021";
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const INVALID_RECORD: i16 = 87;
const FETCH_VERSION: i16 = 12;
const PRODUCE_VERSION: i16 = 9;

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("Refusals");
    let jiangbei = stage.identity("hall-jiangbei");
    let mut answers = Vec::new();
    for topic in ["legal-person", "no-such-register"] {
        let mut client = Client::connect(&jiangbei).await.map_err(DemoError::Client)?;
        answers.push(fetch(&mut client, topic).await.map_err(DemoError::Client)?);
    }
    stage.narrator.check(
        answers == [TOPIC_AUTHORIZATION_FAILED; 2],
        format_args!(
            "hall-jiangbei asks for legal-person, which it has no grant for, and for a register that does not exist: \
             the same answer, Kafka error {}",
            shown(&answers)
        ),
    );
    let mut bank = Client::connect(&stage.identity("bank-supervisor")).await.map_err(DemoError::Client)?;
    let (code, _) = produce(&mut bank, BROKEN).await.map_err(DemoError::Client)?;
    stage.narrator.check(
        code == TOPIC_AUTHORIZATION_FAILED,
        format_args!("bank-supervisor writes to population, which is not its to publish: Kafka error {code}"),
    );
    let mut register =
        Client::connect(&stage.identity("population-register")).await.map_err(DemoError::Client)?;
    let (code, message) = produce(&mut register, BROKEN).await.map_err(DemoError::Client)?;
    stage.narrator.check(
        code == INVALID_RECORD,
        format_args!(
            "population-register sends a citizen number whose check character does not fit: Kafka error {code}, \
             \"{message}\""
        ),
    );
    Ok(())
}

/// A record as the first schema of the directory has it: number and name, all else null.
fn person(number: &str) -> Vec<u8> {
    const ITEMS: usize = 20;
    let mut value = vec![0, 0, 0, 0, 1];
    for text in [number, "张三"] {
        // Avro writes a length as a zigzag number; these are below 64.
        value.push(u8::try_from(text.len() * 2).unwrap_or_default());
        value.extend_from_slice(text.as_bytes());
    }
    value.resize(value.len() + ITEMS - 2, 0);
    value
}

fn shown(codes: &[i16]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

async fn fetch(client: &mut Client, topic: &str) -> Result<i16, ClientError> {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let Response::Fetch(response) = client.call(FETCH_VERSION, &Request::Fetch(request)).await? else {
        return Err(ClientError::Unfit);
    };
    let of_partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    of_partitions.map(|partition| partition.error_code).next().ok_or(ClientError::Unfit)
}

/// Sends one new person of this citizen number to `population`; the answer's code and message.
async fn produce(client: &mut Client, number: &str) -> Result<(i16, String), ClientError> {
    let value = person(number);
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(&BuiltRecord {
        timestamp: 0,
        key: Some(number.as_bytes()),
        value: Some(&value),
        // Empty: a row that is new.
        headers: &[(b"before", Some(b""))],
    });
    let records: Bytes = batch.build().map_err(|_| ClientError::Unfit)?;
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic =
        TopicProduceData::default().with_name(name("population")).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
    let Response::Produce(response) = client.call(PRODUCE_VERSION, &Request::Produce(request)).await? else {
        return Err(ClientError::Unfit);
    };
    let mut of_partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let partition = of_partitions.next().ok_or(ClientError::Unfit)?;
    let of_record =
        partition.record_errors.iter().find_map(|record| record.batch_index_error_message.as_ref());
    let message = of_record.or(partition.error_message.as_ref());
    Ok((partition.error_code, message.map(ToString::to_string).unwrap_or_default()))
}
