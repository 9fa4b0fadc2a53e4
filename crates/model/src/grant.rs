//! Grants: what a provider agreed to.

use crate::{GrantId, ResourceName, SystemId, Timestamp, View};

/// How a grant may be used (共享方式).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Through a Kafka client.
    Subscribe,
    /// One record by its key.
    Query,
    /// Whether claims are true, without seeing the record.
    Verify,
    /// As a stream over HTTP.
    Stream,
    /// As a file.
    Export,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Subscribe, Self::Query, Self::Verify, Self::Stream, Self::Export];

    /// The mode as it is written in files, SQL and entries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Query => "query",
            Self::Verify => "verify",
            Self::Stream => "stream",
            Self::Export => "export",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = UnknownMode;
    fn from_str(value: &str) -> Result<Self, UnknownMode> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == value)
            .ok_or_else(|| UnknownMode { value: value.chars().take(64).collect() })
    }
}

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a mode: it is one of subscribe, query, verify, stream, export")]
pub struct UnknownMode {
    value: String,
}

/// How record batches are compressed for a grant's client. It changes no content, so it is no part of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    None,
    /// For clients that have nothing else.
    Gzip,
    /// Snappy.
    Snappy,
    /// Cheap on both sides.
    #[default]
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec as it is written in files and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl std::str::FromStr for Codec {
    type Err = UnknownCodec;
    fn from_str(value: &str) -> Result<Self, UnknownCodec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.as_str() == value)
            .ok_or_else(|| UnknownCodec { value: value.chars().take(64).collect() })
    }
}

/// A word that is no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a codec: it is one of none, gzip, snappy, lz4, zstd")]
pub struct UnknownCodec {
    value: String,
}

/// Whether a grant can be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantState {
    /// In force within its term.
    Active,
    /// Stopped for now.
    Suspended,
    /// Stopped for good.
    Revoked,
}

/// What a grant's door may move; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Records each second.
    pub records_per_second: Option<u64>,
    /// Bytes each second, as sent.
    pub bytes_per_second: Option<u64>,
    /// Queries and verifications each day.
    pub queries_per_day: Option<u64>,
}

/// What the provider agreed to (授权): view, modes, purpose and term, for one system on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id, never given twice.
    pub id: GrantId,
    /// Who may use it.
    pub system: SystemId,
    /// On what.
    pub resource: ResourceName,
    /// Which items and rows. Immutable: a changed view is a new grant.
    pub view: View,
    /// How it may be used; never empty.
    pub modes: Vec<Mode>,
    /// What for, as the application says.
    pub purpose: String,
    /// The legal basis, as the application says.
    pub basis: String,
    /// From when, inclusive.
    pub starts_at: Timestamp,
    /// Until when, exclusive.
    pub ends_at: Timestamp,
    /// Whether it can be in force.
    pub state: GrantState,
    /// What its doors may move.
    pub limits: Limits,
    /// How its records are compressed.
    pub codec: Codec,
}
