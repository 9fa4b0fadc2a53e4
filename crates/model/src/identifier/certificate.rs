//! Identifier of an electronic certificate (电子证照标识), GB/T 36904-2018.

use super::InvalidIdentifier;
use super::text::alphanumeric;

const KIND: &str = "certificate identifier";
const ROOT: &[u8] = b"1.2.156.3005.2.";
const LENGTH_MAX: usize = 128;

/// A certificate identifier: `1.2.156.3005.2.<type>.<issuer>.<serial>.<version>.<check>`. The type has 21 characters
/// (the defining body's social credit code and three digits), the version three; the check character (ISO 7064
/// MOD 37,36) is over all that follows the root, without the dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId(Box<str>);

impl CertificateId {
    /// Parses the identifier as it stands.
    ///
    /// # Errors
    /// Says which rule of GB/T 36904 is broken.
    pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::check(value.as_bytes())?;
        Ok(Self(value.into()))
    }

    /// Holds the standard's rules without making a value.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        let broken = |rule| Err(InvalidIdentifier::new(KIND, rule));
        if value.len() > LENGTH_MAX {
            return broken("at most 128 characters");
        }
        let Some(parts) = value.strip_prefix(ROOT) else {
            return broken("it starts with 1.2.156.3005.2.");
        };
        let mut lengths = [0_usize; 5];
        let mut remaining = lengths.iter_mut();
        for part in parts.split(|byte| *byte == b'.') {
            match remaining.next() {
                Some(length) => *length = part.len(),
                None => return broken("five parts follow the root"),
            }
        }
        let [kind, issuer, serial, version, check] = lengths;
        if kind != 21 || issuer == 0 || serial == 0 || version != 3 || check != 1 {
            return broken(
                "type (21 characters), issuer, serial, version (3) and check character follow the root",
            );
        }
        let [body @ .., last] = parts else { return broken("five parts follow the root") };
        if *last == check_character(body)? { Ok(()) } else { broken("the check character fits (MOD 37,36)") }
    }

    /// The identifier of its parts, with its check character.
    ///
    /// # Errors
    /// Says which rule the parts break.
    pub fn from_parts(
        kind: &str,
        issuer: &str,
        serial: &str,
        version: &str,
    ) -> Result<Self, InvalidIdentifier> {
        let body = format!("{kind}.{issuer}.{serial}.{version}.");
        let check = char::from(check_character(body.as_bytes())?);
        Self::parse(&format!("1.2.156.3005.2.{body}{check}"))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CertificateId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CertificateId {
    type Err = InvalidIdentifier;
    fn from_str(value: &str) -> Result<Self, InvalidIdentifier> {
        Self::parse(value)
    }
}

/// ISO 7064 hybrid MOD 37,36 over the characters, dots left out.
fn check_character(body: &[u8]) -> Result<u8, InvalidIdentifier> {
    let mut product = 36;
    for byte in body.iter().filter(|byte| **byte != b'.') {
        let value = alphanumeric(*byte).ok_or(InvalidIdentifier::new(KIND, "only 0-9, A-Z and dots"))?;
        let sum = match (product + value) % 36 {
            0 => 36,
            sum => sum,
        };
        product = sum * 2 % 37;
    }
    let place = u8::try_from((37 - product) % 36).unwrap_or_default();
    Ok(if place < 10 { b'0' + place } else { b'A' + (place - 10) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_fits() {
        assert_eq!(check_character(b"A12425GABC1234002"), Ok(b'M'));
    }

    #[test]
    fn the_parts_and_the_check_character_are_held() {
        let good = "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0";
        assert_eq!(CertificateId::parse(good).unwrap().as_str(), good);
        assert_eq!(
            CertificateId::from_parts("11100000000013338W009", "11330105002500287C", "2025052201", "002")
                .unwrap()
                .as_str(),
            good
        );
        for bad in [
            "",
            "1.2.156.3005.3.11100000000013338W009.11330105002500287C.2025052201.002.0",
            "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.1",
            "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.0020",
            "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0.0",
            "1.2.156.3005.2.11100000000013338W09.11330105002500287C.2025052201.002.0",
            "1.2.156.3005.2.11100000000013338w009.11330105002500287C.2025052201.002.0",
            "1.2.156.3005.2.....",
        ] {
            assert!(CertificateId::parse(bad).is_err(), "{bad}");
        }
    }
}
