//! Batches that the record store has already and does not place: found on their partition.
//!
//! An idempotent producer that got no answer sends its batch again, and while the partition's leader knows where the
//! batch stands, it answers with the first offset. A leader that was started again may know no more of a producer than
//! its last batch. It refuses earlier ones as out of order, and a producer that is told so takes a new epoch and sends
//! the records a second time. Older brokers answer DUPLICATE_SEQUENCE_NUMBER, which clients take for an
//! acknowledgement, of records that may have no entry. So neither answer is passed on where the batch stands on its
//! partition: it is looked for from the end back, and what is found is recorded and acknowledged with its offset.
//!
//! Fetches see what all in-sync replicas have, and nothing else, so what is found is durable.

use std::time::Duration;

use shuniu_broker::Connection;
use shuniu_broker::leaders::{EARLIEST, Fetched, LATEST, fetch_of, fetched, offset_in, offset_of};
use shuniu_model::Resource;
use shuniu_wire::batch::{Batch, BatchError, BatchHeader, HEADER_BYTES, batches};
use shuniu_wire::messages::fetch_request::FetchTopic;
use shuniu_wire::messages::produce_response::PartitionProduceResponse;
use shuniu_wire::messages::{FetchResponse, ListOffsetsResponse, ResponseError, StrBytes};
use shuniu_wire::{Request, Response};
use tokio::time::timeout;

use crate::access::{topic_id, topic_name};
use crate::caller::Caller;
use crate::hub::Hub;

/// What one search reads at most. A producer has five batches under way at most, so that its own are near the end.
const SEARCH_BYTES_MAX: usize = 32 << 20;
/// What it reads at once.
const FETCH_BYTES: usize = 1 << 20;
/// The record store gives the first batch however large, and none is larger than a producer may send.
const MEMORY_BYTES: usize = 2 * FETCH_BYTES;
/// How long it waits for memory.
const MEMORY_WAIT: Duration = Duration::from_millis(500);
/// The first look back is over so many batches of the same number of records; each further one over more.
const BATCHES_AT_FIRST: i64 = 8;
const FURTHER: i64 = 4;
/// Sequences count from 0 to `i32::MAX` and begin again: what is less than this ahead is newer.
const SEQUENCES_HALF: i32 = 1 << 30;

/// Why a batch was not found.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("it does not stand on the partition")]
    Absent,
    #[error("it is not among the last {SEARCH_BYTES_MAX} bytes of the partition")]
    TooFar,
    #[error("its system lets too many batches be looked for")]
    TooMany,
    #[error("there is no memory to look for it")]
    Memory,
    #[error("the record store cannot be asked: {0}")]
    Store(String),
    #[error("the partition cannot be read")]
    Batch(#[from] BatchError),
}

/// Whether an answer says that the record store may have the batch, and does not say where.
pub(crate) fn is_unplaced(answer: &PartitionProduceResponse) -> bool {
    [ResponseError::DuplicateSequenceNumber, ResponseError::OutOfOrderSequenceNumber]
        .iter()
        .any(|error| error.code() == answer.error_code)
}

/// Makes such an answer the one that it would be if the record store knew the place. What is not found is not
/// acknowledged: the client sends it again.
pub(crate) async fn place(
    hub: &Hub,
    caller: &Caller,
    connection: &dyn Connection,
    resource: &Resource,
    records: &bytes::Bytes,
    answer: &mut PartitionProduceResponse,
) {
    let partition = answer.index;
    let search = Search { hub, caller, connection, resource, partition };
    match search.run(records).await {
        Ok(offset) => {
            // Not louder, here and below: a producer could fill the hub's log.
            tracing::debug!(resource = %resource.name, partition, offset, "a repeated batch is on its partition");
            *answer = PartitionProduceResponse::default()
                .with_index(partition)
                .with_base_offset(offset)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(answer.log_start_offset);
        }
        Err(reason) => {
            let told = &reason as &dyn std::error::Error;
            tracing::debug!(resource = %resource.name, partition, system = %caller.system, error = told,
                "a batch whose sequence is not in turn is not acknowledged");
            if answer.error_code == ResponseError::DuplicateSequenceNumber.code() {
                answer.error_code = ResponseError::KafkaStorageError.code();
                answer.error_message = Some(StrBytes::from_static_str(
                    "the record store has this batch's sequence, and its place was not found: send it again",
                ));
            }
        }
    }
}

