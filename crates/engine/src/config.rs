//! What the engine may be told.

use std::path::PathBuf;
use std::time::Duration;

/// The engine's configuration. Every bound has a default that suits one machine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The folder that holds everything; made if missing.
    pub folder: PathBuf,
    /// `segment.bytes` of a topic that does not set it.
    pub segment_bytes: u32,
    /// How many bytes of Produce may wait on one partition. Over it a Produce is answered REQUEST_TIMED_OUT, which
    /// clients retry.
    pub waiting_bytes_max: usize,
    /// The most that one Fetch returns, whatever it asks for (its first batch is always returned).
    pub fetch_bytes_max: usize,
    /// The producers that one partition remembers; beyond it the ones idle longest are forgotten.
    pub producers_max: usize,
    /// How long a silent producer is remembered.
    pub producer_idle_max: Duration,
    /// The distinct keys that one compaction pass holds in memory (about 40 bytes each).
    pub compaction_keys_max: usize,
    /// The most that one batch's records may be before compression, when compaction or a lookup by time reads them. A
    /// batch over it stays as it is.
    pub decompressed_bytes_max: usize,
    /// The topics there may be.
    pub topics_max: usize,
    /// The partitions that one topic may have.
    pub partitions_max: i32,
    /// How long the first join of an empty group waits for others. Kafka's default is 3 s.
    pub initial_rebalance_delay: Duration,
    /// The shortest session timeout that a member may ask for.
    pub session_timeout_min: Duration,
    /// The longest session timeout that a member may ask for.
    pub session_timeout_max: Duration,
    /// The members that one group may have.
    pub group_members_max: usize,
    /// The groups there may be.
    pub groups_max: usize,
    /// The longest metadata of a committed offset.
    pub offset_metadata_bytes_max: usize,
}

impl EngineConfig {
    /// The defaults, on this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            segment_bytes: 128 << 20,
            waiting_bytes_max: 256 << 20,
            fetch_bytes_max: 55 << 20,
            producers_max: 10_000,
            producer_idle_max: Duration::from_hours(24),
            compaction_keys_max: 1_000_000,
            decompressed_bytes_max: 64 << 20,
            topics_max: 10_000,
            partitions_max: 1_000,
            initial_rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_mins(30),
            group_members_max: 1_000,
            groups_max: 100_000,
            offset_metadata_bytes_max: 4_096,
        }
    }
}
