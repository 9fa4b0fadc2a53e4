//! The bodies of requests.

use kafka_protocol::messages::ApiKey;

use super::{
    ALL, BOOL, BYTES, BYTES_OR_NULL, Element, I8, I16, I32, I32S, I64, Kind, Layout, OWNED, TEXT,
    TEXT_OR_NULL, UUID, field, structs, structs_or_null,
};

/// The layout of an API that is served.
pub(in crate::frame) fn of_request(api_key: i16) -> Option<&'static Layout> {
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
        ApiKey::ApiVersions => Some(&API_VERSIONS),
        ApiKey::InitProducerId => Some(&INIT_PRODUCER_ID),
        ApiKey::OffsetForLeaderEpoch => Some(&OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DescribeConfigs => Some(&DESCRIBE_CONFIGS),
        ApiKey::DescribeCluster => Some(&DESCRIBE_CLUSTER),
        ApiKey::ConsumerGroupHeartbeat => Some(&CONSUMER_GROUP_HEARTBEAT),
        _ => None,
    }
}

static PRODUCE: Layout = Layout {
    name: "Produce",
    flexible_from: 9,
    refused_tags: &[],
    fields: &[
        field("transactional_id", 3, ALL, TEXT_OR_NULL),
        field("acks", 3, ALL, I16),
        field("timeout_ms", 3, ALL, I32),
        field(
            "topic_data",
            3,
            ALL,
            structs(&[
                field("name", 3, 12, TEXT),
                field("topic_id", 13, ALL, UUID),
                field(
                    "partition_data",
                    3,
                    ALL,
                    structs(&[field("index", 3, ALL, I32), field("records", 3, ALL, BYTES_OR_NULL)]),
                ),
            ]),
        ),
    ],
};

/// Produce before version 3.
pub(in crate::frame) static OLD_PRODUCE: Layout = Layout {
    name: "Produce",
    flexible_from: ALL,
    refused_tags: &[],
    fields: &[
        field("acks", 0, 2, I16),
        field("timeout_ms", 0, 2, I32),
        field(
            "topic_data",
            0,
            2,
            structs(&[
                field("name", 0, 2, TEXT),
                field(
                    "partition_data",
                    0,
                    2,
                    structs(&[field("index", 0, 2, I32), field("records", 0, 2, BYTES_OR_NULL)]),
                ),
            ]),
        ),
    ],
};

static FETCH: Layout = Layout {
    name: "Fetch",
    flexible_from: 12,
    refused_tags: &[0, 1],
    fields: &[
        field("replica_id", 4, 14, I32),
        field("max_wait_ms", 4, ALL, I32),
        field("min_bytes", 4, ALL, I32),
        field("max_bytes", 4, ALL, I32),
        field("isolation_level", 4, ALL, I8),
        field("session_id", 7, ALL, I32),
        field("session_epoch", 7, ALL, I32),
        field(
            "topics",
            4,
            ALL,
            structs(&[
                field("topic", 4, 12, TEXT),
                field("topic_id", 13, ALL, UUID),
                field(
                    "partitions",
                    4,
                    ALL,
                    structs(&[
                        field("partition", 4, ALL, I32),
                        field("current_leader_epoch", 9, ALL, I32),
                        field("fetch_offset", 4, ALL, I64),
                        field("last_fetched_epoch", 12, ALL, I32),
                        field("log_start_offset", 5, ALL, I64),
                        field("partition_max_bytes", 4, ALL, I32),
                    ]),
                ),
            ]),
        ),
        field(
            "forgotten_topics_data",
            7,
            ALL,
            structs(&[
                field("topic", 7, 12, TEXT),
                field("topic_id", 13, ALL, UUID),
                field("partitions", 7, ALL, I32S),
            ]),
        ),
        field("rack_id", 11, ALL, TEXT),
    ],
};

static LIST_OFFSETS: Layout = Layout {
    name: "ListOffsets",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("replica_id", 1, ALL, I32),
        field("isolation_level", 2, ALL, I8),
        field(
            "topics",
            1,
            ALL,
            structs(&[
                field("name", 1, ALL, TEXT),
                field(
                    "partitions",
                    1,
                    ALL,
                    structs(&[
                        field("partition_index", 1, ALL, I32),
                        field("current_leader_epoch", 4, ALL, I32),
                        field("timestamp", 1, ALL, I64),
                    ]),
                ),
            ]),
        ),
        field("timeout_ms", 10, ALL, I32),
    ],
};

