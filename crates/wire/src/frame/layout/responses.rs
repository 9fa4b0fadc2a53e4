//! The bodies of responses.

use kafka_protocol::messages::ApiKey;

use super::{
    ALL, BOOL, BYTES, BYTES_OR_NULL, I8, I16, I32, I32S, I64, Kind, Layout, OWNED, TEXT, TEXT_OR_NULL, UUID,
    field, structs, structs_or_null, tagged,
};

/// The layout of a response that a broker may give.
pub(in crate::frame) fn of_response(api_key: i16) -> Option<&'static Layout> {
    match ApiKey::try_from(api_key).ok()? {
        ApiKey::Produce => Some(&PRODUCE),
        ApiKey::Fetch => Some(&FETCH),
        ApiKey::ListOffsets => Some(&LIST_OFFSETS),
        ApiKey::Metadata => Some(&METADATA),
        ApiKey::OffsetCommit => Some(&OFFSET_COMMIT),
        ApiKey::OffsetFetch => Some(&OFFSET_FETCH),
        ApiKey::FindCoordinator => Some(&FIND_COORDINATOR),
        ApiKey::JoinGroup => Some(&JOIN_GROUP),
        ApiKey::Heartbeat => Some(&HEARTBEAT),
        ApiKey::LeaveGroup => Some(&LEAVE_GROUP),
        ApiKey::SyncGroup => Some(&SYNC_GROUP),
        ApiKey::InitProducerId => Some(&INIT_PRODUCER_ID),
        ApiKey::OffsetForLeaderEpoch => Some(&OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DescribeConfigs => Some(&DESCRIBE_CONFIGS),
        ApiKey::DescribeCluster => Some(&DESCRIBE_CLUSTER),
        ApiKey::ConsumerGroupHeartbeat => Some(&CONSUMER_GROUP_HEARTBEAT),
        ApiKey::IncrementalAlterConfigs => Some(&INCREMENTAL_ALTER_CONFIGS),
        ApiKey::CreateTopics => Some(&CREATE_TOPICS),
        ApiKey::CreatePartitions => Some(&CREATE_PARTITIONS),
        ApiKey::DeleteRecords => Some(&DELETE_RECORDS),
        _ => None,
    }
}

/// Who leads a partition now: in the tagged fields of Produce and Fetch alone.
const LEADER: Kind = Kind::Struct(&[field("leader_id", 0, ALL, I32), field("leader_epoch", 0, ALL, I32)]);

/// Where the leaders are that an answer names: in the tagged fields of Produce and Fetch alone.
const NODE_ENDPOINTS: Kind = structs(&[
    field("node_id", 0, ALL, I32),
    field("host", 0, ALL, TEXT),
    field("port", 0, ALL, I32),
    field("rack", 0, ALL, TEXT_OR_NULL),
]);

static PRODUCE: Layout = Layout {
    name: "the answer to Produce",
    flexible_from: 9,
    refused_tags: &[],
    fields: &[
        field(
            "responses",
            0,
            ALL,
            structs(&[
                field("name", 0, 12, TEXT),
                field("topic_id", 13, ALL, UUID),
                field(
                    "partition_responses",
                    0,
                    ALL,
                    structs(&[
                        field("index", 0, ALL, I32),
                        field("error_code", 0, ALL, I16),
                        field("base_offset", 0, ALL, I64),
                        field("log_append_time_ms", 0, ALL, I64),
                        field("log_start_offset", 5, ALL, I64),
                        field(
                            "record_errors",
                            8,
                            ALL,
                            structs(&[
                                field("batch_index", 8, ALL, I32),
                                field("batch_index_error_message", 8, ALL, TEXT_OR_NULL),
                            ]),
                        ),
                        field("error_message", 8, ALL, TEXT_OR_NULL),
                        tagged("current_leader", 0, 10, ALL, LEADER),
                    ]),
                ),
            ]),
        ),
        field("throttle_time_ms", 0, ALL, I32),
        tagged("node_endpoints", 0, 10, ALL, NODE_ENDPOINTS),
    ],
};

