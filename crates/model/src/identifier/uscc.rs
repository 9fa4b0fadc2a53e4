//! Unified social credit code (统一社会信用代码), GB 32100-2015.

use std::fmt;

use super::InvalidIdentifier;

const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// A unified social credit code: 18 characters, the last a check character (mod 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uscc([u8; 18]);

impl Uscc {
    /// Parses the code as it stands: capitals only, no blanks.
    ///
    /// # Errors
    /// Says which rule of GB 32100 is broken.
    pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
        let code: [u8; 18] = value
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidIdentifier::new("unified social credit code", "18 characters"))?;
        let mut weight = 1_u32;
        let mut sum = 0_u32;
        let mut last = 0_u32;
        for byte in code {
            let position = ALPHABET
                .iter()
                .position(|symbol| *symbol == byte)
                .and_then(|position| u32::try_from(position).ok())
                .ok_or(InvalidIdentifier::new(
                    "unified social credit code",
                    "only 0-9 and capitals without I, O, S, V and Z",
                ))?;
            // The check character's own weight is 3^17 mod 31, which the last step replaces: it is compared, not summed.
            sum += position * weight;
            last = position;
            weight = weight * 3 % 31;
        }
        // `sum` holds the check character too, with weight 3^17 mod 31 = 22.
        let body = (sum - last * 22) % 31;
        if last == (31 - body) % 31 {
            Ok(Self(code))
        } else {
            Err(InvalidIdentifier::new("unified social credit code", "the check character fits (mod 31)"))
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every byte is from the ASCII alphabet.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Uscc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Uscc {
    type Err = InvalidIdentifier;
    fn from_str(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::parse(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_characters_are_held() {
        for good in ["91320105780688132K", "11100000000013338W", "91350100M000100Y43", "91110108551385082Q"] {
            assert_eq!(Uscc::parse(good).unwrap().as_str(), good);
        }
        for bad in ["91320105780688132L", "91320105780688132", "9132010578068813ZK", "91320105780688132k", ""] {
            assert!(Uscc::parse(bad).is_err(), "{bad}");
        }
    }
}
