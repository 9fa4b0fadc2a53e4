//! How fresh the facts must be.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Age counts from before the snapshot's query was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Between two looks at the policy's version.
    pub poll_milliseconds: u64,
    /// Age of the snapshot over which deliveries pause.
    pub pause_after_milliseconds: u64,
    /// Age of the snapshot over which everything is refused.
    pub refuse_after_milliseconds: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { poll_milliseconds: 250, pause_after_milliseconds: 700, refuse_after_milliseconds: 10_000 }
    }
}

impl Policy {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // A revoked grant stops within a second: the pause must come before that, and a poll before the pause.
        require((10..=500).contains(&self.poll_milliseconds), "policy.poll_milliseconds", "10 to 500")?;
        require(
            (self.poll_milliseconds + 1..=900).contains(&self.pause_after_milliseconds),
            "policy.pause_after_milliseconds",
            "more than policy.poll_milliseconds and at most 900",
        )?;
        require(
            (self.pause_after_milliseconds + 1..=60_000).contains(&self.refuse_after_milliseconds),
            "policy.refuse_after_milliseconds",
            "more than policy.pause_after_milliseconds and at most 60000",
        )
    }
}
