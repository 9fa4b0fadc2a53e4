//! The hub on a cluster, with unchanged clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use shuniu_tests::{Hub, Kafka, Publisher};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages as m;
use shuniu_wire::messages::ResponseError;

use crate::equivalence::{Topic, division, produce, topic_id};
use crate::raw::Raw;

fn consumer(hub: &Hub, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = hub
        .client("hall-yuzhong")
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        .create()
        .unwrap();
    consumer.subscribe(&["population"]).unwrap();
    consumer
}

/// Reads until each of the keys was there.
fn read_all(consumer: &BaseConsumer, keys: &BTreeMap<String, usize>, got: &mut BTreeMap<String, usize>) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while keys.keys().any(|key| !got.contains_key(key)) {
        assert!(Instant::now() < deadline, "{} of {} records came", got.len(), keys.len());
        read(consumer, Duration::from_millis(500), got);
    }
}

fn read(consumer: &BaseConsumer, wait: Duration, got: &mut BTreeMap<String, usize>) {
    // A broker that is gone is an error that passes.
    if let Some(Ok(message)) = consumer.poll(wait) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        *got.entry(key).or_default() += 1;
    }
}

#[test]
fn a_record_goes_through_a_hub_on_kafka_as_granted_and_stands_on_the_log() {
    let kafka = Kafka::start(1);
    let mut hub = Hub::on_kafka(&kafka);
    let output = hub.python("avro.py", &[]);
    assert!(output.contains("欧**") && !output.contains("欧阳修"), "{output}");
    for topic in ["legal-person", "no-such-topic", "shuniu.audit"] {
        let refused = hub.kcat("hall-jiangbei", &["-C", "-t", topic, "-e", "-o", "beginning"]);
        assert!(refused.to_lowercase().contains("authorization failed"), "{topic}: {refused}");
    }
    hub.recorded(
        &["--resource", "population", "--action", "delivered"],
        &["yuzhong-population", "jiangbei-population", "bank-population"],
    );
    // Killed and started again, it goes on where it was: the log's chain, the records, the group's offsets.
    hub.kill();
    hub.restart();
    let publisher = Publisher::new(&hub);
    for n in 100..110 {
        publisher.publish(n);
    }
    let keys = publisher.finish(Duration::from_secs(60));
    assert_eq!(keys.len(), 10);
    read_all(&consumer(&hub, "again"), &keys, &mut BTreeMap::new());
    hub.stop();
    hub.verify();
}

#[test]
fn p4_nothing_acknowledged_is_lost_or_doubled_when_a_broker_of_three_is_killed() {
    let kafka = Kafka::start(3);
    let mut hub = Hub::on_kafka(&kafka);
    let publisher = Publisher::new(&hub);
    let live = consumer(&hub, "live");
    let mut got = BTreeMap::new();
    let total = 3_000_u32;
    let victim = kafka.leader("shuniu.audit", 0).unwrap();
    for n in 0..total {
        publisher.publish(n);
        read(&live, Duration::ZERO, &mut got);
        if n % 100 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        if n == total / 3 {
            // The leader of the audit log's one partition, and of a third of the rest.
            kafka.kill(victim);
        }
        if n == 2 * total / 3 {
            // Two brokers take it all, and the log has another leader.
            publisher.flush(Duration::from_secs(90));
            let leader = kafka.leader("shuniu.audit", 0).unwrap();
            assert_ne!(leader, victim);
            kafka.restart(victim);
        }
    }
    let keys = publisher.finish(Duration::from_secs(120));
    assert_eq!(keys.len(), usize::try_from(total).unwrap());
    read_all(&live, &keys, &mut got);
    // From the beginning, by another group: each record once.
    let mut all = BTreeMap::new();
    let check = consumer(&hub, "check");
    read_all(&check, &keys, &mut all);
    let doubled: Vec<_> = all.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{} records are there twice", doubled.len());
    hub.stop();
    hub.verify();
}