struct Search<'a> {
    hub: &'a Hub,
    caller: &'a Caller,
    /// The client's own, to the broker that has just answered as the partition's leader: a client holds up no other.
    connection: &'a dyn Connection,
    resource: &'a Resource,
    partition: i32,
}

/// How a batch on the partition stands to the one that is looked for.
#[derive(Debug, PartialEq, Eq)]
enum Relation {
    Same,
    /// Of the same producer and older: the one that is looked for does not stand before it.
    Older,
    Other,
}

impl Search<'_> {
    /// The offset of the batch's first record.
    async fn run(&self, records: &bytes::Bytes) -> Result<i64, NotFound> {
        let wanted = batches(records).next().ok_or(NotFound::Absent)??;
        if wanted.header().producer_id < 0 {
            return Err(NotFound::Absent);
        }
        let (start, end) = (self.offset(EARLIEST).await?, self.offset(LATEST).await?);
        let room = self.hub.answers_of(&self.caller.system);
        let _room = timeout(MEMORY_WAIT, room.take(MEMORY_BYTES)).await.map_err(|_| NotFound::Memory)?;
        let mut bytes_left = SEARCH_BYTES_MAX;
        let mut until = end;
        let mut span =
            i64::from(wanted.header().last_offset_delta).saturating_add(1).max(1) * BATCHES_AT_FIRST;
        while until > start {
            let from = until.saturating_sub(span).max(start);
            if let Some(offset) = self.look(&wanted, from, until, &mut bytes_left).await? {
                return Ok(offset);
            }
            until = from;
            span = span.saturating_mul(FURTHER);
        }
        Err(NotFound::Absent)
    }

    /// Looks through what begins before `until`. [`NotFound::Absent`] when it cannot stand further back either.
    async fn look(
        &self,
        wanted: &Batch,
        from: i64,
        until: i64,
        bytes_left: &mut usize,
    ) -> Result<Option<i64>, NotFound> {
        let mut at = from;
        let mut older = false;
        while at < until {
            let found = self.fetch(at, bytes_left).await?;
            let next = at;
            for batch in batches(&found.records) {
                let batch = batch?;
                let header = batch.header();
                at = at.max(header.last_offset().saturating_add(1));
                match relation(wanted, &batch) {
                    Relation::Same => return Ok(Some(header.base_offset)),
                    Relation::Older => older = true,
                    Relation::Other => {}
                }
            }
            if at == next {
                // Nothing is left of what stood there.
                break;
            }
        }
        if older { Err(NotFound::Absent) } else { Ok(None) }
    }

    async fn fetch(&self, offset: i64, bytes_left: &mut usize) -> Result<Fetched, NotFound> {
        let (hub, system) = (self.hub, &self.caller.system);
        if *bytes_left == 0 {
            return Err(NotFound::TooFar);
        }
        if !hub.limits.may_search(system, hub.policy.now()) {
            return Err(NotFound::TooMany);
        }
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.resource.name))
            .with_topic_id(topic_id(self.resource));
        let bytes_max = i32::try_from(FETCH_BYTES.min(*bytes_left)).unwrap_or(i32::MAX);
        let found: FetchResponse = self.ask(fetch_of(topic, self.partition, offset, bytes_max)).await?;
        let found = good(fetched(found))?;
        *bytes_left = bytes_left.saturating_sub(found.records.len());
        hub.limits.searched(system, found.records.len(), hub.policy.now());
        Ok(found)
    }

    async fn offset(&self, time: i64) -> Result<i64, NotFound> {
        let found: ListOffsetsResponse =
            self.ask(offset_of(self.resource.name.as_str(), self.partition, time)).await?;
        good(offset_in(found))
    }

    async fn ask<A: TryFrom<Response>>(&self, request: impl Into<Request>) -> Result<A, NotFound> {
        let answer = self.connection.call(request.into()).await;
        let answer = answer.map_err(|error| NotFound::Store(error.to_string()))?;
        A::try_from(answer).map_err(|_| NotFound::Store("its answer is of another kind".to_owned()))
    }
}

