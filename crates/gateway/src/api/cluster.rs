//! DescribeCluster: the virtual brokers, on the hub's own addresses.

use shuniu_exchange::Session;
use shuniu_wire::messages::{DescribeClusterRequest, DescribeClusterResponse, StrBytes};
use shuniu_wire::{Request, Response};

use super::closed;
use crate::door::Options;

pub(super) async fn answer(
    session: &Session,
    request: DescribeClusterRequest,
    options: &Options,
) -> Result<Response, String> {
    let request = request.with_include_cluster_authorized_operations(false);
    let response = session.call(Request::DescribeCluster(request)).await.map_err(closed)?;
    let mut response = DescribeClusterResponse::try_from(response)
        .map_err(|other| format!("the record store answered {:?}", other.api()))?;
    response.cluster_authorized_operations = i32::MIN;
    response.brokers.retain_mut(|broker| {
        let Some(address) = options.broker(broker.broker_id) else { return false };
        broker.host = StrBytes::from_string(address.host.clone());
        broker.port = i32::from(address.port);
        true
    });
    Ok(response.into())
}
