//! The audit log.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shuniu_ledger::Suite;

use super::{ConfigError, require};

/// Where tiles and checkpoint are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TileStore {
    /// `audit` in the data folder.
    Folder,
    /// A bucket of an S3-compatible object store.
    S3,
}

/// An S3-compatible object store. Files are relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// Its address, `https://HOST:PORT`; plain `http` on this machine alone.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket, which is there already.
    pub bucket: String,
    /// What every name begins with: several logs in one bucket need different ones.
    pub prefix: String,
    /// The file with the access key's id.
    pub key_id_file: PathBuf,
    /// The file with the access key's secret.
    pub secret_file: PathBuf,
    /// The authority of the store's certificate (PEM); empty for the system's.
    pub authority: PathBuf,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: "us-east-1".into(),
            bucket: String::new(),
            prefix: "audit".into(),
            key_id_file: "keys/s3-key-id".into(),
            secret_file: "keys/s3-secret".into(),
            authority: PathBuf::new(),
        }
    }
}

/// Settings of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// The log's name: with the suite behind it, the first line of every checkpoint. Never changed once the log has
    /// entries.
    pub name: String,
    /// The log's algorithms: `sha256-ed25519`, or `sm3-sm2` where commercial-cryptography review asks for it. Never
    /// changed once the log has entries.
    pub suite: String,
    /// How long a round gathers entries behind the first before it writes tiles and a checkpoint.
    pub gather_milliseconds: u64,
    /// For an entry to be durable, after which its request is refused.
    pub append_seconds: u64,
    /// Equal refusals within this time are one counted entry.
    pub refusals_merged_seconds: u64,
    /// Size of the local file that takes refusals while the log is down.
    pub spool_bytes_max: u64,
    /// Where tiles and checkpoint are kept.
    pub tiles: TileStore,
    /// The object store, if it is one.
    pub s3: S3,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            name: "shuniu.example/audit".into(),
            suite: Suite::default().as_str().into(),
            gather_milliseconds: 100,
            append_seconds: 5,
            refusals_merged_seconds: 10,
            spool_bytes_max: 16 << 20,
            tiles: TileStore::Folder,
            s3: S3::default(),
        }
    }
}

impl Audit {
    /// The suite by its name.
    pub(crate) fn suite(&self) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.as_str() == self.suite)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // A note's first line: no blanks and no plus sign, which would be taken apart (C2SP signed-note).
        let name = |c: char| c.is_ascii_graphic() && c != '+';
        require(
            (1..=200).contains(&self.name.len()) && self.name.chars().all(name),
            "audit.name",
            "1 to 200 printing ASCII characters without blank and `+`",
        )?;
        require(
            (1..=400).contains(&self.gather_milliseconds),
            "audit.gather_milliseconds",
            "1 to 400: a checkpoint follows its oldest entry by at most 500",
        )?;
        require(self.suite().is_some(), "audit.suite", "sha256-ed25519 or sm3-sm2")?;
        let named =
            self.tiles == TileStore::Folder || !(self.s3.endpoint.is_empty() || self.s3.bucket.is_empty());
        require(named, "audit.s3", "given with endpoint and bucket where `audit.tiles = \"s3\"`")?;
        let prefix = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        require(
            self.s3.prefix.chars().all(prefix),
            "audit.s3.prefix",
            "of letters, digits, `-`, `_`, `.` and `/`",
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
