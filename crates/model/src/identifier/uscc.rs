//! Unified social credit code (统一社会信用代码), GB 32100-2015.

use super::text::fixed_text;
use super::{InvalidIdentifier, OrganisationCode};

const KIND: &str = "unified social credit code";
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// A unified social credit code: 18 characters, the last a check character (mod 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uscc([u8; 18]);

fixed_text!(Uscc, 18, "unified social credit code");

impl Uscc {
    /// Holds the standard's rules without making a value.
    ///
    /// # Errors
    /// Says which rule of GB 32100 is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        let code: &[u8; 18] = value.try_into().map_err(|_| InvalidIdentifier::new(KIND, "18 characters"))?;
        let [body @ .., last] = code;
        let expected = check_character(body)?;
        // The last character's own place in the alphabet matters too: a stranger is told so.
        place(*last)?;
        if *last == expected {
            Ok(())
        } else {
            Err(InvalidIdentifier::new(KIND, "the check character fits (mod 31)"))
        }
    }

    /// The code of its parts, with its check character: kind (`11` authority, `91` enterprise, ..), the division of
    /// registration, the organisation code.
    ///
    /// # Errors
    /// Says which rule the parts break.
    pub fn from_parts(
        kind: &str,
        division: &str,
        organisation: &OrganisationCode,
    ) -> Result<Self, InvalidIdentifier> {
        let text = format!("{kind}{division}{organisation}");
        let body: &[u8; 17] = text.as_bytes().try_into().map_err(|_| {
            InvalidIdentifier::new(KIND, "2 characters of kind, 6 of division, 9 of organisation code")
        })?;
        let check = char::from(check_character(body)?);
        Self::parse(&format!("{text}{check}"))
    }
}

fn check_character(body: &[u8; 17]) -> Result<u8, InvalidIdentifier> {
    let mut weight = 1_u32;
    let mut sum = 0_u32;
    for byte in body {
        sum += place(*byte)? * weight;
        weight = weight * 3 % 31;
    }
    let expected = usize::try_from((31 - sum % 31) % 31).unwrap_or_default();
    Ok(ALPHABET.get(expected).copied().unwrap_or_default())
}

fn place(byte: u8) -> Result<u32, InvalidIdentifier> {
    ALPHABET
        .iter()
        .position(|symbol| *symbol == byte)
        .and_then(|position| u32::try_from(position).ok())
        .ok_or(InvalidIdentifier::new(KIND, "only 0-9 and capitals without I, O, S, V and Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_characters_are_held() {
        for good in ["91320105780688132K", "11100000000013338W", "91350100M000100Y43", "91110108551385082Q"] {
            assert_eq!(Uscc::parse(good).unwrap().as_str(), good);
        }
        for bad in ["91320105780688132L", "91320105780688132", "9132010578068813ZK", "91320105780688132k", ""]
        {
            assert!(Uscc::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_code_is_made_of_its_parts() {
        let organisation = OrganisationCode::from_body(b"78068813").unwrap();
        assert_eq!(Uscc::from_parts("91", "320105", &organisation).unwrap().as_str(), "91320105780688132K");
    }
}
