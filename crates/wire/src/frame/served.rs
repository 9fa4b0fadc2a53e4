//! The closed table of what the Kafka door serves.

use kafka_protocol::messages::ApiKey;

/// One API and the versions of it that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The API.
    pub api: ApiKey,
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

const fn row(api: ApiKey, min: i16, max: i16) -> Served {
    Served { api, min, max }
}

/// Everything that the door serves and announces. What is not here is refused.
///
/// Fetch and Produce begin where record batches v2 are the only format. Produce must be announced from 3 on: librdkafka
/// 2.0.2 never fetches otherwise.
pub const SERVED: &[Served] = &[
    row(ApiKey::Produce, 3, 12),
    row(ApiKey::Fetch, 4, 17),
    row(ApiKey::ListOffsets, 1, 8),
    row(ApiKey::Metadata, 0, 12),
    row(ApiKey::OffsetCommit, 2, 9),
    row(ApiKey::OffsetFetch, 1, 9),
    row(ApiKey::FindCoordinator, 0, 5),
    row(ApiKey::JoinGroup, 0, 9),
    row(ApiKey::Heartbeat, 0, 4),
    row(ApiKey::LeaveGroup, 0, 5),
    row(ApiKey::SyncGroup, 0, 5),
    row(ApiKey::ApiVersions, 0, 4),
    row(ApiKey::InitProducerId, 0, 4),
    row(ApiKey::OffsetForLeaderEpoch, 2, 4),
    row(ApiKey::DescribeConfigs, 1, 4),
    row(ApiKey::DescribeCluster, 0, 1),
];

/// The row of an API, if this version of it is served.
#[must_use]
pub fn served(api_key: i16, version: i16) -> Option<&'static Served> {
    SERVED.iter().find(|row| row.api as i16 == api_key && (row.min..=row.max).contains(&version))
}