static METADATA: Layout = Layout {
    name: "Metadata",
    flexible_from: 9,
    refused_tags: &[],
    fields: &[
        // Version 0 has no null: there an empty array asks for every topic.
        field("topics", 0, 0, structs(&[field("name", 0, 0, TEXT)])),
        field(
            "topics",
            1,
            ALL,
            structs_or_null(&[
                field("topic_id", 10, ALL, UUID),
                field("name", 1, 9, TEXT),
                field("name", 10, ALL, TEXT_OR_NULL),
            ]),
        ),
        field("allow_auto_topic_creation", 4, ALL, BOOL),
        field("include_cluster_authorized_operations", 8, 10, BOOL),
        field("include_topic_authorized_operations", 8, ALL, BOOL),
    ],
};

static OFFSET_COMMIT: Layout = Layout {
    name: "OffsetCommit",
    flexible_from: 8,
    refused_tags: &[],
    fields: &[
        field("group_id", 2, ALL, TEXT),
        field("generation_id_or_member_epoch", 2, ALL, I32),
        field("member_id", 2, ALL, TEXT),
        field("group_instance_id", 7, ALL, TEXT_OR_NULL),
        field("retention_time_ms", 2, 4, I64),
        field(
            "topics",
            2,
            ALL,
            structs(&[
                field("name", 2, 9, TEXT),
                field(
                    "partitions",
                    2,
                    ALL,
                    structs(&[
                        field("partition_index", 2, ALL, I32),
                        field("committed_offset", 2, ALL, I64),
                        field("committed_leader_epoch", 6, ALL, I32),
                        field("committed_metadata", 2, ALL, TEXT_OR_NULL),
                    ]),
                ),
            ]),
        ),
    ],
};

static OFFSET_FETCH: Layout = Layout {
    name: "OffsetFetch",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("group_id", 1, 7, TEXT),
        field("topics", 1, 1, structs(&[field("name", 1, 7, TEXT), field("partition_indexes", 1, 7, I32S)])),
        field(
            "topics",
            2,
            7,
            structs_or_null(&[field("name", 1, 7, TEXT), field("partition_indexes", 1, 7, I32S)]),
        ),
        field(
            "groups",
            8,
            ALL,
            structs(&[
                field("group_id", 8, ALL, TEXT),
                field("member_id", 9, ALL, TEXT_OR_NULL),
                field("member_epoch", 9, ALL, I32),
                field(
                    "topics",
                    8,
                    ALL,
                    structs_or_null(&[field("name", 8, 9, TEXT), field("partition_indexes", 8, ALL, I32S)]),
                ),
            ]),
        ),
        field("require_stable", 7, ALL, BOOL),
    ],
};

static FIND_COORDINATOR: Layout = Layout {
    name: "FindCoordinator",
    flexible_from: 3,
    refused_tags: &[],
    fields: &[
        field("key", 0, 3, TEXT),
        field("key_type", 1, ALL, I8),
        field("coordinator_keys", 4, ALL, Kind::Array { nullable: false, of: Element::String }),
    ],
};

static JOIN_GROUP: Layout = Layout {
    name: "JoinGroup",
    flexible_from: 6,
    refused_tags: &[],
    fields: &[
        field("group_id", 0, ALL, TEXT),
        field("session_timeout_ms", 0, ALL, I32),
        field("rebalance_timeout_ms", 1, ALL, I32),
        field("member_id", 0, ALL, TEXT),
        field("group_instance_id", 5, ALL, TEXT_OR_NULL),
        field("protocol_type", 0, ALL, TEXT),
        field("protocols", 0, ALL, structs(&[field("name", 0, ALL, TEXT), field("metadata", 0, ALL, BYTES)])),
        field("reason", 8, ALL, TEXT_OR_NULL),
    ],
};

static HEARTBEAT: Layout = Layout {
    name: "Heartbeat",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("group_id", 0, ALL, TEXT),
        field("generation_id", 0, ALL, I32),
        field("member_id", 0, ALL, TEXT),
        field("group_instance_id", 3, ALL, TEXT_OR_NULL),
    ],
};

