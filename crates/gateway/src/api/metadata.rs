//! Metadata: the caller's topics, on the hub's own addresses.

use shuniu_exchange::Session;
use shuniu_wire::Response;
use shuniu_wire::messages::{MetadataRequest, ResponseError, StrBytes};

use super::closed;
use crate::door::Options;

pub(super) async fn answer(
    session: &Session,
    mut request: MetadataRequest,
    version: i16,
    options: &Options,
) -> Result<Response, String> {
    // Version 0 has no null: an empty list asks for all topics there, and for none in every later version.
    if version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty) {
        request.topics = None;
    }
    let mut response = session.metadata(request).await.map_err(closed)?;
    // A broker that this door has no address for cannot be reached through it, so it is not named.
    response.brokers.retain_mut(|broker| {
        let Some(address) = options.broker(broker.node_id) else { return false };
        broker.host = StrBytes::from_string(address.host.clone());
        broker.port = i32::from(address.port);
        true
    });
    // What it leads cannot be reached either, and clients are to wait for another leader.
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if partition.leader_id.0 >= 0 && options.broker(partition.leader_id).is_none() {
            partition.leader_id = (-1).into();
            partition.error_code = ResponseError::LeaderNotAvailable.code();
        }
    }
    Ok(response.into())
}
