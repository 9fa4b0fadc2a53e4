//! An entry in its place, and the bytes of its leaf.

use std::fmt;

use serde::{Deserialize, Serialize};
use shuniu_model::Timestamp;

use crate::Draft;
use crate::encoding::hex_array;

/// The longest leaf: an entry bundle gives its length in 16 bits.
pub const LEAF_BYTES_MAX: usize = 65_535;

/// A hash of the log's suite; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(#[serde(with = "hex_array")] pub [u8; 32]);

impl Hash {
    /// What the first entry of a boot has in place of the previous one's hash.
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct InvalidHash;

impl std::str::FromStr for Hash {
    type Err = InvalidHash;
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidHash)?;
        Ok(Self(bytes))
    }
}

/// One run of a hub's process: 16 random bytes, made when it starts; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// An entry's id, `<boot>-<sequence>`: which run of which replica wrote it, and as its how manieth entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    /// The run.
    pub boot: BootId,
    /// Counts from 0 within the run, without a gap.
    pub sequence: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.sequence)
    }
}

/// A text that is no entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry id is 32 hexadecimal digits, `-` and a number")]
pub struct InvalidEntryId;

impl std::str::FromStr for EntryId {
    type Err = InvalidEntryId;
    fn from_str(text: &str) -> Result<Self, InvalidEntryId> {
        let (boot, sequence) = text.split_once('-').ok_or(InvalidEntryId)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(boot, &mut bytes).map_err(|_| InvalidEntryId)?;
        Ok(Self { boot: BootId(bytes), sequence: sequence.parse().map_err(|_| InvalidEntryId)? })
    }
}

impl TryFrom<String> for EntryId {
    type Error = InvalidEntryId;
    fn try_from(text: String) -> Result<Self, InvalidEntryId> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

/// One line of the audit log (审计条目). Its leaf is one JSON object in UTF-8 without spaces, keys in the order of the
/// fields here and in [`Draft`], so that equal entries have equal bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Replica boot id and sequence in that boot.
    pub id: EntryId,
    /// When it was written, in microseconds since 1970.
    #[serde(with = "micros")]
    pub time: Timestamp,
    /// The leaf hash of the boot's previous entry; zeros for its first.
    pub previous: Hash,
    /// What happened.
    #[serde(flatten)]
    pub draft: Draft,
}

/// Bytes that are no leaf, or an entry that makes none.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Split the draft first.
    #[error("an entry of {bytes} bytes is longer than a leaf may be, {LEAF_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not the JSON of an entry.
    #[error("a leaf is not an entry")]
    Malformed(#[source] serde_json::Error),
    /// An entry, but with other fields, spaces or order than the log writes.
    #[error("a leaf is an entry but not in the log's own form")]
    NotCanonical,
}

impl Entry {
    /// The leaf's bytes.
    ///
    /// # Errors
    /// [`LeafError::TooLong`] for a draft that was not split.
    pub fn leaf(&self) -> Result<Vec<u8>, LeafError> {
        let bytes = serde_json::to_vec(self).map_err(LeafError::Malformed)?;
        if bytes.len() > LEAF_BYTES_MAX { Err(LeafError::TooLong { bytes: bytes.len() }) } else { Ok(bytes) }
    }

    /// The entry of a leaf.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Entry::leaf`] makes of some entry.
    pub fn from_leaf(leaf: &[u8]) -> Result<Self, LeafError> {
        let entry: Self = serde_json::from_slice(leaf).map_err(LeafError::Malformed)?;
        if entry.leaf()? == leaf { Ok(entry) } else { Err(LeafError::NotCanonical) }
    }
}

mod micros {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use shuniu_model::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde fixes the signature")]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.as_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Refusal};

    fn entry() -> Entry {
        let refusal = Refusal {
            asked: "fetch 人口".into(),
            code: "no-grant".into(),
            detail: "the system holds no grant".into(),
            resource: None,
            grant: None,
        };
        Entry {
            id: EntryId { boot: BootId([0xab; 16]), sequence: 7 },
            time: Timestamp::from_micros(1_764_000_000_000_000),
            previous: Hash::ZERO,
            draft: Draft::refused(Actor::unknown(), refusal).from_source("127.0.0.1:9".parse().unwrap()),
        }
    }

    #[test]
    fn a_leaf_has_one_form() {
        let leaf = entry().leaf().unwrap();
        let text = std::str::from_utf8(&leaf).unwrap();
        let want = concat!(
            r#"{"id":"abababababababababababababababab-7","time":1764000000000000,"#,
            r#""previous":"0000000000000000000000000000000000000000000000000000000000000000","#,
            r#""action":"refused","outcome":"refused","actor":{"role":"unknown"},"source":"127.0.0.1:9","#,
            r#""target":"fetch 人口","count":1,"reason":{"code":"no-grant","detail":"the system holds no grant"}}"#,
        );
        assert_eq!(text, want);
        assert_eq!(Entry::from_leaf(&leaf).unwrap(), entry());
    }

    #[test]
    fn a_leaf_in_any_other_form_is_refused() {
        let leaf = String::from_utf8(entry().leaf().unwrap()).unwrap();
        for other in [
            leaf.replace(":7", ": 7").replace(",\"time\"", ", \"time\""),
            leaf.replace("\"count\":1", "\"count\":1,\"payload\":\"x\""),
            leaf.replace("-7\"", "-07\""),
            leaf.replace("abab", "ABab"),
            format!("{leaf} "),
        ] {
            assert_ne!(other, leaf);
            assert!(matches!(Entry::from_leaf(other.as_bytes()), Err(LeafError::NotCanonical)), "{other}");
        }
        assert!(matches!(Entry::from_leaf(b"{}"), Err(LeafError::Malformed(_))));
    }
}
