//! What an ordinary client gets.

use std::time::{Duration, Instant};

use shuniu_exchange::Settings;
use shuniu_gateway::Options;
use shuniu_wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceResponse, StrBytes,
};

use crate::client::Open;
use crate::records::{fetch, produce, produce_as, records, schema_id, whole_permit};
use crate::world::World;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_the_door_has_no_address_for_is_named_nowhere() {
    let open = Open::of(World::new().await, |options| options.brokers.clear()).await;
    let mut hall = open.client("hall").await;
    let response: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    assert!(response.brokers.is_empty(), "{response:?}");
    let response: DescribeClusterResponse = hall.ask(0, DescribeClusterRequest::default()).await;
    assert!(response.brokers.is_empty(), "{response:?}");
    let group = StrBytes::from_static_str("g");
    let request = FindCoordinatorRequest::default().with_key(group.clone());
    let response: FindCoordinatorResponse = hall.ask(2, request).await;
    assert_eq!((response.error_code, response.node_id.0, response.host.as_str()), (15, -1, ""));
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![group]);
    let response: FindCoordinatorResponse = hall.ask(4, request).await;
    let found = &response.coordinators[0];
    assert_eq!((found.error_code, found.node_id.0, found.host.as_str()), (15, -1, ""));
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_at_once_are_appended_and_answered_in_their_order() {
    let open = Open::new().await;
    let schema = schema_id(&open, "shop").await;
    let mut register = open.client("register").await;
    let request = InitProducerIdRequest::default().with_transaction_timeout_ms(60_000);
    let producer: InitProducerIdResponse = register.ask(4, request).await;
    let (id, epoch) = (producer.producer_id.0, producer.producer_epoch);
    // Large ones take longer to check than the small ones after them, which must not overtake.
    let large = "x".repeat(700_000);
    let mut sent = Vec::new();
    for sequence in 0..12 {
        let name = if sequence % 3 == 0 { large.as_str() } else { "Inn" };
        let request = produce_as("shop", schema, &[("k", name)], (id, epoch, sequence));
        sent.push(register.send(9, request).await);
    }
    let asked = register.send(9, MetadataRequest::default().with_topics(None)).await;
    for (offset, (api, correlation)) in (0..).zip(sent) {
        let response: ProduceResponse = register.answer(api, 9, correlation).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset), "{partition:?}");
    }
    let _: MetadataResponse = register.answer(asked.0, 9, asked.1).await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_what_was_appended_is_recorded_also_when_its_publisher_has_gone() {
    let open = Open::new().await;
    let schema = schema_id(&open, "shop").await;
    for _ in 0..10 {
        let mut register = open.client("register").await;
        for id in ["a", "b", "c", "d", "e"] {
            register.send(9, produce("shop", schema, &[(id, "Inn")])).await;
        }
        // Long enough for requests to be taken, too short for all answers. Then nothing can be sent back any more.
        tokio::time::sleep(Duration::from_millis(2)).await;
        register.stream.get_ref().0.set_zero_linger().unwrap();
        drop(register);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut hall = open.client("hall").await;
    let response: FetchResponse = hall.ask(12, fetch("shop", 0, 100)).await;
    let appended = records(&response).len();
    assert!(appended > 0);
    assert_eq!(open.world.audit_entries("published").await, appended);
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_shuts_down_answers_what_is_under_way_and_waits_for_nobody() {
    let adjust = |options: &mut Options| options.drain_max = Duration::from_secs(2);
    let open = Open::of(World::new().await, adjust).await;
    let mut hall = open.client("hall").await;
    let (api, id) = hall.send(12, fetch("shop", 0, 1_000)).await;
    let mut patient = open.client("hall").await;
    let (_, waiting) = patient.send(12, fetch("shop", 0, 30_000)).await;
    let mut idle = open.client("bank").await;
    let half_known = tokio::net::TcpStream::connect(open.at).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    open.world.cancel.cancel();
    idle.ends().await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    let _: FetchResponse = hall.answer(api, 12, id).await;
    // Who waits for records is told that there are none, and asks elsewhere.
    let waited: FetchResponse = patient.answer(api, 12, waiting).await;
    let mut told = waited.responses.iter().flat_map(|topic| &topic.partitions);
    assert!(told.all(|partition| partition.error_code == 0 && partition.records.is_none()), "{waited:?}");
    patient.ends().await;
    open.world.close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop(half_known);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_its_grants_limit_is_told_how_long_to_wait_and_held_to_it() {
    let more = format!("{}limits = {{ records_per_second = 5 }}\n", whole_permit("2099-12-31"));
    let open = Open::of(World::with(Settings::default(), &more).await, |_| {}).await;
    let schema = schema_id(&open, "permit").await;
    let mut register = open.client("register").await;
    for _ in 0..2 {
        let response: ProduceResponse = register.ask(9, produce("permit", schema, &[("1", "a"); 15])).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
    }
    let mut hall = open.client("hall").await;
    let mut offset = 0;
    for version in [4, 12] {
        let mut told_ms = 0;
        loop {
            let response: FetchResponse = hall.ask(version, fetch("permit", offset, 1_000)).await;
            if response.throttle_time_ms == 0 {
                let found = records(&response);
                // A batch is never cut, and no second one is begun.
                assert_eq!(found.len(), 15);
                offset += 15;
                break;
            }
            assert!(response.responses.is_empty() && response.error_code == 0, "{response:?}");
            told_ms += response.throttle_time_ms;
            // The hub takes no other request meanwhile, whatever the client does.
            let asked = Instant::now();
            let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
            assert!(
                asked.elapsed()
                    >= Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap()) / 2
            );
        }
        // The first answer left it ten over.
        assert_eq!(told_ms > 0, version == 12, "{told_ms}");
    }
    // Its other grant, and other systems, are served.
    let _: FetchResponse = hall.ask(12, fetch("shop", 0, 0)).await;
    open.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_who_publishes_too_fast_is_told_to_wait_and_is_not_heard_meanwhile() {
    let settings = Settings { published_bytes_per_second: 10_000, ..Settings::default() };
    let open = Open::of(World::with(settings, "").await, |_| {}).await;
    let schema = schema_id(&open, "shop").await;
    let mut register = open.client("register").await;
    let long = "x".repeat(20_000);
    let first: ProduceResponse = register.ask(9, produce("shop", schema, &[("1", &long)])).await;
    let answered = Instant::now();
    assert_eq!(first.responses[0].partition_responses[0].error_code, 0, "it is taken all the same");
    assert!((900..3_000).contains(&first.throttle_time_ms), "{}", first.throttle_time_ms);
    // Nobody else waits, and it does, also on another request.
    let mut hall = open.client("hall").await;
    let _: MetadataResponse = hall.ask(9, MetadataRequest::default().with_topics(None)).await;
    assert!(answered.elapsed() < Duration::from_millis(900));
    let _: MetadataResponse = register.ask(9, MetadataRequest::default().with_topics(None)).await;
    assert!(answered.elapsed() >= Duration::from_millis(900), "{:?}", answered.elapsed());
    let second: ProduceResponse = register.ask(9, produce("shop", schema, &[("2", "a")])).await;
    assert_eq!(second.responses[0].partition_responses[0].error_code, 0);
    // The bucket stands at its brim: what little is more runs out soon.
    assert!(second.throttle_time_ms < 200, "{}", second.throttle_time_ms);
    open.world.close().await;
}
