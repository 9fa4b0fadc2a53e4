//! The hub's own certificate and the authority that signs its callers'.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Files in PEM; relative ones are within the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The hub's certificate, with its chain.
    pub certificate: PathBuf,
    /// The hub's private key, readable by its owner alone.
    pub key: PathBuf,
    /// The authority whose certificates are let in.
    pub authority: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: "ca/hub.pem".into(), key: "ca/hub.key".into(), authority: "ca/ca.pem".into() }
    }
}
