//! The shape that the fixed-length identifiers share.

/// A type of ASCII characters in fixed number: `check` holds its standard, and every way in goes through it.
macro_rules! fixed_text {
    ($name:ident, $length:literal, $kind:literal) => {
        impl $name {
            /// Parses the identifier as it stands: capitals only, no blanks, no hyphens.
            ///
            /// # Errors
            /// Says which rule of the standard is broken.
            pub fn parse(value: &str) -> Result<Self, InvalidIdentifier> {
                Self::check(value.as_bytes())?;
                let text = value
                    .as_bytes()
                    .try_into()
                    .map_err(|_| InvalidIdentifier::new($kind, concat!($length, " characters")))?;
                Ok(Self(text))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // Every byte was checked to be ASCII.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidIdentifier;
            fn from_str(value: &str) -> Result<Self, InvalidIdentifier> {
                Self::parse(value)
            }
        }
    };
}

pub(super) use fixed_text;

/// A digit's or capital's value in 0-9A-Z, as ISO 7064 counts.
pub(super) fn alphanumeric(byte: u8) -> Option<u32> {
    match byte {
        b'0'..=b'9' => Some(u32::from(byte - b'0')),
        b'A'..=b'Z' => Some(u32::from(byte - b'A') + 10),
        _ => None,
    }
}
