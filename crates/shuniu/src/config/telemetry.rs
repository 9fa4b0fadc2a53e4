//! Traces of what the hub does, for a collector.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Traces by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces are sent; empty: nowhere.
    pub endpoint: String,
    /// The authority of the collector's certificate; relative to the data folder.
    pub authority: PathBuf,
    /// Of a thousand requests, as many are traced.
    pub traced_per_thousand: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { endpoint: String::new(), authority: PathBuf::new(), traced_per_thousand: 10 }
    }
}

impl Telemetry {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let host = |rest: &str| rest.split(['/', ':']).next().unwrap_or_default().to_owned();
        let near = self.endpoint.strip_prefix("http://").map(host);
        let near = near.is_some_and(|host| ["127.0.0.1", "localhost"].contains(&host.as_str()));
        let far = self.endpoint.starts_with("https://") && !self.authority.as_os_str().is_empty();
        require(
            self.endpoint.is_empty() || near || far,
            "telemetry.endpoint",
            "http://127.0.0.1:PORT/PATH on this machine, or https://HOST:PORT/PATH with telemetry.authority",
        )?;
        require((1..=1_000).contains(&self.traced_per_thousand), "telemetry.traced_per_thousand", "1 to 1000")
    }
}
