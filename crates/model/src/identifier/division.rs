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
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !matches!(value.len(), 6 | 9 | 12) {
            return Err(InvalidIdentifier::new("division code", "6, 9 or 12 digits"));
        }
        if value.starts_with('0') {
            return Err(InvalidIdentifier::new("division code", "the first digit is 1 to 9"));
        }
        Ok(Self(value.into()))
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
