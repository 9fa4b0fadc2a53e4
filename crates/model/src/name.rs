//! Names: what a thing is called in topics, URLs, SQL and logs.

use std::fmt;

/// A name that breaks its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {kind}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        // The value comes from a caller: what is echoed is bounded.
        Self { kind, value: value.chars().take(64).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses the name, or says which rule it breaks.
            pub fn parse(value: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(value) { Ok(Self(value.into())) } else { Err(InvalidName::new($kind, value, $rule)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::parse(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::parse(&value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

fn lower_dashed(value: &str, length_max: usize) -> bool {
    !value.is_empty()
        && value.len() <= length_max
        && value.starts_with(|c: char| c.is_ascii_lowercase())
        && !value.ends_with('-')
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

name!(
    /// The short name of a resource and of its topic: `legal-person`.
    ResourceName,
    "resource name",
    "1 to 64 of a-z, 0-9 and `-`, starting with a letter and not ending in `-`",
    |value| lower_dashed(value, 64)
);

name!(
    /// The name of an item, which is also its Avro field name: `id_no`, `XK_XKBH`.
    ItemName,
    "item name",
    "1 to 64 of A-Z, a-z, 0-9 and `_`, not starting with a digit",
    |value| !value.is_empty()
        && value.len() <= 64
        && !value.starts_with(|c: char| c.is_ascii_digit())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
);

name!(
    /// The id of an information system, as it stands in its certificate's common name: `hall-yuzhong`.
    SystemId,
    "system id",
    "1 to 48 of a-z, 0-9 and `-`, starting with a letter and not ending in `-`",
    |value| lower_dashed(value, 48)
);

name!(
    /// The id of a grant: `hall-yuzhong-population-1`.
    GrantId,
    "grant id",
    "1 to 120 of a-z, 0-9 and `-`, starting with a letter and not ending in `-`",
    |value| lower_dashed(value, 120)
);

/// The id of a topic: a random UUID that Kafka gives each topic, unique across deletion and creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_exists_is_valid() {
        for good in ["population", "legal-person", "r2d2"] {
            assert_eq!(ResourceName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "Population", "-a", "a-", "a_b", "shuniu.audit", "人口", &"x".repeat(65)] {
            assert!(ResourceName::parse(bad).is_err(), "{bad}");
        }
        assert!(ItemName::parse("XK_XKBH").is_ok());
        assert!(ItemName::parse("1a").is_err());
    }
}
