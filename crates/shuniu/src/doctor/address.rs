//! Addresses as people write them.

use std::fmt;
use std::str::FromStr;

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    /// Not 0.
    pub(crate) port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("a host and a port are written HOST:PORT")?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare,
            None if host.contains(':') => return Err("an IPv6 address is written [ADDRESS]:PORT"),
            None => host,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err("the host is not a name or address");
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self { host: host.to_owned(), port }),
            _ => Err("the port is not 1 to 65535"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where the schema registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryAddress {
    /// The HTTP door.
    pub(crate) door: Address,
    /// The path before the registry's own, without a slash at its end.
    pub(crate) path: String,
}

impl RegistryAddress {
    /// Where a hub has it unless it is told otherwise.
    pub(crate) fn of_hub(hub: &Address) -> Self {
        Self { door: Address { host: hub.host.clone(), port: 9443 }, path: "/registry".to_owned() }
    }
}

impl FromStr for RegistryAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").ok_or("the registry's address begins with https://")?;
        let (door, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("the registry's address has white space in it");
        }
        let has_port = door.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let door = if has_port { door.parse()? } else { format!("{door}:443").parse()? };
        Ok(Self { door, path: path.trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.door, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_is_written() {
        for text in ["hub.example:9093", "10.0.0.1:9093", "[::1]:9093"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["hub.example", ":9093", "::1:9093", "hub:0", "hub:99999", "a b:1", "https://hub:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_registrys_address_may_leave_out_what_https_implies() {
        for (text, shown) in [
            ("https://hub:9443/registry/", "https://hub:9443/registry"),
            ("https://hub", "https://hub:443"),
            ("https://[::1]/registry", "https://[::1]:443/registry"),
        ] {
            assert_eq!(text.parse::<RegistryAddress>().unwrap().to_string(), shown);
        }
        assert!("http://hub/registry".parse::<RegistryAddress>().is_err());
    }
}
