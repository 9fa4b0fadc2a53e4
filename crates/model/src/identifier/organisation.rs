//! Organisation code (组织机构代码), GB 11714-1997: characters 9 to 17 of a unified social credit code.

use super::InvalidIdentifier;
use super::text::{alphanumeric, fixed_text};

const KIND: &str = "organisation code";
const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// An organisation code: eight characters and a check character (mod 11), written without the hyphen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganisationCode([u8; 9]);

fixed_text!(OrganisationCode, 9, "organisation code");

impl OrganisationCode {
    /// Holds the standard's rules without making a value.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        let code: &[u8; 9] = value.try_into().map_err(|_| InvalidIdentifier::new(KIND, "9 characters"))?;
        let [body @ .., last] = code;
        if *last == check_character(body)? {
            Ok(())
        } else {
            Err(InvalidIdentifier::new(KIND, "the check character fits (mod 11)"))
        }
    }

    /// The code of eight characters, with its check character.
    ///
    /// # Errors
    /// Says which rule the characters break.
    pub fn from_body(body: &[u8; 8]) -> Result<Self, InvalidIdentifier> {
        let check = check_character(body)?;
        let [a, b, c, d, e, f, g, h] = *body;
        Ok(Self([a, b, c, d, e, f, g, h, check]))
    }
}

fn check_character(body: &[u8; 8]) -> Result<u8, InvalidIdentifier> {
    let mut sum = 0;
    for (byte, weight) in body.iter().zip(WEIGHTS) {
        sum += weight * alphanumeric(*byte).ok_or(InvalidIdentifier::new(KIND, "only 0-9 and A-Z"))?;
    }
    Ok(match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + u8::try_from(digit).unwrap_or_default(),
    })
}
