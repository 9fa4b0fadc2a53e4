//! How much one request may take.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Bounds of what is read and checked for one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exchange {
    /// Bytes that one fetch takes from the record store.
    pub fetch_bytes_max: u32,
    /// How long one fetch may wait for records, whatever the client asks.
    pub fetch_wait_milliseconds_max: u64,
    /// Bytes that one fetch reads past, looking for a record that its view lets through.
    pub scan_bytes_max: usize,
    /// A batch over this once decompressed is refused, in and out.
    pub decompressed_bytes_max: usize,
    /// What answers of all clients may take of memory at once; more wait.
    pub answers_bytes_max: usize,
    /// What answers of one system may take of it.
    pub answers_bytes_per_system_max: usize,
    /// What of it keeps projected batches for further readers of the same view; 0 for nothing.
    pub shared_bytes_max: usize,
    /// Answers with records that each grant gets in a second.
    pub deliveries_per_second: u64,
    /// Requests for schemas that each system may make in a second.
    pub registry_requests_per_second: u64,
    /// Bytes of records that each publishing system may send in a second.
    pub published_bytes_per_second: u64,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            fetch_bytes_max: 8 << 20,
            fetch_wait_milliseconds_max: 30_000,
            scan_bytes_max: 64 << 20,
            decompressed_bytes_max: 32 << 20,
            answers_bytes_max: 512 << 20,
            answers_bytes_per_system_max: 64 << 20,
            shared_bytes_max: 64 << 20,
            deliveries_per_second: 20,
            registry_requests_per_second: 20,
            published_bytes_per_second: 256 << 20,
        }
    }
}

impl Exchange {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        require(
            (1 << 20..=1 << 30).contains(&self.fetch_bytes_max),
            "exchange.fetch_bytes_max",
            "1 MiB (1048576) to 1 GiB (1073741824)",
        )?;
        require(
            (100..=300_000).contains(&self.fetch_wait_milliseconds_max),
            "exchange.fetch_wait_milliseconds_max",
            "100 to 300000",
        )?;
        require(
            (1 << 20..=4 << 30).contains(&self.scan_bytes_max),
            "exchange.scan_bytes_max",
            "1 MiB (1048576) to 4 GiB (4294967296)",
        )?;
        require(
            (1 << 20..=1 << 30).contains(&self.decompressed_bytes_max),
            "exchange.decompressed_bytes_max",
            "1 MiB (1048576) to 1 GiB (1073741824)",
        )?;
        require(
            (16 << 20..=1 << 40).contains(&self.answers_bytes_max),
            "exchange.answers_bytes_max",
            "16 MiB (16777216) to 1 TiB (1099511627776)",
        )?;
        require(
            (4 << 20..=self.answers_bytes_max).contains(&self.answers_bytes_per_system_max),
            "exchange.answers_bytes_per_system_max",
            "4 MiB (4194304) to exchange.answers_bytes_max",
        )?;
        require(
            self.shared_bytes_max <= self.answers_bytes_max / 2,
            "exchange.shared_bytes_max",
            "0 to half of exchange.answers_bytes_max",
        )?;
        require(
            (1..=1_000_000).contains(&self.deliveries_per_second),
            "exchange.deliveries_per_second",
            "1 to 1000000",
        )?;
        require(
            (1..=1_000_000).contains(&self.registry_requests_per_second),
            "exchange.registry_requests_per_second",
            "1 to 1000000",
        )?;
        require(
            (1 << 10..=1 << 40).contains(&self.published_bytes_per_second),
            "exchange.published_bytes_per_second",
            "1 KiB (1024) to 1 TiB (1099511627776)",
        )
    }
}
