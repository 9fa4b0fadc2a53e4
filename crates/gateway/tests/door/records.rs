//! Requests that carry records.

use shuniu_exchange::Settings;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, Scratch, batches};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, StrBytes, TopicName,
};

use crate::client::Open;

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The schema id of a resource's only version.
pub(crate) async fn schema_id(open: &Open, resource: &str) -> u32 {
    let facts = open.world.store.facts().await.unwrap();
    facts.resources.iter().find(|it| it.name.as_str() == resource).unwrap().versions[0].id
}

fn text(value: &str, out: &mut Vec<u8>) {
    let mut length = u64::try_from(value.len()).unwrap() << 1;
    while length > 0x7f {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(value.as_bytes());
}

/// A framed shop without an owner.
pub(crate) fn shop(schema: u32, id: &str, name: &str) -> Vec<u8> {
    let mut value = vec![0];
    value.extend_from_slice(&schema.to_be_bytes());
    text(id, &mut value);
    text(name, &mut value);
    value.push(0);
    value
}

/// A request that publishes shops (id, name) to a topic's first partition.
pub(crate) fn produce(name: &str, schema: u32, shops: &[(&str, &str)]) -> ProduceRequest {
    produce_as(name, schema, shops, (-1, -1, -1))
}

/// As [`produce`], by an idempotent producer: its id, epoch and the first record's sequence.
pub(crate) fn produce_as(
    name: &str,
    schema: u32,
    shops: &[(&str, &str)],
    (id, epoch, sequence): (i64, i16, i32),
) -> ProduceRequest {
    let mut batch = BatchBuilder::new(Compression::None).producer(id, epoch, sequence);
    for (id, name) in shops {
        let value = shop(schema, id, name);
        batch.push(&BuiltRecord {
            timestamp: 1_796_000_000_000,
            key: Some(id.as_bytes()),
            value: Some(&value),
            headers: &[],
        });
    }
    let partition = PartitionProduceData::default().with_records(Some(batch.build().unwrap()));
    ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![
        TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![partition]),
    ])
}

/// A request for a topic's first partition from an offset on.
pub(crate) fn fetch(name: &str, offset: i64, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(32 << 20);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(64 << 20)
        .with_topics(vec![FetchTopic::default().with_topic(topic(name)).with_partitions(vec![partition])])
}

/// The records of an answer: offset, key, value.
pub(crate) fn records(response: &FetchResponse) -> Vec<(i64, String, Vec<u8>)> {
    let mut found = Vec::new();
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        for batch in batches(&partition.records.clone().unwrap_or_default()) {
            for record in batch.unwrap().records(&mut Scratch::default(), 1 << 26).unwrap() {
                let record = record.unwrap();
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                found.push((record.offset, key, record.value.unwrap_or_default().to_vec()));
            }
        }
    }
    found
}

/// Publishes that many records of a megabyte each.
pub(crate) async fn publish_megabytes(open: &Open, resource: &str, records: usize) {
    let schema = schema_id(open, resource).await;
    let name = "x".repeat(1_000_000);
    let mut register = open.client("register").await;
    for id in 0..records {
        let request = produce(resource, schema, &[(&id.to_string(), &name)]);
        let response: ProduceResponse = register.ask(9, request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
    }
}

/// The hall's grant of all of `permit`, for the directory: what is published leaves as it came.
pub(crate) fn whole_permit(ends_at: &str) -> String {
    format!(
        "\n[[grant]]\nid = \"hall-permit\"\nsystem = \"hall\"\nresource = \"permit\"\nmodes = [\"subscribe\"]\n\
        purpose = \"p\"\nbasis = \"b\"\nends_at = \"{ends_at}\"\nwhole = true\n"
    )
}

/// Room for all that [`publish_megabytes`] made in one answer.
pub(crate) fn large_answers() -> Settings {
    Settings { fetch_bytes_max: 32 << 20, ..Settings::default() }
}