fn good<T>(answer: Option<(i16, T)>) -> Result<T, NotFound> {
    match answer {
        Some((0, found)) => Ok(found),
        Some((code, _)) => Err(NotFound::Store(format!("{:?}", ResponseError::try_from_code(code)))),
        None => Err(NotFound::Store("its answer is empty".to_owned())),
    }
}

fn relation(wanted: &Batch, found: &Batch) -> Relation {
    let (wants, has) = (wanted.header(), found.header());
    if wants.producer_id != has.producer_id {
        return Relation::Other;
    }
    if has.producer_epoch < wants.producer_epoch {
        return Relation::Older;
    }
    if has.producer_epoch > wants.producer_epoch {
        return Relation::Other;
    }
    if is_same(wants, has) && wanted.bytes().get(HEADER_BYTES..) == found.bytes().get(HEADER_BYTES..) {
        return Relation::Same;
    }
    let ahead = wants.base_sequence.wrapping_sub(last_sequence(has)) & i32::MAX;
    if (1..SEQUENCES_HALF).contains(&ahead) { Relation::Older } else { Relation::Other }
}

/// Not by the checksum: a broker writes the latest time into a batch that does not state it.
fn is_same(wants: &BatchHeader, has: &BatchHeader) -> bool {
    let of = |it: &BatchHeader| {
        (it.base_sequence, it.last_offset_delta, it.records_count, it.attributes, it.base_timestamp)
    };
    of(wants) == of(has)
}

fn last_sequence(header: &BatchHeader) -> i32 {
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

#[cfg(test)]
mod tests {
    use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};

    use super::*;

    fn batch(producer: (i64, i16, i32), records: usize, value: &[u8]) -> Batch {
        let mut builder = BatchBuilder::new(Compression::None).producer(producer.0, producer.1, producer.2);
        for _ in 0..records {
            let value = Some(value);
            builder.push(&BuiltRecord { timestamp: 1_000, key: Some(b"k"), value, headers: &[] });
        }
        batches(&builder.build().unwrap()).next().unwrap().unwrap()
    }

    #[test]
    fn a_batch_is_the_same_only_with_its_producer_its_sequences_and_its_records() {
        let wanted = batch((7, 1, 10), 3, b"a");
        assert_eq!(relation(&wanted, &batch((7, 1, 10), 3, b"a")), Relation::Same);
        for other in [
            batch((8, 1, 10), 3, b"a"),
            batch((7, 2, 10), 3, b"a"),
            batch((7, 1, 10), 2, b"a"),
            batch((7, 1, 10), 3, b"b"),
            batch((7, 1, 11), 3, b"a"),
            batch((7, 1, 13), 1, b"a"),
            batch((-1, -1, -1), 3, b"a"),
        ] {
            assert_eq!(relation(&wanted, &other), Relation::Other, "{:?}", other.header());
        }
        for older in [batch((7, 1, 7), 3, b"a"), batch((7, 0, 900), 3, b"a"), batch((7, 1, 0), 1, b"a")] {
            assert_eq!(relation(&wanted, &older), Relation::Older, "{:?}", older.header());
        }
    }

    #[test]
    fn sequences_that_began_again_are_newer() {
        let wanted = batch((7, 1, 0), 1, b"a");
        assert_eq!(relation(&wanted, &batch((7, 1, i32::MAX - 1), 2, b"a")), Relation::Older);
        let wanted = batch((7, 1, i32::MAX), 1, b"a");
        assert_eq!(relation(&wanted, &batch((7, 1, 0), 2, b"a")), Relation::Other);
    }
}
