//! The machine: folder and time zone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How much is logged: each of these, and what is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What the hub cannot do.
    Error,
    /// What somebody should look at.
    Warn,
    /// What it does.
    Info,
    /// Every connection and request.
    Debug,
    /// Everything.
    Trace,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// Holds directory, records, audit tiles, keys. One hub at a time uses it.
    pub data_folder: PathBuf,
    /// Where a bare date begins and ends, in directory files and searches of the audit log (IANA name). Commands read it
    /// from the file that `--config` names.
    pub time_zone: String,
    /// How much is logged.
    pub log: LogLevel,
    /// How long the hub still serves after it is told to stop, while `/health/ready` says that it is about to close.
    pub notice_seconds: u64,
    /// How long a shutdown waits for connections and the audit log.
    pub shutdown_seconds: u64,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            data_folder: "data".into(),
            time_zone: "Asia/Shanghai".into(),
            log: LogLevel::Info,
            notice_seconds: 0,
            shutdown_seconds: 10,
        }
    }
}

impl Hub {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        require(
            jiff::tz::TimeZone::get(&self.time_zone).is_ok(),
            "hub.time_zone",
            "a name of the IANA time zone database",
        )?;
        require(self.notice_seconds <= 300, "hub.notice_seconds", "0 to 300")?;
        require((1..=300).contains(&self.shutdown_seconds), "hub.shutdown_seconds", "1 to 300")
    }
}