#[test]
fn p4_a_hub_restored_beside_its_cluster_loses_no_record_and_no_entry() {
    let kafka = Kafka::start(1);
    let mut hub = Hub::on_kafka(&kafka);
    let outside = tempfile::tempdir().unwrap();
    let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    let (backup, later, data) = (path("backup"), path("later"), hub.folder().to_str().unwrap().to_owned());
    let publisher = Publisher::new(&hub);
    (0..50).for_each(|n| publisher.publish(n));
    publisher.flush(Duration::from_secs(60));
    let told = hub.run(&["backup", &backup, "--config", &format!("{data}/hub.toml")]);
    assert!(told.contains("on the Apache Kafka cluster, not in the backup"), "{told}");
    // Behind the backup.
    (50..100).for_each(|n| publisher.publish(n));
    let keys = publisher.finish(Duration::from_secs(60));
    assert_eq!(keys.len(), 100);
    hub.stop();
    std::fs::copy(hub.folder().join("audit/checkpoint"), &later).unwrap();
    std::fs::rename(hub.folder(), path("old")).unwrap();

    let restored = Hub::apart(&["restore", &backup, "--into", &data]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    hub.restart();
    read_all(&consumer(&hub, "after"), &keys, &mut BTreeMap::new());
    let more = Publisher::new(&hub);
    more.publish(100);
    assert_eq!(more.finish(Duration::from_secs(60)).len(), 1);
    hub.stop();
    hub.verify();
    // The tiles were made again from the topic: the log begins with what was shown before the loss.
    let since = Hub::apart(&["audit", "verify", &format!("{data}/audit"), "--since", &later]);
    assert!(since.status.success(), "{}", String::from_utf8_lossy(&since.stderr));
}

#[test]
fn topics_that_were_changed_by_hand_are_shown_and_mended_on_request() {
    let kafka = Kafka::shared();
    let hub = Hub::on_kafka(kafka);
    let config = hub.folder().join("hub.toml");
    let config = config.to_str().unwrap();
    let check = |more: &[&str]| {
        let output = hub.command(&[&["directory", "check", "--config", config], more].concat());
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    // A broker hears of changed settings a moment after the controller took them.
    let looked_again = |more: &[&str], wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (good, text) = check(more);
            if text.contains(wanted) {
                return (good, text);
            }
            assert!(Instant::now() < deadline, "{wanted}: {text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let (good, text) = check(&[]);
    assert!(good && text.contains("as the directory says"), "{text}");

    // Every setting of a topic goes back to its default: records would be deleted after a week.
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().unwrap();
    let forgotten = AlterConfig::new(ResourceSpecifier::Topic("population"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let altered = runtime.block_on(admin.alter_configs([&forgotten], &AdminOptions::new())).unwrap();
        if altered.iter().all(Result::is_ok) && !check(&[]).0 {
            break;
        }
        assert!(Instant::now() < deadline, "the settings are not changed: {altered:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (good, text) = looked_again(&[], "population: cleanup.policy is delete, not compact");
    assert!(!good && text.contains("--repair"), "{text}");
    let (good, text) = check(&["--repair"]);
    assert!(good && text.contains("population: mended"), "{text}");
    let (good, text) = looked_again(&[], "as the directory says");
    assert!(good, "{text}");
    hub.recorded(
        &["--action", "administered"],
        &["topic population", "cleanup.policy is delete, not compact"],
    );

    // Deleted and made anew, it is another topic: nothing goes through it, and nothing mends it.
    runtime.block_on(admin.delete_topics(&["division"], &AdminOptions::new())).unwrap();
    let anew = NewTopic::new("division", 1, TopicReplication::Fixed(1));
    let deadline = Instant::now() + Duration::from_secs(30);
    while runtime.block_on(admin.create_topics([&anew], &AdminOptions::new())).unwrap()[0].is_err() {
        assert!(Instant::now() < deadline, "the topic is not made anew");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (good, text) = looked_again(&["--repair"], "division: the topic was deleted and made anew");
    assert!(!good, "{text}");
}

#[test]
fn a_client_at_the_wrong_broker_is_told_where_the_leader_is() {
    let kafka = Kafka::start(3);
    let hub = Hub::on_kafka(&kafka);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let leader = loop {
        if let Some(leader) = kafka.leader("division", 0).filter(|leader| *leader > 0) {
            break leader;
        }
        assert!(Instant::now() < deadline, "division has no leader");
        std::thread::sleep(Duration::from_millis(100));
    };
    let bootstrap = hub.bootstrap();
    let addresses: Vec<&str> = bootstrap.split(',').collect();
    let wrong = leader % 3;
    let told = runtime.block_on(async {
        let mut client = Raw::at(addresses[wrong], &hub, "civil-affairs").await;
        // The hub serves the topic from when its policy knows the id, a moment after the brokers do.
        topic_id(&mut client, "division").await;
        let mut builder = BatchBuilder::new(Compression::Lz4);
        let schema = hub.schema_id("civil-affairs", "division");
        let value = division(schema, "500103", "x");
        let timestamp = 1_760_000_000_000;
        builder.push(&BuiltRecord { timestamp, key: Some(b"500103"), value: Some(&value), headers: &[] });
        let topic = Topic { name: "division", id: uuid::Uuid::nil() };
        let request = produce(topic, 0, builder.build().unwrap());
        client.get::<m::ProduceResponse>(12, request).await
    });
    let partition = &told.responses[0].partition_responses[0];
    let error = ResponseError::try_from_code(partition.error_code);
    assert_eq!(error, Some(ResponseError::NotLeaderOrFollower), "{told:?}");
    assert_eq!(usize::try_from(partition.current_leader.leader_id.0).unwrap(), leader);
    let endpoint = &told.node_endpoints[0];
    // The hub's own address of the leader, and never the broker's.
    assert_eq!(format!("{}:{}", endpoint.host, endpoint.port), addresses[leader - 1]);

    // Consumers may read from any replica, but not in the epoch of a leader that is gone.
    kafka.kill(leader);
    let successor = loop {
        if let Some(now) = kafka.leader("division", 0).filter(|now| *now > 0 && *now != leader) {
            break now;
        }
        assert!(Instant::now() < deadline, "division has no other leader");
        std::thread::sleep(Duration::from_millis(100));
    };
    let told = runtime.block_on(async {
        let mut client = Raw::at(addresses[successor - 1], &hub, "civil-affairs").await;
        let id = topic_id(&mut client, "division").await;
        let partition = m::fetch_request::FetchPartition::default()
            .with_current_leader_epoch(0)
            .with_partition_max_bytes(1 << 20);
        let topic =
            m::fetch_request::FetchTopic::default().with_topic_id(id).with_partitions(vec![partition]);
        let request = m::FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
        client.get::<m::FetchResponse>(16, request).await
    });
    let partition = &told.responses[0].partitions[0];
    let error = ResponseError::try_from_code(partition.error_code);
    assert_eq!(error, Some(ResponseError::FencedLeaderEpoch), "{told:?}");
    assert_eq!(usize::try_from(partition.current_leader.leader_id.0).unwrap(), successor);
    let endpoint = &told.node_endpoints[0];
    assert_eq!(format!("{}:{}", endpoint.host, endpoint.port), addresses[successor - 1]);
}
