//! Metadata: the caller's topics, on the hub's own addresses.

use shuniu_exchange::Session;
use shuniu_wire::Response;
use shuniu_wire::messages::{MetadataRequest, StrBytes};

use super::closed;
use crate::door::Options;

pub(super) async fn answer(
    session: &Session,
    request: MetadataRequest,
    options: &Options,
) -> Result<Response, String> {
    let mut response = session.metadata(request).await.map_err(closed)?;
    // A broker that this door has no address for cannot be reached through it, so it is not named.
    response.brokers.retain_mut(|broker| {
        let Some(address) = options.broker(broker.node_id) else { return false };
        broker.host = StrBytes::from_string(address.host.clone());
        broker.port = i32::from(address.port);
        true
    });
    Ok(response.into())
}
