//! The hub's own secret keys, in the data folder's `keys`: made once, mode 600, 32 random bytes each as hex.

use std::fmt;
use std::path::{Path, PathBuf};

use shuniu_exchange::{KeyRing, KeyUnavailable};
use shuniu_ledger::SubjectKey;
use zeroize::Zeroize as _;

use crate::secret_file::{self, SecretFileError};

const AUDIT_SIGNING: &str = "audit-signing";

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
    /// The keys of a data folder. One that has no log yet gets its signing key and the first pseudonym master key;
    /// later a key that is missing is missed: a new one in its place would part the log from its past, or give
    /// everybody another pseudonym, and nobody would notice.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn open(data_folder: &Path) -> Result<Self, SecretFileError> {
        let keys = Self { folder: data_folder.join("keys") };
        if !keys.path(AUDIT_SIGNING).exists() && !data_folder.join("audit").exists() {
            // The signing key last: a crash before it starts this again.
            keys.make_pseudonym_master(1)?;
            keys.make(AUDIT_SIGNING)?;
        }
        Ok(keys)
    }

    /// The key that signs checkpoints.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn audit_signing(&self) -> Result<SecretKey, SecretFileError> {
        self.read(AUDIT_SIGNING)
    }

    /// A version of the pseudonym master key.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn pseudonym_master(&self, version: u32) -> Result<SecretKey, SecretFileError> {
        self.read(&pseudonym_master(version))
    }

    /// Makes a version of the pseudonym master key; says whether it was not there yet.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn make_pseudonym_master(&self, version: u32) -> Result<bool, SecretFileError> {
        self.make(&pseudonym_master(version))
    }

    /// The key of one year's subject marks in the audit log; made when the year begins. Destroying it ends that
    /// year's linkage.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn subjects_of(&self, year: u16) -> Result<SecretKey, SecretFileError> {
        let name = format!("subjects-{year:04}");
        if !self.path(&name).exists() {
            self.make(&name)?;
        }
        self.read(&name)
    }

    /// The subject keys of every year that there is one of.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn all_subjects(&self) -> Result<Vec<SubjectKey>, SecretFileError> {
        let failed =
            |source| SecretFileError::Io { attempt: "read the folder", path: self.folder.clone(), source };
        let mut keys = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let year = name.to_str().and_then(|name| name.strip_prefix("subjects-"));
            if let Some(year) = year.and_then(|year| year.parse().ok()) {
                keys.push(SubjectKey::new(year, self.subjects_of(year)?.expose()));
            }
        }
        Ok(keys)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn make(&self, name: &str) -> Result<bool, SecretFileError> {
        let mut fresh: [u8; 32] = rand::random();
        let mut text = hex::encode(fresh);
        fresh.zeroize();
        let made = secret_file::create_once(&self.path(name), text.as_bytes());
        text.zeroize();
        made
    }

    fn read(&self, name: &str) -> Result<SecretKey, SecretFileError> {
        let path = self.path(name);
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

impl KeyRing for Keys {
    fn pseudonym_master(&self, version: u32) -> Result<[u8; 32], KeyUnavailable> {
        let key = Self::pseudonym_master(self, version).map_err(unavailable(&pseudonym_master(version)))?;
        Ok(*key.expose())
    }

    fn subjects_of(&self, year: u16) -> Result<SubjectKey, KeyUnavailable> {
        let key = Self::subjects_of(self, year).map_err(unavailable(&format!("subjects-{year:04}")))?;
        Ok(SubjectKey::new(year, key.expose()))
    }
}

fn pseudonym_master(version: u32) -> String {
    format!("pseudonym-master-{version}")
}

/// With the whole chain of causes: the exchange only passes it on.
fn unavailable(name: &str) -> impl FnOnce(SecretFileError) -> KeyUnavailable {
    move |error| {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        KeyUnavailable { name: name.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let first = keys.audit_signing().unwrap();
        let again = Keys::open(folder.path()).unwrap();
        assert_eq!(again.audit_signing().unwrap().expose(), first.expose());
        assert_ne!(keys.pseudonym_master(1).unwrap().expose(), first.expose());
        assert!(keys.make_pseudonym_master(2).unwrap());
        assert!(!keys.make_pseudonym_master(2).unwrap());
        assert_ne!(keys.pseudonym_master(2).unwrap().expose(), keys.pseudonym_master(1).unwrap().expose());
        assert_eq!(keys.subjects_of(2026).unwrap().expose(), again.subjects_of(2026).unwrap().expose());
        assert_eq!(format!("{first:?}"), "SecretKey(..)");
    }

    #[test]
    fn a_key_that_was_lost_is_missed_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        assert!(KeyRing::pseudonym_master(&keys, 3).is_err());
        std::fs::create_dir(folder.path().join("audit")).unwrap();
        std::fs::remove_file(folder.path().join("keys/audit-signing")).unwrap();
        std::fs::remove_file(folder.path().join("keys/pseudonym-master-1")).unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        assert!(keys.audit_signing().is_err());
        assert!(KeyRing::pseudonym_master(&keys, 1).is_err());
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let path = folder.path().join("keys/subjects-2026");
        secret_file::create_once(&path, b"no key").unwrap();
        assert!(matches!(keys.subjects_of(2026), Err(SecretFileError::Content { .. })));
    }
}
