//! What an entry says happened.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Records came in and are durable; written before the publishing system is told.
    Published,
    /// Records are about to be sent; written before the first byte.
    Delivered,
    /// A consumer's group committed its progress.
    Acknowledged,
    /// One record is about to be sent, found by its key.
    Queried,
    /// Claims about one record are about to be answered.
    Verified,
    /// A request was refused.
    Refused,
    /// An application was made.
    Applied,
    /// An application was answered.
    Answered,
    /// A grant was written.
    Granted,
    /// A fact of the directory was changed.
    Changed,
    /// A grant or certificate was revoked.
    Revoked,
    /// An officer signed in.
    SignedIn,
    /// The hub itself was administered: started, configured, its keys changed.
    Administered,
    /// The log was read; written before the output.
    AuditRead,
    /// Records were found that no entry covers, as after a crash between their write and their entry.
    Recovered,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 15] = [
        Self::Published,
        Self::Delivered,
        Self::Acknowledged,
        Self::Queried,
        Self::Verified,
        Self::Refused,
        Self::Applied,
        Self::Answered,
        Self::Granted,
        Self::Changed,
        Self::Revoked,
        Self::SignedIn,
        Self::Administered,
        Self::AuditRead,
        Self::Recovered,
    ];

    /// The action as it stands in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Delivered => "delivered",
            Self::Acknowledged => "acknowledged",
            Self::Queried => "queried",
            Self::Verified => "verified",
            Self::Refused => "refused",
            Self::Applied => "applied",
            Self::Answered => "answered",
            Self::Granted => "granted",
            Self::Changed => "changed",
            Self::Revoked => "revoked",
            Self::SignedIn => "signed-in",
            Self::Administered => "administered",
            Self::AuditRead => "audit-read",
            Self::Recovered => "recovered",
        }
    }
}

/// A word that is no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not an action of the audit log")]
pub struct UnknownAction {
    value: String,
}

impl std::str::FromStr for Action {
    type Err = UnknownAction;
    fn from_str(value: &str) -> Result<Self, UnknownAction> {
        let value_short = || UnknownAction { value: value.chars().take(64).collect() };
        Self::ALL.into_iter().find(|action| action.as_str() == value).ok_or_else(value_short)
    }
}
