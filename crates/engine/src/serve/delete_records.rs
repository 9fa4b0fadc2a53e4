//! DeleteRecords: the hub lets go of what it needs no longer.
//!
//! Whole segments go. A low watermark below the offset that was asked for says that the rest stays until its segment is
//! closed and it is asked for again.

use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use shuniu_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse, ResponseError};

use crate::engine::Core;
use crate::log::partition::Partition;

/// Everything that is committed.
const HIGH_WATERMARK: i64 = -1;

pub(crate) async fn delete_records(
    core: &Arc<Core>,
    request: DeleteRecordsRequest,
) -> Result<DeleteRecordsResponse, UpstreamError> {
    let topics = Arc::clone(&core.topics);
    // Files are removed.
    let work = core.context.tracker.spawn_blocking(move || {
        let mut response = DeleteRecordsResponse::default();
        for topic in request.topics {
            let found = topics.by_name(&topic.name);
            let mut answer = DeleteRecordsTopicResult::default().with_name(topic.name);
            for asked in topic.partitions {
                let log = found.as_ref().and_then(|topic| topic.partition(asked.partition_index));
                let deleted = log
                    .ok_or(ResponseError::UnknownTopicOrPartition)
                    .and_then(|log| delete_before(&log, asked.offset));
                let partition =
                    DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
                answer.partitions.push(match deleted {
                    Ok(start) => partition.with_low_watermark(start),
                    Err(code) => partition.with_error_code(code.code()).with_low_watermark(-1),
                });
            }
            response.topics.push(answer);
        }
        response
    });
    work.await.map_err(|_| UpstreamError::Closed)
}

/// The first offset that is left.
fn delete_before(log: &Partition, offset: i64) -> Result<i64, ResponseError> {
    let end = log.seen(|view| view.high_watermark());
    let before = if offset == HIGH_WATERMARK { end } else { offset };
    if !(0..=end).contains(&before) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    if !log.settings.now().delete {
        // As in Kafka: what is only compacted is not deleted.
        return Err(ResponseError::PolicyViolation);
    }
    log.delete_before(before).map_err(|error| {
        tracing::error!(topic = %log.topic, partition = log.index, %error, "cannot delete records");
        ResponseError::KafkaStorageError
    })
}
