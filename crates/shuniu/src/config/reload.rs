//! What a running hub takes over of a configuration that was changed.

use toml::{Table, Value};

use super::{Config, ConfigError};

/// The keys that a running hub takes over; all others hold until it is started again. docs/OPERATING.md lists them.
const LIVE: [&str; 22] = [
    "hub.log",
    "hub.time_zone",
    "hub.notice_seconds",
    "hub.shutdown_seconds",
    "gateway.connections_per_system_max",
    "gateway.handshake_seconds",
    "gateway.idle_seconds",
    "gateway.write_seconds",
    "gateway.frame_seconds",
    "gateway.drain_seconds",
    "api.connections_per_system_max",
    "api.handshake_seconds",
    "api.connection_seconds",
    "tls.certificate",
    "tls.key",
    "tls.authority",
    "exchange.fetch_bytes_max",
    "exchange.fetch_wait_milliseconds_max",
    "exchange.scan_bytes_max",
    "exchange.deliveries_per_second",
    "exchange.registry_requests_per_second",
    "exchange.published_bytes_per_second",
];

/// What becomes of a changed configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What holds from here on.
    pub config: Config,
    /// The keys that changed.
    pub changed: Vec<String>,
    /// The keys that are changed in the file and hold only from the next start on.
    pub waiting: Vec<String>,
}

impl Config {
    /// What a hub that runs with this configuration takes over of another.
    ///
    /// # Errors
    /// [`ConfigError`] when what is taken over does not go with what stays.
    pub fn taken_from(&self, other: &Self) -> Result<Taken, ConfigError> {
        let (mut held, given) = (self.table(), other.table());
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        take(&mut held, &given, "", &mut changed, &mut waiting);
        let config: Self = held.try_into().map_err(|error| ConfigError::parse(&error))?;
        config.check()?;
        Ok(Taken { config, changed, waiting })
    }
}

fn take(held: &mut Table, given: &Table, prefix: &str, changed: &mut Vec<String>, waiting: &mut Vec<String>) {
    for (name, value) in given {
        let key = format!("{prefix}{name}");
        match (held.get_mut(name), value) {
            (Some(Value::Table(inner)), Value::Table(below)) => {
                take(inner, below, &format!("{key}."), changed, waiting);
            }
            (Some(old), new) if old == new => {}
            (_, new) if LIVE.contains(&key.as_str()) => {
                held.insert(name.clone(), new.clone());
                changed.push(key);
            }
            _ => waiting.push(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_changes_and_what_cannot_is_named_and_stays() {
        let held = Config::parse("[gateway]\nport = 19093").unwrap();
        let given =
            "[hub]\nlog = \"debug\"\n[gateway]\nport = 19094\nidle_seconds = 60\n[audit.s3]\nregion = \"x\"";
        let taken = held.taken_from(&Config::parse(given).unwrap()).unwrap();
        assert_eq!(taken.changed, ["gateway.idle_seconds", "hub.log"]);
        assert_eq!(taken.waiting, ["audit.s3.region", "gateway.port"]);
        assert_eq!((taken.config.gateway.port, taken.config.gateway.idle_seconds), (19_093, 60));
        // Taken over once, it is no change any more.
        let again = taken.config.taken_from(&Config::parse(given).unwrap()).unwrap();
        assert_eq!((again.changed.len(), again.waiting), (0, taken.waiting));
    }

    #[test]
    fn what_does_not_go_with_what_stays_is_refused() {
        let held = Config::default();
        let given = "[gateway]\nconnections_max = 9000\nconnections_per_system_max = 9000";
        let refused = held.taken_from(&Config::parse(given).unwrap()).unwrap_err();
        assert!(refused.to_string().starts_with("`gateway.connections_per_system_max` must be"), "{refused}");
    }

    #[test]
    fn every_key_that_can_change_is_there_and_in_the_document() {
        let known = Config::known();
        for key in LIVE {
            let (table, name) = key.split_once('.').unwrap();
            assert!(known[table].get(name).is_some(), "{key}");
        }
        let document = include_str!("../../../../docs/OPERATING.md");
        let (_, listed) = document.split_once("<!-- keys that a running hub takes over -->").unwrap();
        let listed = listed.split_once("\n\n").unwrap().0;
        let listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, LIVE);
    }
}
