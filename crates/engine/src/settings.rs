//! Topic settings: the closed list of names, what each takes, its default, and the values in force.

use std::collections::BTreeMap;

/// What a setting takes, as DescribeConfigs numbers types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An integer within the bounds, as Kafka's int.
    Int(i64, i64),
    /// An integer within the bounds, as Kafka's long.
    Long(i64, i64),
    /// A fraction from 0 to 1.
    Fraction,
    /// true or false.
    Bool,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A comma-separated list of these.
    List(&'static [&'static str]),
}

struct Known {
    name: &'static str,
    kind: Kind,
    default: &'static str,
    documentation: &'static str,
}

/// Every setting that a topic may have. `segment.bytes` takes its default from the engine's configuration.
const KNOWN: &[Known] = &[
    Known {
        name: "cleanup.policy",
        kind: Kind::List(&["compact", "delete"]),
        default: "delete",
        documentation: "compact keeps each key's latest record, delete drops old segments; both may be set",
    },
    Known {
        name: "compression.type",
        kind: Kind::Choice(&["producer"]),
        default: "producer",
        documentation: "batches are kept as the producer compressed them",
    },
    Known {
        name: "delete.retention.ms",
        kind: Kind::Long(0, i64::MAX),
        default: "86400000",
        documentation: "how long compaction keeps a tombstone after it first met it",
    },
    Known {
        name: "max.compaction.lag.ms",
        kind: Kind::Long(1, i64::MAX),
        default: "9223372036854775807",
        documentation: "the longest that a record may stay uncompacted",
    },
    Known {
        name: "max.message.bytes",
        kind: Kind::Int(0, i32::MAX as i64),
        default: "1048588",
        documentation: "the largest record batch",
    },
    Known {
        name: "message.timestamp.type",
        kind: Kind::Choice(&["CreateTime", "LogAppendTime"]),
        default: "CreateTime",
        documentation: "whose time a record carries: its producer's, or that of its append",
    },
    Known {
        name: "min.cleanable.dirty.ratio",
        kind: Kind::Fraction,
        default: "0.5",
        documentation: "compaction starts when this share of the log is uncompacted",
    },
    Known {
        name: "min.compaction.lag.ms",
        kind: Kind::Long(0, i64::MAX),
        default: "0",
        documentation: "how long a record stays uncompacted at least",
    },
    Known {
        name: "min.insync.replicas",
        kind: Kind::Int(1, i32::MAX as i64),
        default: "1",
        documentation: "kept for clusters; one node has one copy, synced before it is acknowledged",
    },
    Known {
        name: "retention.bytes",
        kind: Kind::Long(-1, i64::MAX),
        default: "-1",
        documentation: "the size of a partition beyond which delete drops its oldest segments, -1 for none",
    },
    Known {
        name: "retention.ms",
        kind: Kind::Long(-1, i64::MAX),
        default: "604800000",
        documentation: "the age beyond which delete drops segments, -1 for none",
    },
    Known {
        name: "segment.bytes",
        kind: Kind::Int(1_024, i32::MAX as i64),
        default: "",
        documentation: "the size at which a segment is closed",
    },
    Known {
        name: "segment.ms",
        kind: Kind::Long(1, i64::MAX),
        default: "604800000",
        documentation: "the age at which a segment is closed",
    },
    Known {
        name: "unclean.leader.election.enable",
        kind: Kind::Bool,
        default: "false",
        documentation: "kept for clusters; one node has no elections",
    },
];

/// A topic's settings in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    given: BTreeMap<String, String>,
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) delete_retention_ms: i64,
    pub(crate) compaction_lag_min_ms: i64,
    pub(crate) compaction_lag_max_ms: i64,
    pub(crate) dirty_share_min: f64,
    pub(crate) batch_bytes_max: usize,
    pub(crate) append_time: bool,
    /// `None` for no bound.
    pub(crate) retention_bytes: Option<u64>,
    /// `None` for no bound.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
}

/// One setting as DescribeConfigs shows it.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) given: bool,
    /// Kafka's ConfigDef type number.
    pub(crate) kind: i8,
    pub(crate) documentation: &'a str,
}

/// A setting that is refused; the text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSetting {
    #[error("unknown topic setting `{0}`")]
    Unknown(String),
    #[error("invalid value `{value}` for `{name}`")]
    Value { name: String, value: String },
    #[error("`{0}` is not a list; append and subtract are for lists")]
    NotAList(String),
}