static LEAVE_GROUP: Layout = Layout {
    name: "LeaveGroup",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("group_id", 0, ALL, TEXT),
        field("member_id", 0, 2, TEXT),
        field(
            "members",
            3,
            ALL,
            structs(&[
                field("member_id", 3, ALL, TEXT),
                field("group_instance_id", 3, ALL, TEXT_OR_NULL),
                field("reason", 5, ALL, TEXT_OR_NULL),
            ]),
        ),
    ],
};

static SYNC_GROUP: Layout = Layout {
    name: "SyncGroup",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("group_id", 0, ALL, TEXT),
        field("generation_id", 0, ALL, I32),
        field("member_id", 0, ALL, TEXT),
        field("group_instance_id", 3, ALL, TEXT_OR_NULL),
        field("protocol_type", 5, ALL, TEXT_OR_NULL),
        field("protocol_name", 5, ALL, TEXT_OR_NULL),
        field(
            "assignments",
            0,
            ALL,
            structs(&[field("member_id", 0, ALL, TEXT), field("assignment", 0, ALL, BYTES)]),
        ),
    ],
};

static API_VERSIONS: Layout = Layout {
    name: "ApiVersions",
    flexible_from: 3,
    refused_tags: &[],
    fields: &[field("client_software_name", 3, ALL, TEXT), field("client_software_version", 3, ALL, TEXT)],
};

static INIT_PRODUCER_ID: Layout = Layout {
    name: "InitProducerId",
    flexible_from: 2,
    refused_tags: &[],
    fields: &[
        field("transactional_id", 0, ALL, TEXT_OR_NULL),
        field("transaction_timeout_ms", 0, ALL, I32),
        field("producer_id", 3, ALL, I64),
        field("producer_epoch", 3, ALL, I16),
    ],
};

static OFFSET_FOR_LEADER_EPOCH: Layout = Layout {
    name: "OffsetForLeaderEpoch",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field("replica_id", 3, ALL, I32),
        field(
            "topics",
            2,
            ALL,
            structs(&[
                field("topic", 2, ALL, TEXT),
                field(
                    "partitions",
                    2,
                    ALL,
                    structs(&[
                        field("partition", 2, ALL, I32),
                        field("current_leader_epoch", 2, ALL, I32),
                        field("leader_epoch", 2, ALL, I32),
                    ]),
                ),
            ]),
        ),
    ],
};

static DESCRIBE_CONFIGS: Layout = Layout {
    name: "DescribeConfigs",
    flexible_from: 4,
    refused_tags: &[],
    fields: &[
        field(
            "resources",
            1,
            ALL,
            structs(&[
                field("resource_type", 1, ALL, I8),
                field("resource_name", 1, ALL, TEXT),
                field("configuration_keys", 1, ALL, Kind::Array { nullable: true, of: Element::String }),
            ]),
        ),
        field("include_synonyms", 1, ALL, BOOL),
        field("include_documentation", 3, ALL, BOOL),
    ],
};

static DESCRIBE_CLUSTER: Layout = Layout {
    name: "DescribeCluster",
    flexible_from: 0,
    refused_tags: &[],
    fields: &[
        field("include_cluster_authorized_operations", 0, ALL, BOOL),
        field("endpoint_type", 1, ALL, I8),
        field("include_fenced_brokers", 2, ALL, BOOL),
    ],
};

static CONSUMER_GROUP_HEARTBEAT: Layout = Layout {
    name: "ConsumerGroupHeartbeat",
    flexible_from: 0,
    refused_tags: &[],
    fields: &[
        field("group_id", 0, ALL, TEXT),
        field("member_id", 0, ALL, TEXT),
        field("member_epoch", 0, ALL, I32),
        field("instance_id", 0, ALL, TEXT_OR_NULL),
        field("rack_id", 0, ALL, TEXT_OR_NULL),
        field("rebalance_timeout_ms", 0, ALL, I32),
        field("subscribed_topic_names", 0, ALL, Kind::Array { nullable: true, of: Element::String }),
        field("subscribed_topic_regex", 1, ALL, TEXT_OR_NULL),
        field("server_assignor", 0, ALL, TEXT_OR_NULL),
        field("topic_partitions", 0, ALL, structs_or_null(OWNED)),
    ],
};
