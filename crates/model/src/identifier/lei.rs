//! Legal Entity Identifier, ISO 17442.

use super::InvalidIdentifier;
use super::text::{alphanumeric, fixed_text};

const KIND: &str = "legal entity identifier";

/// A Legal Entity Identifier: 18 characters and two check digits (ISO 7064 MOD 97-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lei([u8; 20]);

fixed_text!(Lei, 20, "legal entity identifier");

impl Lei {
    /// Holds the standard's rules without making a value.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        let code: &[u8; 20] = value.try_into().map_err(|_| InvalidIdentifier::new(KIND, "20 characters"))?;
        let mut rest = 0;
        for byte in code {
            let value = alphanumeric(*byte).ok_or(InvalidIdentifier::new(KIND, "only 0-9 and A-Z"))?;
            rest = (rest * if value < 10 { 10 } else { 100 } + value) % 97;
        }
        if !matches!(code, [.., tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit()) {
            return Err(InvalidIdentifier::new(KIND, "the last two characters are digits"));
        }
        if rest == 1 { Ok(()) } else { Err(InvalidIdentifier::new(KIND, "the check digits fit (MOD 97-10)")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_held() {
        for good in ["5493001KJTIIGC8Y1R12", "529900T8BM49AURSDO55"] {
            assert_eq!(Lei::parse(good).unwrap().as_str(), good);
        }
        for bad in ["5493001KJTIIGC8Y1R13", "5493001KJTIIGC8Y1R1", "5493001kjtiigc8y1r12", ""] {
            assert!(Lei::parse(bad).is_err(), "{bad}");
        }
    }
}
