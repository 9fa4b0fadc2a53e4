//! The secret keys that the exchange uses, kept by the program.

use shuniu_ledger::SubjectKey;

/// A key that cannot be had. Nothing is published or delivered without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot have the key {name}: {reason}")]
pub struct KeyUnavailable {
    /// Which key.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Where the keys are.
pub trait KeyRing: Send + Sync + 'static {
    /// A version of the pseudonym master key.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn pseudonym_master(&self, version: u32) -> Result<[u8; 32], KeyUnavailable>;

    /// The key of a year's subject digests.
    ///
    /// # Errors
    /// When it cannot be read or made.
    fn subjects_of(&self, year: u16) -> Result<SubjectKey, KeyUnavailable>;
}
