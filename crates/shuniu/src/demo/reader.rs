//! A consumer that reads one resource round and round until the hub cuts it off.

use std::time::Instant;

use shuniu_wire::batch::batches;
use shuniu_wire::messages::StrBytes;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::{FetchRequest, FetchResponse, TopicName};
use shuniu_wire::{Request, Response};
use tokio::sync::oneshot;

use crate::client::{Client, ClientError, Identity};

/// Fetch by topic name, the last version that has it.
const VERSION: i16 = 12;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// What came, and how it ended.
#[derive(Debug)]
pub(super) struct Reading {
    /// Bytes that came.
    pub(super) bytes: u64,
    /// When the last byte came of an answer with records, whole or cut.
    pub(super) last_byte: Instant,
    /// How the reading ended: a refusal as Kafka's error code, or the cut connection.
    pub(super) end: End,
}

/// How a reading ends.
#[derive(Debug)]
pub(super) enum End {
    /// The connection was reset.
    Cut(ClientError),
    /// The hub answered that it may not.
    Refused(i16),
}

/// Reads every partition from the start, again and again; tells `under_way` after the first records.
pub(super) async fn read_until_stopped(
    identity: &Identity,
    resource: &str,
    partitions: i32,
    under_way: oneshot::Sender<()>,
) -> Result<Reading, ClientError> {
    let mut client = Client::connect(identity).await?;
    let mut offsets: Vec<i64> = (0..partitions).map(|_| 0).collect();
    let mut under_way = Some(under_way);
    let mut last_byte = client.last_byte();
    loop {
        let response = match client.call(VERSION, &request(resource, &offsets)).await {
            Ok(Response::Fetch(response)) => response,
            Ok(_) => return Err(ClientError::Unfit),
            Err(end @ ClientError::Connection(_)) => {
                return Ok(Reading {
                    bytes: client.bytes(),
                    last_byte: client.last_byte(),
                    end: End::Cut(end),
                });
            }
            Err(error) => return Err(error),
        };
        if let Some(code) = refusal(&response) {
            // The refusal itself carries no record: the last record byte came before it.
            return Ok(Reading { bytes: client.bytes(), last_byte, end: End::Refused(code) });
        }
        if !advance(&response, &mut offsets) {
            continue;
        }
        last_byte = client.last_byte();
        if let Some(under_way) = under_way.take() {
            // The other end waits for this; if it is gone, nobody needs to know.
            under_way.send(()).ok();
        }
    }
}

fn request(resource: &str, offsets: &[i64]) -> Request {
    let partitions = (0..).zip(offsets).map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(resource.to_owned())))
        .with_partitions(partitions.collect());
    Request::Fetch(
        FetchRequest::default()
            .with_max_wait_ms(200)
            .with_min_bytes(1)
            .with_max_bytes(4 << 20)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic]),
    )
}

fn refusal(response: &FetchResponse) -> Option<i16> {
    let of_partitions =
        response.responses.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    std::iter::once(response.error_code).chain(of_partitions).find(|code| *code == TOPIC_AUTHORIZATION_FAILED)
}

/// Moves each offset behind what came, and back to the start where nothing came; says whether anything did.
fn advance(response: &FetchResponse, offsets: &mut [i64]) -> bool {
    let mut any = false;
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        let Some(offset) =
            usize::try_from(partition.partition_index).ok().and_then(|index| offsets.get_mut(index))
        else {
            continue;
        };
        let records = partition.records.clone().unwrap_or_default();
        match batches(&records).filter_map(Result::ok).last() {
            Some(batch) => {
                *offset = batch.header().last_offset() + 1;
                any = true;
            }
            None => *offset = 0,
        }
    }
    any
}
