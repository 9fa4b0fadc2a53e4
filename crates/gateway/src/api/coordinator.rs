//! FindCoordinator: which virtual broker holds a group.

use shuniu_exchange::Session;
use shuniu_wire::messages::find_coordinator_response::Coordinator;
use shuniu_wire::messages::{
    ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, ResponseError, StrBytes,
};
use shuniu_wire::{Request, Response};

use super::closed;
use crate::door::{Broker, Options};

/// Kafka's key type of a consumer group; the others are transactions and share groups.
const GROUP: i8 = 0;
/// What Kafka writes where there is no coordinator.
const NOWHERE: (StrBytes, i32) = (StrBytes::from_static_str(""), -1);

pub(super) async fn answer(
    session: &Session,
    request: FindCoordinatorRequest,
    options: &Options,
) -> Result<Response, String> {
    if request.key_type != GROUP {
        session.refused(
            Some(ApiKey::FindCoordinator),
            "coordinator-kind",
            "only group coordinators are served",
        );
        return Ok(only_groups(&request).into());
    }
    let response = session.call(Request::FindCoordinator(request)).await.map_err(closed)?;
    let mut response = FindCoordinatorResponse::try_from(response)
        .map_err(|other| format!("the record store answered {:?}", other.api()))?;
    // A broker that this door has no address for cannot be reached through it, and its own address is nobody's affair.
    match options.broker(response.node_id) {
        Some(broker) => (response.host, response.port) = address(broker),
        None => {
            (response.host, response.port) = NOWHERE;
            response.node_id = (-1).into();
            if response.coordinators.is_empty() && response.error_code == 0 {
                response.error_code = ResponseError::CoordinatorNotAvailable.code();
            }
        }
    }
    for coordinator in &mut response.coordinators {
        match options.broker(coordinator.node_id) {
            Some(broker) => (coordinator.host, coordinator.port) = address(broker),
            None => {
                (coordinator.host, coordinator.port) = NOWHERE;
                coordinator.node_id = (-1).into();
                if coordinator.error_code == 0 {
                    coordinator.error_code = ResponseError::CoordinatorNotAvailable.code();
                }
            }
        }
    }
    Ok(response.into())
}

fn address(broker: &Broker) -> (StrBytes, i32) {
    (StrBytes::from_string(broker.host.clone()), i32::from(broker.port))
}

fn only_groups(request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let error = ResponseError::TransactionalIdAuthorizationFailed.code();
    let message = Some(StrBytes::from_static_str("only the coordinators of consumer groups are served"));
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id((-1).into())
            .with_port(-1)
            .with_error_code(error)
            .with_error_message(message.clone())
    });
    FindCoordinatorResponse::default()
        .with_error_code(error)
        .with_error_message(message.clone())
        .with_node_id((-1).into())
        .with_port(-1)
        .with_coordinators(coordinators.collect())
}
