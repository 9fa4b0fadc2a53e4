//! National identifiers and codes, valid by construction.

mod division;
mod uscc;

pub use division::DivisionCode;
pub use uscc::Uscc;

/// An identifier that breaks its standard. It names the rule, never the value: values are personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {rule}")]
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
