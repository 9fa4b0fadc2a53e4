//! Which hash and which signature a log is made with, chosen when it is created.

use sha2::{Digest as _, Sha256};
use sm3::Sm3;

use crate::Hash;

/// A log's algorithms. Chosen at creation, named in the origin line, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Suite {
    /// SHA-256 and Ed25519: what C2SP tools read.
    #[default]
    Sha256Ed25519,
    /// SM3 (GB/T 32905) and SM2 (GB/T 32918), for deployments under commercial-cryptography review (密评).
    Sm3Sm2,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 2] = [Self::Sha256Ed25519, Self::Sm3Sm2];

    /// The suite as the last segment of an origin line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256Ed25519 => "sha256-ed25519",
            Self::Sm3Sm2 => "sm3-sm2",
        }
    }

    /// The origin line of a log: `<name>/<suite>`, as `hub.example/audit/sha256-ed25519`.
    #[must_use]
    pub fn origin(self, name: &str) -> String {
        format!("{name}/{}", self.as_str())
    }

    /// The suite that an origin line names.
    #[must_use]
    pub fn of_origin(origin: &str) -> Option<Self> {
        let (_, last) = origin.rsplit_once('/')?;
        Self::ALL.into_iter().find(|suite| suite.as_str() == last)
    }

    /// The hash of a leaf (RFC 6962: a zero byte, then the leaf).
    #[must_use]
    pub fn leaf_hash(self, leaf: &[u8]) -> Hash {
        self.hash(&[&[0], leaf])
    }

    /// The hash of an inner node (RFC 6962: a one byte, then both children).
    #[must_use]
    pub fn node_hash(self, left: &Hash, right: &Hash) -> Hash {
        self.hash(&[&[1], &left.0, &right.0])
    }

    /// The root of the tree without a leaf: the hash of nothing.
    #[must_use]
    pub fn empty_root(self) -> Hash {
        self.hash(&[])
    }

    pub(crate) fn hash(self, parts: &[&[u8]]) -> Hash {
        match self {
            Self::Sha256Ed25519 => {
                let mut hasher = Sha256::new();
                parts.iter().for_each(|part| hasher.update(part));
                Hash(hasher.finalize().into())
            }
            Self::Sm3Sm2 => {
                let mut hasher = Sm3::new();
                parts.iter().for_each(|part| hasher.update(part));
                Hash(hasher.finalize().into())
            }
        }
    }

    /// The root of a list of hashes as if they were all of a tree's nodes on one level; `None` for no hash.
    pub(crate) fn fold(self, hashes: &[Hash]) -> Option<Hash> {
        let mut peaks = Vec::new();
        let mut rest = hashes;
        while !rest.is_empty() {
            let width = 1_usize << rest.len().ilog2();
            let (head, tail) = rest.split_at(width);
            peaks.push(self.perfect(head)?);
            rest = tail;
        }
        let last = peaks.pop()?;
        Some(peaks.iter().rev().fold(last, |right, left| self.node_hash(left, &right)))
    }

    /// The root over a power of two of hashes.
    fn perfect(self, hashes: &[Hash]) -> Option<Hash> {
        let mut level = hashes.to_vec();
        while level.len() > 1 {
            level =
                level.as_chunks::<2>().0.iter().map(|[left, right]| self.node_hash(left, right)).collect();
        }
        level.pop()
    }
}
