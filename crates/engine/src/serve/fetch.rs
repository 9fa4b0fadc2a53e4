//! Fetch: whole batches, after `min_bytes` are there or `max_wait_ms` has passed. Waiting is by notification.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_broker::UpstreamError;
use shuniu_wire::messages::fetch_request::FetchPartition;
use shuniu_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use shuniu_wire::messages::{FetchRequest, FetchResponse, ResponseError};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::Core;
use crate::log::partition::{Partition, Waiting};
use crate::log::read::ReadError;

/// One partition of the request.
struct Asked {
    log: Result<Arc<Partition>, ResponseError>,
    request: FetchPartition,
}

pub(crate) async fn fetch(core: &Arc<Core>, request: FetchRequest) -> Result<FetchResponse, UpstreamError> {
    if request.session_id != 0 {
        // There are no sessions here; a client that hears this goes on without one.
        let code = ResponseError::FetchSessionIdNotFound.code();
        return Ok(FetchResponse::default().with_error_code(code));
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut asked = Vec::new();
    for topic in request.topics {
        let found = core.topics.find(&topic.topic, topic.topic_id);
        let id = found.as_ref().map_or(topic.topic_id, |topic| topic.id);
        topics.push((topic.topic, id, topic.partitions.len()));
        for request in topic.partitions {
            let log = found.clone().and_then(|topic| {
                topic.partition(request.partition).ok_or(ResponseError::UnknownTopicOrPartition)
            });
            let log = log.and_then(|log| log.epochs.check(request.current_leader_epoch).map(|()| log));
            asked.push(Asked { log, request });
        }
    }
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    wait(&asked, u64::try_from(request.min_bytes).unwrap_or(0), max_wait).await;

    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(core.context.config.fetch_bytes_max);
    let committed_only = request.isolation_level == 1;
    let read = core.context.tracker.spawn_blocking(move || read_all(asked, bytes_max, committed_only));
    let mut partitions = read.await.map_err(|_| UpstreamError::Closed)?.into_iter();
    let mut response = FetchResponse::default();
    for (name, id, count) in topics {
        let partitions = partitions.by_ref().take(count).collect();
        response.responses.push(
            FetchableTopicResponse::default().with_topic(name).with_topic_id(id).with_partitions(partitions),
        );
    }
    Ok(response)
}

/// Returns when there is enough, when something is wrong (which is told at once), or when the time is up.
async fn wait(asked: &[Asked], bytes_min: u64, max_wait: Duration) {
    if max_wait.is_zero() || enough(asked, bytes_min) {
        return;
    }
    let grown = Arc::new(Notify::new());
    let logs = asked.iter().filter_map(|asked| asked.log.as_ref().ok());
    let _places: Vec<Waiting> = logs.map(|log| Waiting::register(log, &grown)).collect();
    let deadline = Instant::now() + max_wait;
    // Looked at again after registering: what grew in between is seen here, what grows later is notified.
    while !enough(asked, bytes_min) {
        tokio::select! {
            () = grown.notified() => {}
            () = tokio::time::sleep_until(deadline) => return,
        }
    }
}

fn enough(asked: &[Asked], bytes_min: u64) -> bool {
    let mut bytes = 0_u64;
    for Asked { log, request } in asked {
        let Ok(log) = log else { return true };
        let (start, end) = log.seen(|view| (view.log_start(), view.high_watermark()));
        if !(start..=end).contains(&request.fetch_offset) {
            return true;
        }
        let wanted = u64::try_from(request.partition_max_bytes).unwrap_or(0).max(1);
        bytes = bytes.saturating_add(log.bytes_from(request.fetch_offset).min(wanted));
    }
    bytes >= bytes_min
}

fn read_all(asked: Vec<Asked>, bytes_max: usize, committed_only: bool) -> Vec<PartitionData> {
    let mut bytes_left = bytes_max;
    let mut nothing_yet = true;
    let mut partitions = Vec::with_capacity(asked.len());
    for Asked { log, request } in asked {
        let data = PartitionData::default()
            .with_partition_index(request.partition)
            .with_aborted_transactions(committed_only.then(Vec::new));
        let log = match log {
            Ok(log) => log,
            Err(code) => {
                partitions.push(refused(data, code));
                continue;
            }
        };
        // Before the records: an end that is read later could lie beyond them, never short of them.
        let (start, end) = log.seen(|view| (view.log_start(), view.high_watermark()));
        let wanted = usize::try_from(request.partition_max_bytes).unwrap_or(0).min(bytes_left);
        let read = log.read(request.fetch_offset, wanted, nothing_yet);
        let data = data.with_log_start_offset(start);
        partitions.push(match read {
            Ok(records) => {
                nothing_yet &= records.is_empty();
                bytes_left = bytes_left.saturating_sub(records.len());
                // No transactions: what is durable is stable.
                let end = end.max(last_covered(&records));
                data.with_high_watermark(end).with_last_stable_offset(end).with_records(Some(records))
            }
            Err(ReadError::OutOfRange) => refused(data, ResponseError::OffsetOutOfRange),
            Err(ReadError::Disk(error)) => {
                tracing::error!(topic = %log.topic, partition = log.index, %error, "cannot read a log");
                refused(data, ResponseError::KafkaStorageError)
            }
        });
    }
    partitions
}

/// The offset after the last of these batches: the log may have grown since its end was noted.
fn last_covered(records: &Bytes) -> i64 {
    let mut rest: &[u8] = records;
    let mut end = -1;
    while let Some(header) = crate::header::Header::parse(rest) {
        end = header.last_offset().saturating_add(1);
        rest = rest.get(header.bytes..).unwrap_or(&[]);
    }
    end
}

fn refused(data: PartitionData, code: ResponseError) -> PartitionData {
    data.with_error_code(code.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_records(Some(Bytes::new()))
}
