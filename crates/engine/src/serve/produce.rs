//! Produce: records to their partitions, in the order of calls; answered when all are durable.

use std::future::Future;
use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use shuniu_wire::messages::{ProduceRequest, ProduceResponse, ResponseError, StrBytes};
use tokio::sync::oneshot;

use crate::engine::Core;
use crate::log::partition::{Placed, Refused};

enum Outcome {
    Refused(Refused),
    Waiting(oneshot::Receiver<Result<Placed, Refused>>, i64),
}

/// Everything is submitted when this returns; the future waits for the disk.
pub(crate) fn produce(
    core: &Arc<Core>,
    request: ProduceRequest,
) -> impl Future<Output = Result<ProduceResponse, UpstreamError>> + Send + 'static {
    let transactional = request.transactional_id.is_some();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = core.topics.find(&data.name, data.topic_id);
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let outcome = if transactional {
                let message = "there are no transactions here";
                Outcome::Refused(Refused::new(ResponseError::TransactionalIdAuthorizationFailed, message))
            } else {
                match topic.as_ref().map(|topic| topic.partition(partition.index)) {
                    Ok(Some(log)) => {
                        let start = log.seen(|view| view.log_start());
                        Outcome::Waiting(log.submit(partition.records.unwrap_or_default()), start)
                    }
                    Ok(None) => Outcome::Refused(unknown(ResponseError::UnknownTopicOrPartition)),
                    Err(code) => Outcome::Refused(unknown(*code)),
                }
            };
            partitions.push((partition.index, outcome));
        }
        topics.push((data.name, data.topic_id, partitions));
    }
    async move {
        let mut response = ProduceResponse::default();
        for (name, id, partitions) in topics {
            let mut answer = TopicProduceResponse::default().with_name(name).with_topic_id(id);
            for (index, outcome) in partitions {
                answer.partition_responses.push(finished(index, outcome).await?);
            }
            response.responses.push(answer);
        }
        Ok(response)
    }
}

async fn finished(index: i32, outcome: Outcome) -> Result<PartitionProduceResponse, UpstreamError> {
    let response = PartitionProduceResponse::default().with_index(index);
    let (result, log_start) = match outcome {
        Outcome::Refused(refused) => (Err(refused), -1),
        Outcome::Waiting(answer, start) => (answer.await.map_err(|_| UpstreamError::Closed)?, start),
    };
    Ok(match result {
        Ok(placed) => response
            .with_base_offset(placed.base_offset)
            .with_log_append_time_ms(placed.append_time_ms)
            .with_log_start_offset(log_start),
        Err(refused) => response
            .with_error_code(refused.code.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(log_start)
            .with_error_message(Some(StrBytes::from_string(refused.message))),
    })
}

fn unknown(code: ResponseError) -> Refused {
    Refused::new(code, "no such topic or partition")
}
