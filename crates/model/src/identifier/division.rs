//! Division codes (行政区划代码), GB/T 2260.

use std::fmt;

use super::InvalidIdentifier;

/// The form of a division code: six digits, two each for province, prefecture and county, or nine or twelve for towns
/// and villages. Whether a code was in use on a date is for the division history to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DivisionCode(Box<str>);

impl DivisionCode {
    /// Parses the code's form.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::check(value.as_bytes())?;
        Ok(Self(value.into()))
    }

    /// Holds the form without making a value.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        if !matches!(value.len(), 6 | 9 | 12) || !value.iter().all(u8::is_ascii_digit) {
            return Err(InvalidIdentifier::new("division code", "6, 9 or 12 digits"));
        }
        if value.starts_with(b"0") {
            return Err(InvalidIdentifier::new("division code", "the first digit is 1 to 9"));
        }
        Ok(())
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DivisionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for DivisionCode {
    type Err = InvalidIdentifier;
    fn from_str(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::parse(value)
    }
}