static FETCH: Layout = Layout {
    name: "the answer to Fetch",
    flexible_from: 12,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field("error_code", 7, ALL, I16),
        field("session_id", 7, ALL, I32),
        field(
            "responses",
            0,
            ALL,
            structs(&[
                field("topic", 0, 12, TEXT),
                field("topic_id", 13, ALL, UUID),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[
                        field("partition_index", 0, ALL, I32),
                        field("error_code", 0, ALL, I16),
                        field("high_watermark", 0, ALL, I64),
                        field("last_stable_offset", 0, ALL, I64),
                        field("log_start_offset", 5, ALL, I64),
                        field(
                            "aborted_transactions",
                            0,
                            ALL,
                            structs_or_null(&[
                                field("producer_id", 0, ALL, I64),
                                field("first_offset", 0, ALL, I64),
                            ]),
                        ),
                        field("preferred_read_replica", 11, ALL, I32),
                        field("records", 0, ALL, BYTES_OR_NULL),
                        tagged(
                            "diverging_epoch",
                            0,
                            12,
                            ALL,
                            Kind::Struct(&[field("epoch", 12, ALL, I32), field("end_offset", 12, ALL, I64)]),
                        ),
                        tagged("current_leader", 1, 12, ALL, LEADER),
                        tagged(
                            "snapshot_id",
                            2,
                            12,
                            ALL,
                            Kind::Struct(&[field("end_offset", 0, ALL, I64), field("epoch", 0, ALL, I32)]),
                        ),
                    ]),
                ),
            ]),
        ),
        tagged("node_endpoints", 0, 16, ALL, NODE_ENDPOINTS),
    ],
};

static LIST_OFFSETS: Layout = Layout {
    name: "the answer to ListOffsets",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 2, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("name", 0, ALL, TEXT),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[
                        field("partition_index", 0, ALL, I32),
                        field("error_code", 0, ALL, I16),
                        field("timestamp", 0, ALL, I64),
                        field("offset", 0, ALL, I64),
                        field("leader_epoch", 4, ALL, I32),
                    ]),
                ),
            ]),
        ),
    ],
};

static METADATA: Layout = Layout {
    name: "the answer to Metadata",
    flexible_from: 9,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 3, ALL, I32),
        field(
            "brokers",
            0,
            ALL,
            structs(&[
                field("node_id", 0, ALL, I32),
                field("host", 0, ALL, TEXT),
                field("port", 0, ALL, I32),
                field("rack", 1, ALL, TEXT_OR_NULL),
            ]),
        ),
        field("cluster_id", 2, ALL, TEXT_OR_NULL),
        field("controller_id", 1, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("error_code", 0, ALL, I16),
                field("name", 0, ALL, TEXT_OR_NULL),
                field("topic_id", 10, ALL, UUID),
                field("is_internal", 1, ALL, BOOL),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[
                        field("error_code", 0, ALL, I16),
                        field("partition_index", 0, ALL, I32),
                        field("leader_id", 0, ALL, I32),
                        field("leader_epoch", 7, ALL, I32),
                        field("replica_nodes", 0, ALL, I32S),
                        field("isr_nodes", 0, ALL, I32S),
                        field("offline_replicas", 5, ALL, I32S),
                    ]),
                ),
                field("topic_authorized_operations", 8, ALL, I32),
            ]),
        ),
        field("cluster_authorized_operations", 8, 10, I32),
        field("error_code", 13, ALL, I16),
    ],
};

static OFFSET_COMMIT: Layout = Layout {
    name: "the answer to OffsetCommit",
    flexible_from: 8,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 3, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("name", 0, 9, TEXT),
                field("topic_id", 10, ALL, UUID),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[field("partition_index", 0, ALL, I32), field("error_code", 0, ALL, I16)]),
                ),
            ]),
        ),
    ],
};

static OFFSET_FETCH: Layout = Layout {
    name: "the answer to OffsetFetch",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 3, ALL, I32),
        field(
            "topics",
            0,
            7,
            structs(&[
                field("name", 0, 7, TEXT),
                field(
                    "partitions",
                    0,
                    7,
                    structs(&[
                        field("partition_index", 0, 7, I32),
                        field("committed_offset", 0, 7, I64),
                        field("committed_leader_epoch", 5, 7, I32),
                        field("metadata", 0, 7, TEXT_OR_NULL),
                        field("error_code", 0, 7, I16),
                    ]),
                ),
            ]),
        ),
        field("error_code", 2, 7, I16),
        field(
            "groups",
            8,
            ALL,
            structs(&[
                field("group_id", 8, ALL, TEXT),
                field(
                    "topics",
                    8,
                    ALL,
                    structs(&[
                        field("name", 8, 9, TEXT),
                        field("topic_id", 10, ALL, UUID),
                        field(
                            "partitions",
                            8,
                            ALL,
                            structs(&[
                                field("partition_index", 8, ALL, I32),
                                field("committed_offset", 8, ALL, I64),
                                field("committed_leader_epoch", 8, ALL, I32),
                                field("metadata", 8, ALL, TEXT_OR_NULL),
                                field("error_code", 8, ALL, I16),
                            ]),
                        ),
                    ]),
                ),
                field("error_code", 8, ALL, I16),
            ]),
        ),
    ],
};

