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
    /// The lowest version that is announced: [`Self::min`], but for Produce.
    pub announced_min: i16,
    /// Whether it is served and announced only where the record store has it.
    pub if_stored: bool,
}

pub(super) const fn row(api: ApiKey, min: i16, max: i16) -> Served {
    Served { api, min, max, announced_min: min, if_stored: false }
}

/// Everything that the door serves and announces. What is not here is refused.
///
/// Fetch and Produce begin where record batches v2 are the only format. Produce is announced from 0 on, as Kafka 4 does
/// it, though 0 to 2 are refused there as here (KIP-896): librdkafka 2.0.2 takes a broker that does not announce 0 for one
/// that knows no gzip, snappy or lz4, and sends uncompressed.
pub const SERVED: &[Served] = &[
    Served { announced_min: 0, ..row(ApiKey::Produce, 3, 12) },
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
    Served { if_stored: true, ..row(ApiKey::ConsumerGroupHeartbeat, 0, 1) },
];

/// The row of an API, if this version of it is served, [`Served::if_stored`] or always.
#[must_use]
pub fn served(api_key: i16, version: i16) -> Option<&'static Served> {
    SERVED.iter().find(|row| row.api as i16 == api_key && (row.min..=row.max).contains(&version))
}

/// Whether a version is announced, served or not.
pub(super) fn announced(api_key: i16, version: i16) -> bool {
    SERVED.iter().any(|row| row.api as i16 == api_key && (row.announced_min..=row.max).contains(&version))
}
