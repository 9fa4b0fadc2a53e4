//! Produce. Always acknowledged by every in-sync replica; no transactions.

use shuniu_exchange::Session;
use shuniu_wire::Response;
use shuniu_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use shuniu_wire::messages::{ApiKey, BrokerId, ProduceRequest, ProduceResponse, ResponseError, StrBytes};

use super::closed;
use crate::door::Options;

pub(super) async fn answer(
    session: &Session,
    request: ProduceRequest,
    options: &Options,
) -> Result<Response, String> {
    if request.acks == 0 {
        // There is no answer in which to say it, and silence would look like success.
        let reason = "acks=0 is not served: records are acknowledged or refused";
        session.refused(Some(ApiKey::Produce), "acks-zero", reason);
        return Err(reason.to_owned());
    }
    if request.transactional_id.is_some() {
        session.refused(Some(ApiKey::Produce), "transactions", "transactional ids are not served");
        return Ok(no_transactions(&request).into());
    }
    let mut response = session.produce(request).await.map_err(closed)?;
    for endpoint in &mut response.node_endpoints {
        if let Some(broker) = options.broker(endpoint.node_id) {
            endpoint.host = StrBytes::from_string(broker.host.clone());
            endpoint.port = i32::from(broker.port);
        }
    }
    Ok(response.into())
}

fn no_transactions(request: &ProduceRequest) -> ProduceResponse {
    let error = ResponseError::TransactionalIdAuthorizationFailed.code();
    let message = StrBytes::from_static_str("transactional ids are not served: use an idempotent producer");
    let topics = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| {
            PartitionProduceResponse::default()
                .with_index(partition.index)
                .with_error_code(error)
                .with_base_offset(-1)
                .with_error_message(Some(message.clone()))
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(topics.collect())
}

impl Options {
    /// Where clients reach a virtual broker.
    pub(super) fn broker(&self, id: BrokerId) -> Option<&crate::door::Broker> {
        self.brokers.get(&shuniu_exchange::NodeId(id.0))
    }
}