static FIND_COORDINATOR: Layout = Layout {
    name: "the answer to FindCoordinator",
    flexible_from: 3,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 1, ALL, I32),
        field("error_code", 0, 3, I16),
        field("error_message", 1, 3, TEXT_OR_NULL),
        field("node_id", 0, 3, I32),
        field("host", 0, 3, TEXT),
        field("port", 0, 3, I32),
        field(
            "coordinators",
            4,
            ALL,
            structs(&[
                field("key", 4, ALL, TEXT),
                field("node_id", 4, ALL, I32),
                field("host", 4, ALL, TEXT),
                field("port", 4, ALL, I32),
                field("error_code", 4, ALL, I16),
                field("error_message", 4, ALL, TEXT_OR_NULL),
            ]),
        ),
    ],
};

static JOIN_GROUP: Layout = Layout {
    name: "the answer to JoinGroup",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 2, ALL, I32),
        field("error_code", 0, ALL, I16),
        field("generation_id", 0, ALL, I32),
        field("protocol_type", 7, ALL, TEXT_OR_NULL),
        field("protocol_name", 0, ALL, TEXT_OR_NULL),
        field("leader", 0, ALL, TEXT),
        field("skip_assignment", 9, ALL, BOOL),
        field("member_id", 0, ALL, TEXT),
        field(
            "members",
            0,
            ALL,
            structs(&[
                field("member_id", 0, ALL, TEXT),
                field("group_instance_id", 5, ALL, TEXT_OR_NULL),
                field("metadata", 0, ALL, BYTES),
            ]),
        ),
    ],
};

static HEARTBEAT: Layout = Layout {
    name: "the answer to Heartbeat",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[field("throttle_time_ms", 1, ALL, I32), field("error_code", 0, ALL, I16)],
};

static LEAVE_GROUP: Layout = Layout {
    name: "the answer to LeaveGroup",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 1, ALL, I32),
        field("error_code", 0, ALL, I16),
        field(
            "members",
            3,
            ALL,
            structs(&[
                field("member_id", 3, ALL, TEXT),
                field("group_instance_id", 3, ALL, TEXT_OR_NULL),
                field("error_code", 3, ALL, I16),
            ]),
        ),
    ],
};

static SYNC_GROUP: Layout = Layout {
    name: "the answer to SyncGroup",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 1, ALL, I32),
        field("error_code", 0, ALL, I16),
        field("protocol_type", 5, ALL, TEXT_OR_NULL),
        field("protocol_name", 5, ALL, TEXT_OR_NULL),
        field("assignment", 0, ALL, BYTES),
    ],
};

static INIT_PRODUCER_ID: Layout = Layout {
    name: "the answer to InitProducerId",
    flexible_from: 2,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field("error_code", 0, ALL, I16),
        field("producer_id", 0, ALL, I64),
        field("producer_epoch", 0, ALL, I16),
        field("ongoing_txn_producer_id", 6, ALL, I64),
        field("ongoing_txn_producer_epoch", 6, ALL, I16),
    ],
};

static OFFSET_FOR_LEADER_EPOCH: Layout = Layout {
    name: "the answer to OffsetForLeaderEpoch",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("topic", 0, ALL, TEXT),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[
                        field("error_code", 0, ALL, I16),
                        field("partition", 0, ALL, I32),
                        field("leader_epoch", 0, ALL, I32),
                        field("end_offset", 0, ALL, I64),
                    ]),
                ),
            ]),
        ),
    ],
};

