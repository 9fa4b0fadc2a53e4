//! Who did what an entry says.

use serde::{Deserialize, Serialize};
use shuniu_model::SystemId;
use shuniu_model::identifier::Uscc;

use crate::encoding::{bounded, uscc_option};

const NAME_BYTES_MAX: usize = 200;

/// In which role an actor acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An information system, by its certificate.
    System,
    /// A person signed in to the hub.
    Officer,
    /// A person at the machine itself, who owns the data folder.
    Operator,
    /// The hub: recovery, deadlines, counting.
    Hub,
    /// Somebody who has not proved who they are.
    Unknown,
}

/// Who did it (organisation, system or officer) and in which role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Actor {
    /// In which role.
    pub role: Role,
    /// The actor's organisation, where it is known.
    #[serde(default, with = "uscc_option", skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Uscc>,
    /// The information system, for role `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemId>,
    /// The serial number of the certificate shown, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The person: an officer's account or the operator's login name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

impl Actor {
    /// An information system, proved by the certificate of that serial number. `organisation` is `None` when the
    /// directory does not know the system.
    #[must_use]
    pub fn system(organisation: Option<Uscc>, system: SystemId, certificate: &str) -> Self {
        Self {
            role: Role::System,
            organisation,
            system: Some(system),
            certificate: Some(bounded(certificate, NAME_BYTES_MAX)),
            person: None,
        }
    }

    /// An officer of an organisation.
    #[must_use]
    pub fn officer(organisation: Uscc, account: &str) -> Self {
        Self {
            organisation: Some(organisation),
            person: Some(bounded(account, NAME_BYTES_MAX)),
            ..Self::of(Role::Officer)
        }
    }

    /// The operator at the machine, by login name.
    #[must_use]
    pub fn operator(login: &str) -> Self {
        Self { person: Some(bounded(login, NAME_BYTES_MAX)), ..Self::of(Role::Operator) }
    }

    /// The hub itself.
    #[must_use]
    pub fn hub() -> Self {
        Self::of(Role::Hub)
    }

    /// Nobody that is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::of(Role::Unknown)
    }

    fn of(role: Role) -> Self {
        Self { role, organisation: None, system: None, certificate: None, person: None }
    }
}
