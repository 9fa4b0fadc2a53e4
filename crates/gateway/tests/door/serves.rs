//! What an ordinary client gets.

use shuniu_wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse, ProduceResponse, StrBytes,
};

use crate::client::Open;
use crate::records::{fetch, produce, records, schema_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_reaches_its_consumer_as_granted_over_tls() {
    let open = Open::new().await;
    let schema = schema_id(&open, "shop").await;
    let mut register = open.client("register").await;
    for version in [3, 9, 12] {
        let id = format!("s{version}");
        let request = produce("shop", schema, &[(&id, "Tea House")]);
        let response: ProduceResponse = register.ask(version, request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
    }
    let mut hall = open.client("hall").await;
    for version in [4, 11, 12] {
        let response: FetchResponse = hall.ask(version, fetch("shop", 0, 1_000)).await;
        let found = records(&response);
        let keys: Vec<_> = found.iter().map(|(offset, key, _)| (*offset, key.as_str())).collect();
        assert_eq!(keys, [(0, "s3"), (1, "s9"), (2, "s12")], "version {version}");
        // One character of the name stays, and there is no owner.
        assert!(found[0].2.ends_with(&[&[4][..], b"s3", &[18], b"T********"].concat()), "{:?}", found[0].2);
    }
    // Without a grant, and without a topic: the same answer.
    let mut bank = open.client("bank").await;
    for name in ["shop", "nowhere"] {
        let response: FetchResponse = bank.ask(12, fetch(name, 0, 1_000)).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 29, "{name}");
        assert!(records(&response).is_empty());
    }
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_in_an_answer_is_the_doors_own() {
    let open = Open::new().await;
    let port = i32::from(open.at.port());
    let mut hall = open.client("hall").await;
    for version in [0, 1, 5, 9, 12] {
        let request = MetadataRequest::default().with_topics(None);
        // Before version 1 all topics are asked for by naming none.
        let request = if version == 0 { request.with_topics(Some(Vec::new())) } else { request };
        let response: MetadataResponse = hall.ask(version, request).await;
        let brokers: Vec<_> =
            response.brokers.iter().map(|it| (it.node_id.0, it.host.as_str(), it.port)).collect();
        assert_eq!(brokers, [(1, "localhost", port)], "version {version}");
        let topics: Vec<_> = response.topics.iter().map(|it| it.name.as_ref().unwrap().as_str()).collect();
        assert_eq!(topics, ["shop"], "version {version}");
    }
    let request = DescribeClusterRequest::default();
    let response: DescribeClusterResponse = hall.ask(0, request).await;
    assert_eq!((response.brokers[0].host.as_str(), response.brokers[0].port), ("localhost", port));
    for version in [0, 2, 4] {
        let group = StrBytes::from_static_str("g");
        let request = FindCoordinatorRequest::default();
        let request =
            if version < 4 { request.with_key(group) } else { request.with_coordinator_keys(vec![group]) };
        let response: FindCoordinatorResponse = hall.ask(version, request).await;
        let (host, at) = match response.coordinators.first() {
            Some(it) => (it.host.as_str(), it.port),
            None => (response.host.as_str(), response.port),
        };
        assert_eq!((host, at), ("localhost", port), "version {version}");
    }
    open.world.close().await;
}
