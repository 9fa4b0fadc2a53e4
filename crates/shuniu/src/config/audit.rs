//! The audit log.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Settings of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// The log's name: the first line of every checkpoint. Never changed once the log has entries.
    pub origin: String,
    /// How long the oldest entry may wait for its checkpoint.
    pub checkpoint_milliseconds: u64,
    /// For an entry to be durable, after which its request is refused.
    pub append_seconds: u64,
    /// Equal refusals within this time are one counted entry.
    pub refusals_merged_seconds: u64,
    /// Size of the local file that takes refusals while the log is down.
    pub spool_bytes_max: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            origin: "shuniu.example/audit".into(),
            checkpoint_milliseconds: 500,
            append_seconds: 5,
            refusals_merged_seconds: 10,
            spool_bytes_max: 16 << 20,
        }
    }
}

impl Audit {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // A note's first line: no blanks and no plus sign, which would be taken apart (C2SP signed-note).
        let name = |c: char| c.is_ascii_graphic() && c != '+';
        require(
            (1..=200).contains(&self.origin.len()) && self.origin.chars().all(name),
            "audit.origin",
            "1 to 200 printing ASCII characters without blank and `+`",
        )?;
        require(
            (10..=500).contains(&self.checkpoint_milliseconds),
            "audit.checkpoint_milliseconds",
            "10 to 500",
        )?;
        require((1..=60).contains(&self.append_seconds), "audit.append_seconds", "1 to 60")?;
        require(
            (1..=60).contains(&self.refusals_merged_seconds),
            "audit.refusals_merged_seconds",
            "1 to 60",
        )?;
        require(
            (1 << 16..=1 << 30).contains(&self.spool_bytes_max),
            "audit.spool_bytes_max",
            "64 KiB (65536) to 1 GiB (1073741824)",
        )
    }
}
