//! Where the directory is kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shuniu_store::DatabaseSettings;

use super::{ConfigError, require};

/// A database for organisations, systems, resources, grants and the audit log's checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectoryStore {
    /// A file in the data folder, for one hub.
    Sqlite,
    /// A PostgreSQL database, for any number of hubs.
    Postgresql,
}

/// Settings of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// Where it is kept.
    pub store: DirectoryStore,
    /// The file with PostgreSQL's connection string, readable by its owner alone. Relative to the data folder.
    pub url_file: PathBuf,
    /// Connections at one time; following the policy has one more.
    pub connections_max: u32,
    /// For a connection to be had.
    pub connect_seconds: u64,
    /// For a statement.
    pub statement_seconds: u64,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            store: DirectoryStore::Sqlite,
            url_file: "keys/directory-url".into(),
            connections_max: 8,
            connect_seconds: 5,
            statement_seconds: 10,
        }
    }
}

impl Directory {
    /// As the store takes them.
    pub(crate) fn settings(&self) -> DatabaseSettings {
        DatabaseSettings {
            connections_max: self.connections_max,
            connect_max: Duration::from_secs(self.connect_seconds),
            statement_max: Duration::from_secs(self.statement_seconds),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        require((2..=100).contains(&self.connections_max), "directory.connections_max", "2 to 100")?;
        require((1..=60).contains(&self.connect_seconds), "directory.connect_seconds", "1 to 60")?;
        require((1..=300).contains(&self.statement_seconds), "directory.statement_seconds", "1 to 300")
    }
}
