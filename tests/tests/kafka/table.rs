//! The closed table on a real broker: what it serves and the hub does not stops at the hub's door.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use rdkafka::consumer::{BaseConsumer, Consumer};
use shuniu_tests::{Hub, Kafka, Watched, repository};
use shuniu_wire::messages as m;
use shuniu_wire::messages::{StrBytes, TopicName};
use shuniu_wire::{ApiKey, Request, SERVED, SPOKEN, api_versions_request, encode_request};

use crate::raw::Raw;

const A_TOPIC: &str = "made-by-a-client";

/// What a side announces: APIs with their lowest and highest version.
async fn announced(client: &mut Raw) -> Vec<(i16, i16, i16)> {
    let request = api_versions_request(7, "test");
    let mut answer = client.exchange(&request[4..]).await.unwrap();
    assert_eq!((answer.get_i32(), answer.get_i16()), (7, 0));
    (0..answer.get_i32()).map(|_| (answer.get_i16(), answer.get_i16(), answer.get_i16())).collect()
}

fn each(rows: &[(i16, i16, i16)]) -> BTreeSet<(i16, i16)> {
    rows.iter().flat_map(|(key, min, max)| (*min..=*max).map(move |version| (*key, version))).collect()
}

/// Whole requests that change a cluster, each in every version that there is.
fn that_change_it() -> Vec<Bytes> {
    let name = || TopicName(StrBytes::from_static_str(A_TOPIC));
    let topic = m::create_topics_request::CreatableTopic::default()
        .with_name(name())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let division = || TopicName(StrBytes::from_static_str("division"));
    let more =
        m::create_partitions_request::CreatePartitionsTopic::default().with_name(division()).with_count(9);
    let all = m::delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
    let gone = m::delete_records_request::DeleteRecordsTopic::default()
        .with_name(division())
        .with_partitions(vec![all]);
    let setting = m::incremental_alter_configs_request::AlterableConfig::default()
        .with_name(StrBytes::from_static_str("cleanup.policy"))
        .with_value(Some(StrBytes::from_static_str("delete")));
    let settings = m::incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(division().0)
        .with_configs(vec![setting]);
    let requests: [Request; 4] = [
        m::CreateTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic]).into(),
        m::CreatePartitionsRequest::default().with_timeout_ms(5_000).with_topics(vec![more]).into(),
        m::DeleteRecordsRequest::default().with_timeout_ms(5_000).with_topics(vec![gone]).into(),
        m::IncrementalAlterConfigsRequest::default().with_resources(vec![settings]).into(),
    ];
    let versions = |request: &Request| {
        let versions = request.api().valid_versions();
        versions.min..=versions.max
    };
    let written = |request: &Request| -> Vec<Bytes> {
        versions(request)
            .map(|version| encode_request(version, 7, "test", request).unwrap().slice(4..))
            .collect()
    };
    requests.iter().flat_map(written).collect()
}

/// Waits until the hub has made its topics: it makes no more then.
fn topics_made(kafka: &Kafka) {
    let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    let resources = directory.split("[[resource]]\nname = \"").skip(1);
    let wanted: BTreeSet<_> = resources.map(|text| text.split('"').next().unwrap().to_owned()).collect();
    let consumer: BaseConsumer = kafka.client().create().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).unwrap();
        let made: BTreeSet<_> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        if wanted.is_subset(&made) {
            return;
        }
        assert!(Instant::now() < deadline, "{made:?} of {wanted:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn p7_what_a_broker_serves_and_the_hub_does_not_never_reaches_the_broker() {
    let watched = Watched::default();
    let kafka = Kafka::start_watched(&watched);
    let hub = Hub::on_kafka(&kafka);
    topics_made(&kafka);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let brokers = announced(&mut Raw::bare(&kafka.bootstrap()[0]).await).await;
        let hubs = announced(&mut Raw::of_system(&hub, "hall-yuzhong").await).await;
        // On a cluster that has everything, everything of the table is announced, and nothing that the broker lacks.
        let table: Vec<_> = SERVED.iter().map(|row| (row.api as i16, row.announced_min, row.max)).collect();
        assert_eq!(hubs, table);
        assert!(each(&hubs).is_subset(&each(&brokers)), "{:?}", each(&hubs).difference(&each(&brokers)));

        let served: Vec<_> = SERVED.iter().map(|row| (row.api as i16, row.min, row.max)).collect();
        let served = each(&served);
        let of_kafka: Vec<_> = (0..i16::MAX)
            .filter_map(|key| ApiKey::try_from(key).ok())
            .map(|api| (api as i16, api.valid_versions().min, api.valid_versions().max))
            .collect();
        let all: BTreeSet<_> = each(&brokers).union(&each(&of_kafka)).copied().collect();
        let outside: Vec<_> = all.difference(&served).filter(|(key, _)| *key != 18).collect();
        assert!(outside.len() > 100, "{}", outside.len());
        let frames = outside.into_iter().map(|(key, version)| {
            Bytes::from([&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 40]].concat())
        });
        let before = watched.connections();
        for frame in frames.chain(that_change_it()) {
            let mut client = Raw::of_system(&hub, "hall-yuzhong").await;
            let head = &frame[..4];
            assert!(client.exchange(&frame).await.is_err(), "API and version {head:?} are answered");
        }
        // Each client's connection to the broker was asked for its APIs and nothing more. Meanwhile the hub itself may
        // have asked who the brokers are.
        let others: Vec<_> =
            watched.asked(before).into_iter().filter(|asked| asked.as_slice() != [(18, 0)]).collect();
        let metadata = SPOKEN.iter().find(|row| row.api == ApiKey::Metadata).unwrap().max;
        assert!(others.iter().all(|asked| *asked == [(18, 0), (3, metadata)]), "{others:?}");
        assert!(others.len() < 8, "{others:?}");
    });
    let consumer: BaseConsumer = kafka.client().create().unwrap();
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != A_TOPIC));
    let division = metadata.topics().iter().find(|topic| topic.name() == "division").unwrap();
    assert_eq!(division.partitions().len(), 1);
    hub.recorded(&["--action", "refused"], &["api-not-served", "createtopics"]);
}
