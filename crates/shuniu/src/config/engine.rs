//! Records on this machine's disk.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Settings of the one-machine record engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// How long a group that was empty waits for more members before its first assignment.
    pub rebalance_delay_milliseconds: u64,
    /// Size from which a partition's log goes on in a new file.
    pub segment_bytes: u32,
}

impl Default for Engine {
    fn default() -> Self {
        Self { rebalance_delay_milliseconds: 0, segment_bytes: 128 << 20 }
    }
}

impl Engine {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        require(
            self.rebalance_delay_milliseconds <= 60_000,
            "engine.rebalance_delay_milliseconds",
            "at most 60000",
        )?;
        require(
            (1 << 20..=2 << 30).contains(&self.segment_bytes),
            "engine.segment_bytes",
            "1 MiB (1048576) to 2 GiB (2147483648)",
        )
    }
}
