//! Pseudonyms: equal texts under one scope have equal pseudonyms, and nobody without the key can go back.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shuniu_model::PseudonymScope;

/// Characters of a pseudonym: 16 bytes as hex.
pub(crate) const PSEUDONYM_CHARS: usize = 32;

/// The key of one pseudonym scope, ready for use. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct PseudonymKey {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

impl PseudonymKey {
    /// HKDF-SHA256 of the master key of the scope's version, with the version and the scope's name as info.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA256 gives up to 8,160 bytes, and HMAC takes a key of any length"
    )]
    pub fn derive(master: &[u8; 32], scope: &PseudonymScope) -> Self {
        let info = format!("shuniu pseudonym 1\n{}\n{}", scope.master_version, scope.scope);
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, master).expand(info.as_bytes(), &mut key).expect("32 bytes");
        Self { keyed: Hmac::new_from_slice(&key).expect("any length") }
    }

    /// Appends the pseudonym of a text: the first 16 bytes of its HMAC-SHA256 as lower-case hex.
    pub(crate) fn put(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut mac = self.keyed.clone();
        mac.update(text);
        for byte in mac.finalize().into_bytes().iter().take(PSEUDONYM_CHARS / 2) {
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + (value - 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonym(master: u8, scope: &str, master_version: u32, text: &str) -> String {
        let scope = PseudonymScope { scope: scope.into(), master_version };
        let mut out = Vec::new();
        PseudonymKey::derive(&[master; 32], &scope).put(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pseudonym_depends_on_master_version_scope_and_text_alone() {
        let base = pseudonym(1, "bank/population", 1, "x");
        assert_eq!(base, pseudonym(1, "bank/population", 1, "x"));
        assert_eq!(base.len(), PSEUDONYM_CHARS);
        // HKDF and HMAC by Python's hashlib.
        assert_eq!(base, "f80e398b945d528764e683a32c0d6cfb");
        for other in [
            pseudonym(2, "bank/population", 1, "x"),
            pseudonym(1, "bank/legal-person", 1, "x"),
            pseudonym(1, "bank/population", 2, "x"),
            pseudonym(1, "bank/population", 1, "y"),
        ] {
            assert_ne!(base, other);
        }
    }
}
