//! The hub's own secret keys, in the data folder's `keys`: made once, mode 600, 32 random bytes each as hex.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroize as _;

use crate::secret_file::{self, SecretFileError};

/// 32 secret bytes. They are wiped when dropped and never shown.
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The bytes, for the cryptography that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The folder of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// The keys of a data folder.
    #[must_use]
    pub fn of(data_folder: &Path) -> Self {
        Self { folder: data_folder.join("keys") }
    }

    /// The key that signs checkpoints; made if missing. A log without it can be read and verified but no longer grow.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn audit_signing(&self) -> Result<SecretKey, SecretFileError> {
        self.key("audit-signing")
    }

    /// A version of the pseudonym master key; made if missing. Losing it changes every pseudonym under it.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn pseudonym_master(&self, version: u32) -> Result<SecretKey, SecretFileError> {
        self.key(&format!("pseudonym-master-{version}"))
    }

    /// The key of one year's subject marks in the audit log; made if missing. Destroying it ends that year's linkage.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn subjects_of(&self, year: u16) -> Result<SecretKey, SecretFileError> {
        self.key(&format!("subjects-{year:04}"))
    }

    fn key(&self, name: &str) -> Result<SecretKey, SecretFileError> {
        let path = self.folder.join(name);
        if !path.exists() {
            let mut fresh: [u8; 32] = rand::random();
            let mut text = hex::encode(fresh);
            fresh.zeroize();
            let made = secret_file::create_once(&path, text.as_bytes());
            text.zeroize();
            made?;
        }
        let mut text = secret_file::read(&path)?;
        let mut bytes = [0; 32];
        let read = hex::decode_to_slice(text.trim_end(), &mut bytes);
        text.zeroize();
        match read {
            Ok(()) => Ok(SecretKey(bytes)),
            Err(_) => Err(SecretFileError::Content { path, what: "64 hex digits" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of(folder.path());
        let first = keys.audit_signing().unwrap();
        assert_eq!(keys.audit_signing().unwrap().expose(), first.expose());
        assert_ne!(keys.pseudonym_master(1).unwrap().expose(), first.expose());
        assert_ne!(keys.pseudonym_master(2).unwrap().expose(), keys.pseudonym_master(1).unwrap().expose());
        assert_ne!(keys.subjects_of(2026).unwrap().expose(), first.expose());
        assert_eq!(format!("{first:?}"), "SecretKey(..)");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        secret_file::create_once(&folder.path().join("keys/audit-signing"), b"no key").unwrap();
        let refused = Keys::of(folder.path()).audit_signing();
        assert!(matches!(refused, Err(SecretFileError::Content { .. })));
    }
}
