//! Produce. Always acknowledged by every in-sync replica; no transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use shuniu_exchange::{NodeId, Session};
use shuniu_wire::RequestHeader;
use shuniu_wire::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use shuniu_wire::messages::{ApiKey, BrokerId, ProduceRequest, ProduceResponse, ResponseError, StrBytes};

use super::{closed, frame_of};
use crate::door::{Broker, Options};

/// A Produce whose records are on their way.
pub(crate) enum Submitted {
    /// Refused as a whole by the door.
    Refused(ProduceResponse),
    /// Checked and, as far as they are good, appended in the order of submitting.
    UnderWay(shuniu_exchange::Submitted),
}

/// Checks and appends. What is submitted next is appended after it.
pub(crate) async fn submit(session: &Session, request: ProduceRequest) -> Result<Submitted, String> {
    if request.acks == 0 {
        // There is no answer in which to say it, and silence would look like success.
        let reason = "acks=0 is not served: records are acknowledged or refused";
        session.refused(Some(ApiKey::Produce), "acks-zero", reason);
        return Err(reason.to_owned());
    }
    if request.transactional_id.is_some() {
        session.refused(Some(ApiKey::Produce), "transactions", "transactional ids are not served");
        let reason = "transactional ids are not served: use an idempotent producer";
        let error = ResponseError::TransactionalIdAuthorizationFailed;
        return Ok(Submitted::Refused(refused(&request, error, reason)));
    }
    if ![1, -1].contains(&request.acks) {
        let reason = "acks is 1 or all";
        session.refused(Some(ApiKey::Produce), "acks-unknown", reason);
        return Ok(Submitted::Refused(refused(&request, ResponseError::InvalidRequiredAcks, reason)));
    }
    session.submit(request).await.map(Submitted::UnderWay).map_err(closed)
}

impl Submitted {
    /// How long the connection is to take no request.
    pub(crate) fn throttle(&self) -> Duration {
        match self {
            Self::Refused(_) => Duration::ZERO,
            Self::UnderWay(submitted) => submitted.throttle(),
        }
    }

    /// The answer's frame, once the records are durable and recorded.
    pub(crate) async fn answer(
        self,
        brokers: &BTreeMap<NodeId, Broker>,
        header: &RequestHeader,
    ) -> Result<Bytes, String> {
        let mut response = match self {
            Self::Refused(response) => response,
            Self::UnderWay(submitted) => submitted.answer().await.map_err(closed)?,
        };
        // As in Metadata: a broker that this door has no address for is not named.
        response.node_endpoints.retain_mut(|endpoint| {
            let Some(broker) = brokers.get(&NodeId(endpoint.node_id.0)) else { return false };
            endpoint.host = StrBytes::from_string(broker.host.clone());
            endpoint.port = i32::from(broker.port);
            true
        });
        for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            if !brokers.contains_key(&NodeId(partition.current_leader.leader_id.0)) {
                partition.current_leader = LeaderIdAndEpoch::default();
            }
        }
        frame_of(header, response.into())
    }
}

fn refused(request: &ProduceRequest, error: ResponseError, reason: &'static str) -> ProduceResponse {
    let (error, message) = (error.code(), StrBytes::from_static_str(reason));
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
    pub(super) fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&NodeId(id.0))
    }
}
