//! Brokers of the record store that clients cannot reach, since the configuration has no address for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shuniu_exchange::{Exchange, NodeId};
use tokio_util::sync::CancellationToken;

use crate::door::Options;

/// How often the record store is asked. A broker that joins leads nothing before somebody moves partitions to it.
const EVERY: Duration = Duration::from_secs(30);

/// Names brokers without an address in the hub's log: once when they appear, and when they have one or are gone.
pub(crate) async fn watch(exchange: Arc<Exchange>, options: Arc<Options>, cancel: CancellationToken) {
    let mut known = BTreeSet::new();
    loop {
        match exchange.nodes().await {
            Ok(nodes) => {
                let unreachable = without_address(&nodes, &options);
                for node in unreachable.difference(&known) {
                    tracing::error!(node = node.0, "{}", sentence(*node));
                }
                for node in known.difference(&unreachable) {
                    tracing::info!(node = node.0, "broker {} is no longer in the cluster", node.0);
                }
                known = unreachable;
            }
            // Whoever needs the record store says so; here it is asked again.
            Err(closed) => tracing::debug!("the record store's brokers are not known now: {closed}"),
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn without_address(nodes: &[NodeId], options: &Options) -> BTreeSet<NodeId> {
    nodes.iter().filter(|node| !options.brokers.contains_key(node)).copied().collect()
}

fn sentence(node: NodeId) -> String {
    format!(
        "broker {node} of the cluster has no [[gateway.brokers]] in the hub's configuration, so clients cannot reach it: \
         what it leads is LEADER_NOT_AVAILABLE to them, and groups that it coordinates COORDINATOR_NOT_AVAILABLE. Add an \
         entry with node = {node}, and start the hub again",
        node = node.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Broker;

    #[test]
    fn a_broker_without_an_address_is_named_with_what_to_do() {
        let broker = Broker { host: "hub".to_owned(), port: 9093 };
        let options = Options { brokers: [(NodeId(1), broker)].into(), ..Options::default() };
        assert!(without_address(&[NodeId(1)], &options).is_empty());
        assert_eq!(without_address(&[NodeId(1), NodeId(4)], &options), BTreeSet::from([NodeId(4)]));
        let said = sentence(NodeId(4));
        assert!(
            said.contains("broker 4") && said.contains("[[gateway.brokers]]") && said.contains("node = 4")
        );
    }
}
