//! The answers of the APIs.

use shuniu_wire::messages::create_topics_request::CreatableTopic;
use shuniu_wire::messages::create_topics_response::CreatableTopicResult;
use shuniu_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use shuniu_wire::messages::describe_cluster_response::DescribeClusterBroker;
use shuniu_wire::messages::fetch_request::FetchPartition;
use shuniu_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use shuniu_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use shuniu_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use shuniu_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use shuniu_wire::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DescribeClusterResponse, FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, ProducerId,
    ResponseError, StrBytes, TopicName,
};

use super::Found;
use super::log::{PartitionLog, TopicLog, Topics};
use crate::leaders::{EARLIEST, LATEST};
use crate::upstream::NodeId;

const PARTITIONS_MAX: usize = 1_000;

impl Topics {
    pub(super) fn produce(&mut self, request: ProduceRequest) -> ProduceResponse {
        let responses = request.topic_data.into_iter().map(|topic| {
            let name = self.real_name(&topic.name, topic.topic_id);
            let partitions = topic.partition_data.into_iter().map(|data| {
                let response = PartitionProduceResponse::default().with_index(data.index);
                let log = self.partition_mut(&name, data.index).ok_or(ResponseError::UnknownTopicOrPartition);
                let records = data.records.unwrap_or_default();
                match log.and_then(|log| log.append(&records).map(|offset| (offset, log.start()))) {
                    Ok((offset, start)) => response
                        .with_base_offset(offset)
                        .with_log_append_time_ms(-1)
                        .with_log_start_offset(start),
                    Err(error) => response.with_base_offset(-1).with_error_code(error.code()),
                }
            });
            let partitions = partitions.collect();
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions)
        });
        ProduceResponse::default().with_responses(responses.collect())
    }

    pub(super) fn fetch(&self, request: &FetchRequest) -> Found {
        let mut found = Found { response: FetchResponse::default(), bytes: 0, failed: false };
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
        for topic in &request.topics {
            let name = self.real_name(&topic.topic, topic.topic_id);
            let mut answer = FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id);
            for wanted in &topic.partitions {
                let data = self.fetch_partition(&name, wanted, left, found.bytes == 0);
                let bytes = data.records.as_ref().map_or(0, bytes::Bytes::len);
                left = left.saturating_sub(bytes);
                found.bytes += bytes;
                found.failed |= data.error_code != 0;
                answer.partitions.push(data);
            }
            found.response.responses.push(answer);
        }
        found
    }

    fn fetch_partition(
        &self,
        topic: &str,
        wanted: &FetchPartition,
        left: usize,
        first: bool,
    ) -> PartitionData {
        let data = PartitionData::default().with_partition_index(wanted.partition);
        let Some(log) = self.partition(topic, wanted.partition) else {
            return data
                .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                .with_high_watermark(-1);
        };
        let data = data
            .with_high_watermark(log.shown_end())
            .with_last_stable_offset(log.shown_end())
            .with_log_start_offset(log.start());
        let bytes_max = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
        match log.read(wanted.fetch_offset, bytes_max, first) {
            Ok(records) => data.with_records(Some(records)),
            Err(error) => data.with_error_code(error.code()).with_records(Some(bytes::Bytes::new())),
        }
    }

    pub(super) fn metadata(&self, node: NodeId, request: MetadataRequest) -> MetadataResponse {
        let topics = match request.topics {
            None => self.by_name.iter().map(|(name, log)| described(node, name, log)).collect(),
            Some(wanted) => wanted
                .into_iter()
                .map(|wanted| {
                    let name = wanted.name.unwrap_or_default();
                    let real = self.real_name(&name, wanted.topic_id);
                    match self.by_name.get(&real) {
                        Some(log) => described(node, &real, log),
                        None => MetadataResponseTopic::default()
                            .with_name(Some(name))
                            .with_topic_id(wanted.topic_id)
                            .with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                    }
                })
                .collect(),
        };
        MetadataResponse::default()
            .with_brokers(vec![MetadataResponseBroker::default().with_node_id(BrokerId(node.0))])
            .with_cluster_id(Some(StrBytes::from_static_str("memory")))
            .with_controller_id(BrokerId(node.0))
            .with_topics(topics)
    }

    pub(super) fn create_topics(&mut self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let topics = request.topics.into_iter().map(|topic| self.create_topic(topic));
        CreateTopicsResponse::default().with_topics(topics.collect())
    }

    fn create_topic(&mut self, topic: CreatableTopic) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let partitions = usize::try_from(topic.num_partitions).unwrap_or(1).clamp(1, PARTITIONS_MAX);
        let name = topic.name.as_str().to_owned();
        if self.by_name.contains_key(&name) {
            return result.with_error_code(ResponseError::TopicAlreadyExists.code());
        }
        let logs = std::iter::repeat_with(PartitionLog::default).take(partitions).collect();
        let log = TopicLog { id: uuid::Uuid::new_v4(), partitions: logs };
        let result =
            result.with_topic_id(log.id).with_num_partitions(topic.num_partitions).with_replication_factor(1);
        self.by_name.insert(name, log);
        result
    }

    pub(super) fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let answer =
                    ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                let Some(log) = self.partition(topic.name.as_str(), wanted.partition_index) else {
                    return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
                };
                let (offset, timestamp) = match wanted.timestamp {
                    LATEST => (log.end(), -1),
                    EARLIEST => (log.start(), -1),
                    timestamp => log.at(timestamp).unwrap_or((-1, -1)),
                };
                answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(0)
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    pub(super) fn delete_records(&mut self, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let answer =
                    DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
                self.forget_before(topic.name.as_str(), wanted.partition_index, wanted.offset);
                match self.partition(topic.name.as_str(), wanted.partition_index) {
                    Some(log) => answer.with_low_watermark(log.start()),
                    None => answer.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                }
            });
            let partitions = partitions.collect();
            DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }

    pub(super) fn init_producer_id(&mut self) -> InitProducerIdResponse {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0)
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionLog> {
        self.by_name.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The name when there is one, else the name of the topic of that id; empty when there is none.
    fn real_name(&self, name: &TopicName, id: uuid::Uuid) -> String {
        if !name.is_empty() {
            return name.as_str().to_owned();
        }
        self.by_name.iter().find(|(_, log)| log.id == id).map(|(name, _)| name.clone()).unwrap_or_default()
    }
}

pub(super) fn describe_cluster(node: NodeId) -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_static_str("memory"))
        .with_controller_id(BrokerId(node.0))
        .with_brokers(vec![DescribeClusterBroker::default().with_broker_id(BrokerId(node.0))])
}

fn described(node: NodeId, name: &str, log: &TopicLog) -> MetadataResponseTopic {
    let partitions = (0..log.partitions.len()).filter_map(|index| {
        Some(
            MetadataResponsePartition::default()
                .with_partition_index(i32::try_from(index).ok()?)
                .with_leader_id(BrokerId(node.0))
                .with_leader_epoch(0)
                .with_replica_nodes(vec![BrokerId(node.0)])
                .with_isr_nodes(vec![BrokerId(node.0)]),
        )
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(log.id)
        .with_partitions(partitions.collect())
}