impl Settings {
    /// From what was given, everything else at its default.
    pub(crate) fn new(given: BTreeMap<String, String>, segment_bytes: u32) -> Result<Self, InvalidSetting> {
        for (name, value) in &given {
            let known = known(name).ok_or_else(|| InvalidSetting::Unknown(name.clone()))?;
            if !known.kind.takes(value) {
                return Err(InvalidSetting::Value { name: name.clone(), value: value.clone() });
            }
        }
        let segment_bytes_default = segment_bytes.to_string();
        let text = |name: &str| -> String {
            let default = known(name).map_or("", |known| known.default);
            let default = if default.is_empty() { segment_bytes_default.as_str() } else { default };
            given.get(name).map_or(default, String::as_str).to_owned()
        };
        // Every value has passed its kind's check above, and the defaults are held by a test.
        let number = |name: &str| text(name).trim().parse::<i64>().unwrap_or(0);
        let natural = |name: &str| u64::try_from(number(name)).ok();
        let policy = text("cleanup.policy");
        let policies: Vec<&str> = policy.split(',').map(str::trim).collect();
        Ok(Self {
            compact: policies.contains(&"compact"),
            delete: policies.contains(&"delete"),
            delete_retention_ms: number("delete.retention.ms"),
            compaction_lag_min_ms: number("min.compaction.lag.ms"),
            compaction_lag_max_ms: number("max.compaction.lag.ms"),
            dirty_share_min: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
            batch_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            append_time: text("message.timestamp.type") == "LogAppendTime",
            retention_bytes: natural("retention.bytes"),
            retention_ms: Some(number("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes: natural("segment.bytes").unwrap_or(u64::from(segment_bytes)),
            segment_ms: number("segment.ms"),
            given,
        })
    }

    /// What was given, by name.
    pub(crate) fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    /// Every setting with its value in force.
    pub(crate) fn shown(&self) -> Vec<Shown<'static>> {
        let shown = |known: &'static Known| Shown {
            name: known.name,
            value: match self.given.get(known.name) {
                Some(value) => value.clone(),
                None if known.default.is_empty() => self.segment_bytes.to_string(),
                None => known.default.to_owned(),
            },
            given: self.given.contains_key(known.name),
            kind: known.kind.number(),
            documentation: known.documentation,
        };
        KNOWN.iter().map(shown).collect()
    }
}

/// One change of IncrementalAlterConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Set,
    Delete,
    Append,
    Subtract,
}

/// Applies one change to what was given. The result is checked by [`Settings::new`].
pub(crate) fn apply(
    given: &mut BTreeMap<String, String>,
    name: &str,
    change: Change,
    value: Option<&str>,
) -> Result<(), InvalidSetting> {
    let known = known(name).ok_or_else(|| InvalidSetting::Unknown(name.to_owned()))?;
    let value = value.unwrap_or("");
    match change {
        Change::Set => {
            given.insert(name.to_owned(), value.to_owned());
        }
        Change::Delete => {
            given.remove(name);
        }
        Change::Append | Change::Subtract => {
            if !matches!(known.kind, Kind::List(_)) {
                return Err(InvalidSetting::NotAList(name.to_owned()));
            }
            let current = given.get(name).map_or(known.default, String::as_str);
            let changed: Vec<&str> = value.split(',').map(str::trim).collect();
            let mut entries: Vec<&str> = current.split(',').map(str::trim).collect();
            entries.retain(|entry| !changed.contains(entry));
            if change == Change::Append {
                entries.extend(changed);
            }
            let joined = entries.join(",");
            given.insert(name.to_owned(), joined);
        }
    }
    Ok(())
}

fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

impl Kind {
    fn takes(self, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::Int(low, high) | Self::Long(low, high) => {
                value.parse::<i64>().is_ok_and(|value| (low..=high).contains(&value))
            }
            Self::Fraction => value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Self::Bool => matches!(value, "true" | "false"),
            Self::Choice(choices) => choices.contains(&value),
            Self::List(choices) => value.split(',').all(|entry| choices.contains(&entry.trim())),
        }
    }

    fn number(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::Choice(_) => 2,
            Self::Int(..) => 3,
            Self::Long(..) => 5,
            Self::Fraction => 6,
            Self::List(_) => 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_setting_takes() {
        for known in KNOWN.iter().filter(|known| !known.default.is_empty()) {
            assert!(known.kind.takes(known.default), "{}", known.name);
        }
        let settings = Settings::new(BTreeMap::new(), 4_096).unwrap();
        assert_eq!(settings.segment_bytes, 4_096);
        assert!(settings.delete && !settings.compact);
        assert_eq!(settings.retention_bytes, None);
        assert_eq!(settings.retention_ms, Some(604_800_000));
    }

    #[test]
    fn an_unknown_setting_or_value_is_refused() {
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(matches!(Settings::new(given("retention", "1"), 1), Err(InvalidSetting::Unknown(_))));
        for (name, value) in
            [("cleanup.policy", "purge"), ("retention.ms", "-2"), ("min.cleanable.dirty.ratio", "2")]
        {
            assert!(
                matches!(Settings::new(given(name, value), 1), Err(InvalidSetting::Value { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn append_and_subtract_change_a_list() {
        let mut given = BTreeMap::new();
        apply(&mut given, "cleanup.policy", Change::Append, Some("compact")).unwrap();
        assert_eq!(given.get("cleanup.policy").unwrap(), "delete,compact");
        apply(&mut given, "cleanup.policy", Change::Subtract, Some("delete")).unwrap();
        assert_eq!(given.get("cleanup.policy").unwrap(), "compact");
        assert!(apply(&mut given, "retention.ms", Change::Append, Some("1")).is_err());
    }
}
