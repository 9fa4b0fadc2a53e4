//! How bytes and identifiers stand in an entry's JSON.

/// Fixed-length bytes as lower-case hex.
pub(crate) mod hex_array {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(text.as_ref(), &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

/// Fixed-length bytes that may be missing.
pub(crate) mod hex_option {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &Option<[u8; N]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::hex_array::serialize(bytes, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<[u8; N]>, D::Error> {
        super::hex_array::deserialize(from).map(Some)
    }
}

/// Bytes of any length as standard base64 with padding.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        STANDARD.decode(text.as_ref()).map_err(D::Error::custom)
    }
}

/// A unified social credit code as text.
pub(crate) mod uscc_option {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use shuniu_model::identifier::Uscc;

    #[expect(clippy::ref_option, reason = "serde fixes the signature")]
    pub(crate) fn serialize<S: Serializer>(code: &Option<Uscc>, to: S) -> Result<S::Ok, S::Error> {
        match code {
            Some(code) => to.serialize_str(code.as_str()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Uscc>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Uscc::parse(&text).map(Some).map_err(D::Error::custom)
    }
}

/// Free text cut to a bound, at a character: what a caller sends must not decide how long an entry is.
pub(crate) fn bounded(text: impl Into<String>, bytes_max: usize) -> String {
    let mut text = text.into();
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}
