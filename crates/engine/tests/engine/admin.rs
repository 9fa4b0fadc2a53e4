//! Making and changing topics, and what is said of them.

use std::collections::BTreeMap;
use std::time::Duration;

use shuniu_broker::UpstreamError;
use shuniu_wire::Request;
use shuniu_wire::messages::create_partitions_request::CreatePartitionsTopic;
use shuniu_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use shuniu_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use shuniu_wire::messages::describe_configs_request::DescribeConfigsResource;
use shuniu_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use shuniu_wire::messages::*;

use crate::member::Member;
use crate::support::*;

async fn create(hub: &Hub, topic: CreatableTopic, validate_only: bool) -> i16 {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(validate_only);
    let response: CreateTopicsResponse = hub.call(request).await;
    response.topics[0].error_code
}

async fn grow(hub: &Hub, name: &str, count: i32) -> i16 {
    let asked =
        CreatePartitionsTopic::default().with_name(topic(name)).with_count(count).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![asked]);
    let response: CreatePartitionsResponse = hub.call(request).await;
    response.results[0].error_code
}

async fn alter(hub: &Hub, name: &str, setting: &str, operation: i8, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(setting))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = hub.call(request).await;
    response.responses[0].error_code
}

/// Each setting's value, and whether it is the topic's own.
async fn described(hub: &Hub, name: &str) -> BTreeMap<String, (String, bool)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response: DescribeConfigsResponse = hub.call(request).await;
    assert_eq!(response.results[0].error_code, 0);
    let setting = |config: &describe_configs_response::DescribeConfigsResourceResult| {
        (config.name.to_string(), (config.value.clone().unwrap().to_string(), config.config_source == 1))
    };
    response.results[0].configs.iter().map(setting).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_kafka_would_not_make_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    let good =
        || CreatableTopic::default().with_name(topic("t")).with_num_partitions(2).with_replication_factor(1);
    let setting = |name: &str, value: &str| {
        vec![CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))]
    };
    let cases = [
        (good().with_name(topic("../t")), ResponseError::InvalidTopicException),
        (good().with_name(topic("")), ResponseError::InvalidTopicException),
        (good().with_num_partitions(0), ResponseError::InvalidPartitions),
        (good().with_num_partitions(i32::MAX), ResponseError::InvalidPartitions),
        (good().with_replication_factor(3), ResponseError::InvalidReplicationFactor),
        (good().with_configs(setting("cleanup", "compact")), ResponseError::InvalidConfig),
        (good().with_configs(setting("retention.ms", "soon")), ResponseError::InvalidConfig),
    ];
    for (n, (asked, code)) in cases.into_iter().enumerate() {
        assert_eq!(create(&hub, asked, false).await, code.code(), "case {n}");
    }
    assert_eq!(create(&hub, good(), true).await, 0);
    assert_eq!(create(&hub, good(), false).await, 0, "asking whether it could be made did not make it");
    assert_eq!(create(&hub, good(), false).await, ResponseError::TopicAlreadyExists.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_settings_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 2, &[("retention.ms", "5000000000")]).await;
    assert_eq!(grow(&hub, "t", 2).await, ResponseError::InvalidPartitions.code());
    assert_eq!(grow(&hub, "nowhere", 5).await, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(grow(&hub, "t", 5).await, 0);
    assert_eq!(hub.produce("t", 4, Batch::of(&["x"]).bytes()).await.base_offset, 0);
    assert_eq!(alter(&hub, "t", "cleanup.policy", 2, Some("compact")).await, 0);
    assert_eq!(alter(&hub, "t", "retention.ms", 1, None).await, 0);
    assert_eq!(alter(&hub, "t", "max.message.bytes", 0, Some("200")).await, 0);
    assert_eq!(
        alter(&hub, "t", "max.message.bytes", 0, Some("-1")).await,
        ResponseError::InvalidConfig.code()
    );
    assert_eq!(
        alter(&hub, "nowhere", "retention.ms", 1, None).await,
        ResponseError::UnknownTopicOrPartition.code()
    );
    let before = described(&hub, "t").await;
    assert_eq!(before["cleanup.policy"], ("delete,compact".to_owned(), true));
    assert_eq!(before["retention.ms"], ("604800000".to_owned(), false));
    let large = Batch::of(&["x".repeat(300).as_str()]).bytes();
    assert_eq!(hub.produce("t", 0, large).await.error_code, ResponseError::MessageTooLarge.code());
    hub.engine.close().await;
    drop(hub);
    let hub = Hub::open(folder.path()).await;
    assert_eq!(described(&hub, "t").await, before);
    assert_eq!(hub.records("t", 4, 0).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_go_by_whole_segments_and_stay_gone() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[("segment.bytes", "1024"), ("retention.ms", "-1")]).await;
    hub.create("kept", 1, &[("cleanup.policy", "compact")]).await;
    for n in 0..20 {
        let batch = Batch::of(&["x".repeat(300).as_str(), &n.to_string()]).bytes();
        assert_eq!(hub.produce("t", 0, batch).await.error_code, 0);
    }
    let delete = async |hub: &Hub, topic_name: &str, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let asked =
            DeleteRecordsTopic::default().with_name(topic(topic_name)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]);
        let response: DeleteRecordsResponse = hub.call(request).await;
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    assert_eq!(delete(&hub, "t", 0).await, (0, 0));
    let (error, start) = delete(&hub, "t", 25).await;
    assert!(error == 0 && (1..=25).contains(&start), "{start}");
    assert_eq!(hub.list_offset("t", 0, -2).await.1, start);
    let first = hub.records("t", 0, start).await;
    assert_eq!((first[0].offset, first.len() as i64), (start, 40 - start));
    assert_eq!(hub.fetch("t", 0, 0).await.error_code, ResponseError::OffsetOutOfRange.code());
    // A second time, or for less, nothing more goes.
    assert_eq!(delete(&hub, "t", 3).await, (0, start));
    assert_eq!(delete(&hub, "t", 41).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(delete(&hub, "t", -2).await.0, ResponseError::OffsetOutOfRange.code());
    assert_eq!(delete(&hub, "kept", 0).await.0, ResponseError::PolicyViolation.code());
    assert_eq!(delete(&hub, "nowhere", 0).await.0, ResponseError::UnknownTopicOrPartition.code());
    hub.engine.close().await;
    drop(hub);
    let hub = Hub::open(folder.path()).await;
    assert_eq!(hub.list_offset("t", 0, -2).await.1, start);
    let (error, last) = delete(&hub, "t", -1).await;
    assert!(error == 0 && last > start, "{last}");
    assert_eq!(hub.list_offset("t", 0, -1).await.1, 40);
    assert_eq!(hub.produce("t", 0, Batch::of(&["y"]).bytes()).await.base_offset, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[]).await;
    let mut first = Member::new(&hub.connection);
    first.join().await;
    first.sync(&[]).await;
    let mut second = Member::new(&hub.connection);
    second.join_once().await;
    let waiting = [
        hub.connection.call(Request::from(fetch("t", 0, 0, 60_000, 100))),
        hub.connection.call(Request::from(second.join_request())),
    ];
    let waiting = waiting.map(tokio::task::spawn);
    tokio::time::sleep(Duration::from_millis(20)).await;
    hub.engine.close().await;
    for call in waiting {
        assert!(matches!(call.await.unwrap(), Err(UpstreamError::Closed)));
    }
}
