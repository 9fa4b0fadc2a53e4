//! National identifiers and codes, valid by construction.
//!
//! Each type has `parse`, and `check` that holds the same rules on bytes without making a value.

mod certificate;
mod citizen;
mod code;
mod division;
mod history;
mod lei;
mod organisation;
mod text;
mod uscc;

pub use certificate::CertificateId;
pub use citizen::CitizenId;
pub use code::{EthnicCode, MaritalCode, SexCode};
pub use division::DivisionCode;
pub use history::{Division, DivisionHistory, DivisionLevel, InvalidHistory, Successor};
pub use lei::Lei;
pub use organisation::OrganisationCode;
pub use uscc::Uscc;

/// An identifier that breaks its standard. It names the rule, never the value: values are personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}, for which this must hold: {rule}")]
pub struct InvalidIdentifier {
    /// What it was meant to be.
    pub kind: &'static str,
    /// The rule that must hold.
    pub rule: &'static str,
}

impl InvalidIdentifier {
    pub(crate) const fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}
