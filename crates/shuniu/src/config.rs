//! The hub's configuration: one small struct per concern, every key with a default, unknown keys refused.
//!
//! `config/hub.toml` shows every key with its default; a test holds the two equal.

mod audit;
mod directory;
mod doors;
mod engine;
mod exchange;
mod hub;
mod place;
mod records;
mod reload;
mod strict;
mod telemetry;
mod tls;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use audit::{Audit, S3, TileStore};
pub use directory::{Directory, DirectoryStore};
pub use doors::{Api, Gateway, VirtualBroker};
pub use engine::Engine;
pub use exchange::Exchange;
pub use hub::{Hub, LogLevel};
pub use records::{Kafka, RecordStore, Records};
pub use reload::Taken;
pub use telemetry::Telemetry;
pub use tls::Tls;

/// Everything that the hub can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The machine: folder and time zone.
    pub hub: Hub,
    /// Where the directory is kept.
    pub directory: Directory,
    /// Where records are kept.
    pub records: Records,
    /// The Apache Kafka cluster.
    pub kafka: Kafka,
    /// The Kafka door.
    pub gateway: Gateway,
    /// The HTTP door.
    pub api: Api,
    /// The hub's own certificate and the authority that signs its callers'.
    pub tls: Tls,
    /// How much one request may take.
    pub exchange: Exchange,
    /// Records on this machine's disk.
    pub engine: Engine,
    /// The audit log.
    pub audit: Audit,
    /// Traces.
    pub telemetry: Telemetry,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("cannot use configuration `{path}`{}", place_hint(*.line, .key.as_deref()))]
    File {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1; `None` where a key that is left out has a default that does not go with the others.
        line: Option<usize>,
        /// Whose value it is; `None` where it is no key's.
        key: Option<String>,
        /// What is wrong.
        #[source]
        source: Box<ConfigError>,
    },
    /// The text is not TOML, or a value has the wrong type.
    #[error("cannot parse the configuration: {message}")]
    Parse {
        /// What is wrong, in one line.
        message: String,
        /// The byte where it is.
        at: Option<usize>,
    },
    /// There is no such key.
    #[error("unknown key `{key}`{}", nearest_hint(.nearest.as_deref()))]
    UnknownKey {
        /// The key as written, with its table.
        key: String,
        /// The known key that is nearest, with its table; `None` if none is near.
        nearest: Option<String>,
    },
    /// The value cannot be.
    #[error("`{key}` must be {rule}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// What holds of a good value.
        rule: &'static str,
    },
}

/// A configuration with every key and a comment to each has a hundredth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = shuniu_archive::read_text_bounded(path, FILE_BYTES_MAX)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| {
            let (at, key) = match &source {
                ConfigError::Parse { at, .. } => (*at, at.and_then(|at| place::key_at(&text, at))),
                ConfigError::UnknownKey { key, .. } => (place::of_key(&text, key), None),
                ConfigError::Value { key, .. } => (place::of_key(&text, key), None),
                ConfigError::Read { .. } | ConfigError::File { .. } => (None, None),
            };
            let line = at.map(|at| place::line(&text, at));
            ConfigError::File { path: path.to_owned(), line, key, source: Box::new(source) }
        })
    }

    /// Parses and checks a configuration; keys that are left out have their defaults.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| ConfigError::parse(&error))?;
        strict::check(&table, &Self::known())?;
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::parse(&error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.hub.check()?;
        self.directory.check()?;
        self.gateway.check(self.records.store)?;
        self.kafka.check(&self.records, self.exchange.fetch_bytes_max)?;
        self.api.check()?;
        self.exchange.check()?;
        self.engine.check()?;
        self.audit.check()?;
        self.telemetry.check()
    }

    /// The configuration as TOML, every key included.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self)
            .map_err(|_| ConfigError::Value { key: "hub.data_folder", rule: "a path in UTF-8" })
    }

    fn known() -> toml::Table {
        Self::default().table()
    }

    /// Every key. A path that is not UTF-8 would leave it empty; TOML names none.
    fn table(&self) -> toml::Table {
        toml::Table::try_from(self).unwrap_or_default()
    }
}

impl ConfigError {
    fn parse(error: &toml::de::Error) -> Self {
        Self::Parse { message: error.message().replace('\n', "; "), at: error.span().map(|span| span.start) }
    }
}