static DESCRIBE_CONFIGS: Layout = Layout {
    name: "the answer to DescribeConfigs",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "results",
            0,
            ALL,
            structs(&[
                field("error_code", 0, ALL, I16),
                field("error_message", 0, ALL, TEXT_OR_NULL),
                field("resource_type", 0, ALL, I8),
                field("resource_name", 0, ALL, TEXT),
                field(
                    "configs",
                    0,
                    ALL,
                    structs(&[
                        field("name", 0, ALL, TEXT),
                        field("value", 0, ALL, TEXT_OR_NULL),
                        field("read_only", 0, ALL, BOOL),
                        field("config_source", 0, ALL, I8),
                        field("is_sensitive", 0, ALL, BOOL),
                        field(
                            "synonyms",
                            0,
                            ALL,
                            structs(&[
                                field("name", 0, ALL, TEXT),
                                field("value", 0, ALL, TEXT_OR_NULL),
                                field("source", 0, ALL, I8),
                            ]),
                        ),
                        field("config_type", 3, ALL, I8),
                        field("documentation", 3, ALL, TEXT_OR_NULL),
                    ]),
                ),
            ]),
        ),
    ],
};

static DESCRIBE_CLUSTER: Layout = Layout {
    name: "the answer to DescribeCluster",
    flexible_from: 0,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field("error_code", 0, ALL, I16),
        field("error_message", 0, ALL, TEXT_OR_NULL),
        field("endpoint_type", 1, ALL, I8),
        field("cluster_id", 0, ALL, TEXT),
        field("controller_id", 0, ALL, I32),
        field(
            "brokers",
            0,
            ALL,
            structs(&[
                field("broker_id", 0, ALL, I32),
                field("host", 0, ALL, TEXT),
                field("port", 0, ALL, I32),
                field("rack", 0, ALL, TEXT_OR_NULL),
                field("is_fenced", 2, ALL, BOOL),
            ]),
        ),
        field("cluster_authorized_operations", 0, ALL, I32),
    ],
};

static INCREMENTAL_ALTER_CONFIGS: Layout = Layout {
    name: "the answer to IncrementalAlterConfigs",
    flexible_from: 1,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "responses",
            0,
            ALL,
            structs(&[
                field("error_code", 0, ALL, I16),
                field("error_message", 0, ALL, TEXT_OR_NULL),
                field("resource_type", 0, ALL, I8),
                field("resource_name", 0, ALL, TEXT),
            ]),
        ),
    ],
};

static CREATE_TOPICS: Layout = Layout {
    name: "the answer to CreateTopics",
    flexible_from: 5,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("name", 0, ALL, TEXT),
                field("topic_id", 7, ALL, UUID),
                field("error_code", 0, ALL, I16),
                field("error_message", 0, ALL, TEXT_OR_NULL),
                field("num_partitions", 5, ALL, I32),
                field("replication_factor", 5, ALL, I16),
                field(
                    "configs",
                    5,
                    ALL,
                    structs_or_null(&[
                        field("name", 5, ALL, TEXT),
                        field("value", 5, ALL, TEXT_OR_NULL),
                        field("read_only", 5, ALL, BOOL),
                        field("config_source", 5, ALL, I8),
                        field("is_sensitive", 5, ALL, BOOL),
                    ]),
                ),
                tagged("topic_config_error_code", 0, 5, ALL, I16),
            ]),
        ),
    ],
};

static CREATE_PARTITIONS: Layout = Layout {
    name: "the answer to CreatePartitions",
    flexible_from: 2,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "results",
            0,
            ALL,
            structs(&[
                field("name", 0, ALL, TEXT),
                field("error_code", 0, ALL, I16),
                field("error_message", 0, ALL, TEXT_OR_NULL),
            ]),
        ),
    ],
};

static DELETE_RECORDS: Layout = Layout {
    name: "the answer to DeleteRecords",
    flexible_from: 2,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field(
            "topics",
            0,
            ALL,
            structs(&[
                field("name", 0, ALL, TEXT),
                field(
                    "partitions",
                    0,
                    ALL,
                    structs(&[
                        field("partition_index", 0, ALL, I32),
                        field("low_watermark", 0, ALL, I64),
                        field("error_code", 0, ALL, I16),
                    ]),
                ),
            ]),
        ),
    ],
};

static CONSUMER_GROUP_HEARTBEAT: Layout = Layout {
    name: "the answer to ConsumerGroupHeartbeat",
    flexible_from: 0,
    refused_tags: &[],
    fields: &[
        field("throttle_time_ms", 0, ALL, I32),
        field("error_code", 0, ALL, I16),
        field("error_message", 0, ALL, TEXT_OR_NULL),
        field("member_id", 0, ALL, TEXT_OR_NULL),
        field("member_epoch", 0, ALL, I32),
        field("heartbeat_interval_ms", 0, ALL, I32),
        field("assignment", 0, ALL, Kind::StructOrNull(&[field("topic_partitions", 0, ALL, structs(OWNED))])),
    ],
};
