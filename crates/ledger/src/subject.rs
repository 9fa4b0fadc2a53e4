//! Subjects of published records: who a record is about, as keyed digests.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::encoding::base64_bytes;

/// A year's key for subject digests. Destroying it ends the linkage of that year's entries.
pub struct SubjectKey {
    year: u16,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectKey").field("year", &self.year).finish_non_exhaustive()
    }
}

impl SubjectKey {
    /// The key of a year.
    #[must_use]
    pub fn new(year: u16, key: &[u8; 32]) -> Self {
        // The fixed-length constructor wants a whole block; a shorter key is padded with zeros, as RFC 2104 does it.
        let mut block = [0_u8; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        Self { year, mac: Hmac::new(&block.into()) }
    }

    /// The year that the key is for.
    #[must_use]
    pub fn year(&self) -> u16 {
        self.year
    }

    /// The first 16 bytes of HMAC-SHA256(year key, subject). `subject` is the item's text as the record carries it.
    #[must_use]
    pub fn mac(&self, subject: &[u8]) -> SubjectMac {
        let mut mac = self.mac.clone();
        mac.update(subject);
        let whole = mac.finalize().into_bytes();
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(whole) {
            *to = from;
        }
        SubjectMac(half)
    }
}

/// A subject's digest under a year's key; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectMac(pub [u8; 16]);

impl std::fmt::Display for SubjectMac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A digest in hex that is not 32 digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a subject digest is 32 hexadecimal digits")]
pub struct InvalidMac;

impl std::str::FromStr for SubjectMac {
    type Err = InvalidMac;
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidMac)?;
        Ok(Self(bytes))
    }
}

/// The subjects of an entry's records, in the records and in their `before`, with the offset of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// The year whose key the digests are made with.
    pub year: u16,
    /// Runs of rising offsets within one partition.
    pub runs: Vec<SubjectRun>,
}

impl Subjects {
    /// No subjects yet.
    #[must_use]
    pub fn new(year: u16) -> Self {
        Self { year, runs: Vec::new() }
    }

    /// Adds the subject of the record at `offset`. Any order is kept; rising offsets of one partition are compact.
    pub fn push(&mut self, partition: i32, offset: i64, mac: SubjectMac) {
        if let Some(run) = self.runs.last_mut()
            && run.partition == partition
            && run.push(offset, mac)
        {
            return;
        }
        let mut run =
            SubjectRun { partition, first: offset, last: offset, deltas: Vec::new(), macs: Vec::new() };
        run.push(offset, mac);
        self.runs.push(run);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(SubjectRun::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Partition, offset and digest of each.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64, SubjectMac)> + '_ {
        self.runs.iter().flat_map(|run| run.iter().map(|(offset, mac)| (run.partition, offset, mac)))
    }
}

/// Subjects of one partition at rising offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SubjectRunText")]
pub struct SubjectRun {
    /// The partition.
    partition: i32,
    /// The offset of the first subject's record.
    first: i64,
    #[serde(skip)]
    last: i64,
    /// For each subject how far its offset is behind the one before, as LEB128; the first is 0. Base64.
    #[serde(with = "base64_bytes")]
    deltas: Vec<u8>,
    /// The digests, 16 bytes each, one after the other. Base64.
    #[serde(with = "base64_bytes")]
    macs: Vec<u8>,
}

impl SubjectRun {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// How many subjects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.macs.len() / 16
    }

    /// Whether it has none; no run in an entry has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.macs.is_empty()
    }

    /// Offset and digest of each.
    pub fn iter(&self) -> impl Iterator<Item = (i64, SubjectMac)> + '_ {
        let mut rest = self.deltas.as_slice();
        let mut offset = self.first;
        self.macs.as_chunks::<16>().0.iter().map_while(move |mac| {
            offset = offset.checked_add_unsigned(take_leb128(&mut rest)?)?;
            Some((offset, SubjectMac(*mac)))
        })
    }

    /// The longest JSON of a run with one subject.
    pub(crate) const ONE_BYTES_MAX: usize = 180;

    /// At least the length of its JSON with a comma: keys and numbers, then base64 with padding.
    pub(crate) fn json_bytes_max(&self) -> usize {
        96 + (self.deltas.len() / 3 + 1) * 4 + (self.macs.len() / 3 + 1) * 4
    }

    /// False when the offset goes back: then it belongs into another run.
    fn push(&mut self, offset: i64, mac: SubjectMac) -> bool {
        let Some(Ok(delta)) = offset.checked_sub(self.last).map(u64::try_from) else { return false };
        put_leb128(delta, &mut self.deltas);
        self.macs.extend_from_slice(&mac.0);
        self.last = offset;
        true
    }
}

/// The form before its parts are known to agree.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectRunText {
    partition: i32,
    first: i64,
    #[serde(with = "base64_bytes")]
    deltas: Vec<u8>,
    #[serde(with = "base64_bytes")]
    macs: Vec<u8>,
}

impl TryFrom<SubjectRunText> for SubjectRun {
    type Error = &'static str;
    fn try_from(text: SubjectRunText) -> Result<Self, Self::Error> {
        let (macs, rest) = text.macs.as_chunks::<16>();
        if !rest.is_empty() {
            return Err("subject digests are not 16 bytes each");
        }
        let mut deltas = text.deltas.as_slice();
        let mut last = text.first;
        for _ in macs {
            last = take_leb128(&mut deltas)
                .and_then(|delta| last.checked_add_unsigned(delta))
                .ok_or("a subject has no offset")?;
        }
        if !deltas.is_empty() {
            return Err("an offset has no subject");
        }
        Ok(Self { partition: text.partition, first: text.first, last, deltas: text.deltas, macs: text.macs })
    }
}

fn put_leb128(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_keeps_its_partition_and_offset() {
        let mac = |n: u8| SubjectMac([n; 16]);
        let mut subjects = Subjects::new(2026);
        let all = [
            (0, 5, mac(1)),
            (0, 5, mac(2)),
            (0, 900, mac(3)),
            (1, 7, mac(4)),
            (1, 6, mac(5)),
            (1, i64::MAX, mac(6)),
        ];
        for (partition, offset, mac) in all {
            subjects.push(partition, offset, mac);
        }
        let text = serde_json::to_string(&subjects).unwrap();
        let read: Subjects = serde_json::from_str(&text).unwrap();
        assert_eq!(read, subjects);
        assert_eq!(read.iter().collect::<Vec<_>>(), all);
        assert_eq!(read.runs.len(), 3);
    }

    #[test]
    fn a_run_whose_parts_disagree_is_refused() {
        for bad in [
            r#"{"partition":0,"first":0,"deltas":"","macs":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
            r#"{"partition":0,"first":0,"deltas":"AAA=","macs":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
            r#"{"partition":0,"first":0,"deltas":"AA==","macs":"AAAA"}"#,
            r#"{"partition":0,"first":0,"deltas":"gICAgICAgICAfw==","macs":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
        ] {
            assert!(serde_json::from_str::<SubjectRun>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_links_within_a_year_and_not_across() {
        let one = SubjectKey::new(2026, &[7; 32]);
        let two = SubjectKey::new(2027, &[8; 32]);
        assert_eq!(one.mac(b"11010519491231002X"), one.mac(b"11010519491231002X"));
        assert_ne!(one.mac(b"11010519491231002X"), two.mac(b"11010519491231002X"));
        assert_eq!(one.mac(b"a").to_string().parse::<SubjectMac>().unwrap(), one.mac(b"a"));
        assert!(!format!("{one:?}").contains("mac"));
    }
}