fn place_hint(line: Option<usize>, key: Option<&str>) -> String {
    match (line, key) {
        (Some(line), Some(key)) => format!(", line {line} (`{key}`)"),
        (Some(line), None) => format!(", line {line}"),
        (None, _) => String::new(),
    }
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// For the `check` of each part.
fn require(holds: bool, key: &'static str, rule: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Value { key, rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = include_str!("../../../config/hub.toml");

    #[test]
    fn the_shown_configuration_has_every_key_with_its_default() {
        let shown: toml::Table = SHOWN.parse().unwrap();
        assert_eq!(shown, Config::known());
        assert_eq!(Config::parse(SHOWN).unwrap(), Config::default());
    }

    #[test]
    fn every_shown_key_has_a_comment() {
        let mut commented = false;
        for (number, line) in SHOWN.lines().enumerate() {
            if line.starts_with('#') {
                commented = true;
            } else if line.contains('=') {
                assert!(commented, "line {} has no comment above", number + 1);
                commented = false;
            }
        }
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        for (text, key, nearest) in [
            ("[gateway]\nlistn = \"0.0.0.0:1\"", "gateway.listn", Some("gateway.listen")),
            ("[gatway]\nlisten = \"0.0.0.0:1\"", "gatway", Some("gateway")),
            ("data_folder = \"x\"", "data_folder", Some("hub.data_folder")),
            ("[hub]\ngather_millisecond = 1", "hub.gather_millisecond", Some("audit.gather_milliseconds")),
            ("[hub]\nwhatever_this_is = 1", "hub.whatever_this_is", None),
        ] {
            match Config::parse(text) {
                Err(ConfigError::UnknownKey { key: found, nearest: near }) => {
                    assert_eq!((found.as_str(), near.as_deref()), (key, nearest));
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_refused() {
        for text in [
            "[hub]\ntime_zone = \"Asia/Chongqing2\"",
            "[exchange]\nfetch_bytes_max = 100",
            "[gateway]\nlisten = \"localhost\"",
            "[directory]\nstore = \"mysql\"",
            "[directory]\nconnections_max = 0",
            "[gateway]\nconnections_max = 0",
            "[gateway]\nhost = \"\"",
            "[records]\nstore = \"paper\"",
            "[records]\nstore = \"kafka\"",
            "[records]\nstore = \"kafka\"\n[kafka]\nbootstrap = [\"kafka-1:9092\"]",
            "[kafka]\nbootstrap = [\"kafka-1\"]",
            "[kafka]\nreplication = 0",
            "[[gateway.brokers]]\nnode = 1\nlisten = \"0.0.0.0:9093\"\nhost = \"hub\"\nport = 9093",
            "[engine]\nrebalance_delay_milliseconds = -1",
            "[audit]\ngather_milliseconds = 5000",
            "[audit]\nsuite = \"md5\"",
            "[audit]\ntiles = \"s3\"",
            "[audit]\ntiles = \"tape\"",
            "[telemetry]\nendpoint = \"http://collector:4318/v1/traces\"",
            "[telemetry]\nendpoint = \"https://collector:4318/v1/traces\"",
            "[telemetry]\ntraced_per_thousand = 0",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_its_file_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.toml");
        for (text, line, key) in [
            ("[hub]\n\n[gateway]\nlistn = \"0.0.0.0:1\"", 4, "`gateway.listn`"),
            ("# first\n[gatway]\nport = 1", 2, "`gatway`"),
            ("[gateway]\nport = 9093\nlisten = \"localhost\"", 3, "`gateway.listen`"),
            ("[gateway]\nport = \"9093\"", 2, "`gateway.port`"),
            ("[hub]\nshutdown_seconds = 0", 2, "`hub.shutdown_seconds`"),
            ("[hub]\ntime_zone = \"UTC\"\ntime_zone", 3, ""),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Config::read(&path).unwrap_err();
            let ConfigError::File { line: found, source, .. } = &error else { panic!("{text}: {error:?}") };
            let said = format!("{error}: {source}");
            assert_eq!(*found, Some(line), "{text}: {said}");
            assert!(said.contains(key) && said.contains("hub.toml"), "{text}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Config::default();
        config.gateway.port = 19093;
        assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    }
}
