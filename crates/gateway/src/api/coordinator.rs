//! FindCoordinator: which virtual broker holds a group.

use shuniu_exchange::Session;
use shuniu_wire::messages::find_coordinator_response::Coordinator;
use shuniu_wire::messages::{
    ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, ResponseError, StrBytes,
};
use shuniu_wire::{Request, Response};

use super::closed;
use crate::door::Options;

/// Kafka's key type of a consumer group; the others are transactions and share groups.
const GROUP: i8 = 0;

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
    if let Some((host, port)) = address(options, response.node_id) {
        response.host = host;
        response.port = port;
    }
    for coordinator in &mut response.coordinators {
        if let Some((host, port)) = address(options, coordinator.node_id) {
            coordinator.host = host;
            coordinator.port = port;
        }
    }
    Ok(response.into())
}

fn address(options: &Options, node: BrokerId) -> Option<(StrBytes, i32)> {
    let broker = options.broker(node)?;
    Some((StrBytes::from_string(broker.host.clone()), i32::from(broker.port)))
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
