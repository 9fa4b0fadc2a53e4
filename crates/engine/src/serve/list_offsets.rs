//! ListOffsets and OffsetForLeaderEpoch.

use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_broker::leaders::{EARLIEST, LATEST};
use shuniu_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use shuniu_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use shuniu_wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ResponseError,
};

use crate::engine::Core;
use crate::log::partition::Partition;
use crate::log::read::ReadError;

const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(crate) async fn list_offsets(
    core: &Arc<Core>,
    request: ListOffsetsRequest,
) -> Result<ListOffsetsResponse, UpstreamError> {
    let topics = Arc::clone(&core.topics);
    // A time is looked up in files.
    let look = core.context.tracker.spawn_blocking(move || {
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let found = topics.by_name(&topic.name);
            let mut answer = ListOffsetsTopicResponse::default().with_name(topic.name);
            for asked in topic.partitions {
                let log = found.as_ref().and_then(|topic| topic.partition(asked.partition_index));
                let found = log
                    .ok_or(ResponseError::UnknownTopicOrPartition)
                    .and_then(|log| log.epochs.check(asked.current_leader_epoch).map(|()| log))
                    .and_then(|log| {
                        let (offset, timestamp) = offset_at(&log, asked.timestamp)?;
                        let epoch = if offset < 0 { -1 } else { log.epochs.at(offset) };
                        Ok((offset, timestamp, epoch))
                    });
                let partition =
                    ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                answer.partitions.push(match found {
                    Ok((offset, timestamp, epoch)) => {
                        partition.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                    }
                    Err(code) => partition.with_error_code(code.code()).with_offset(-1).with_timestamp(-1),
                });
            }
            response.topics.push(answer);
        }
        response
    });
    look.await.map_err(|_| UpstreamError::Closed)
}

/// The offset and the timestamp of the record; -1 and -1 where there is none.
fn offset_at(log: &Partition, timestamp: i64) -> Result<(i64, i64), ResponseError> {
    let found = match timestamp {
        LATEST => return Ok((log.seen(|view| view.high_watermark()), -1)),
        EARLIEST | EARLIEST_LOCAL => return Ok((log.seen(|view| view.log_start()), -1)),
        LATEST_TIERED => return Ok((-1, -1)),
        MAX_TIMESTAMP => log.record_of_max_time(),
        0.. => log.record_at_time(timestamp),
        _ => return Err(ResponseError::UnsupportedForMessageFormat),
    };
    match found {
        Ok(found) => Ok(found.unwrap_or((-1, -1))),
        Err(ReadError::OutOfRange) => Err(ResponseError::OffsetOutOfRange),
        Err(ReadError::Disk(error)) => {
            tracing::error!(topic = %log.topic, partition = log.index, %error, "cannot read a log");
            Err(ResponseError::KafkaStorageError)
        }
    }
}

/// Where an epoch ended; of the last one the end of the log.
pub(crate) fn offset_for_leader_epoch(
    core: &Arc<Core>,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in &request.topics {
        let found = core.topics.by_name(&topic.topic);
        let mut answer = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        for asked in &topic.partitions {
            let log = found
                .as_ref()
                .and_then(|topic| topic.partition(asked.partition))
                .ok_or(ResponseError::UnknownTopicOrPartition)
                .and_then(|log| log.epochs.check(asked.current_leader_epoch).map(|()| log));
            let end = EpochEndOffset::default().with_partition(asked.partition);
            answer.partitions.push(match log {
                Ok(log) => {
                    let log_end = log.seen(|view| view.high_watermark());
                    // No such epoch: Kafka's answer is undefined, undefined.
                    let (epoch, ended) = log.epochs.end_of(asked.leader_epoch, log_end).unwrap_or((-1, -1));
                    end.with_leader_epoch(epoch).with_end_offset(ended)
                }
                Err(code) => end.with_error_code(code.code()).with_leader_epoch(-1).with_end_offset(-1),
            });
        }
        response.topics.push(answer);
    }
    response
}
