//! The hub's own secret keys, in the data folder's `keys`: made once, mode 600, 32 random bytes each as hex.
//!
//! Several hubs of one directory use the same keys. `serve::keys` holds them against each other by their fingerprints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use shuniu_exchange::{KeyRing, KeyUnavailable};
use shuniu_ledger::SubjectKey;
use zeroize::Zeroize as _;

use crate::causes::causes;
use crate::secret_file::{self, SecretFileError};

const AUDIT_SIGNING: &str = "audit-signing";
const PSEUDONYM_MASTER: &str = "pseudonym-master-";
const SUBJECTS: &str = "subjects-";
/// Of the hash, in bytes: enough to tell keys apart, and of no use to whoever looks for one of 32 random bytes.
const FINGERPRINT_BYTES: usize = 16;

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

    /// The key of one year's subject marks in the audit log. Destroying it ends that year's linkage.
    ///
    /// # Errors
    /// See [`SecretFileError`]; also when there is none.
    pub fn subjects_of(&self, year: u16) -> Result<SecretKey, SecretFileError> {
        self.read(&subjects(year))
    }

    /// Makes a year's key, which nobody else may have made; says whether it was not there yet.
    pub(crate) fn make_subjects(&self, year: u16) -> Result<bool, SecretFileError> {
        self.make(&subjects(year))
    }

    /// Whether a year's key is there.
    pub(crate) fn has_subjects(&self, year: u16) -> bool {
        self.path(&subjects(year)).exists()
    }

    /// Takes a year's key away again that this hub has just made and never used.
    pub(crate) fn unmake_subjects(&self, year: u16) -> Result<(), SecretFileError> {
        let path = self.path(&subjects(year));
        std::fs::remove_file(&path).map_err(|source| SecretFileError::Io { attempt: "remove", path, source })
    }

    /// The subject keys of every year that there is one of.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn all_subjects(&self) -> Result<Vec<SubjectKey>, SecretFileError> {
        let mut keys = Vec::new();
        for name in self.names()? {
            if let Some(year) = name.strip_prefix(SUBJECTS).and_then(|year| year.parse().ok()) {
                keys.push(SubjectKey::new(year, self.subjects_of(year)?.expose()));
            }
        }
        Ok(keys)
    }

    /// The keys that all hubs of a directory share, by name, each with its fingerprint.
    pub(crate) fn fingerprints(&self) -> Result<BTreeMap<String, String>, SecretFileError> {
        let shared = |name: &String| {
            let number = name.strip_prefix(PSEUDONYM_MASTER).or_else(|| name.strip_prefix(SUBJECTS));
            name == AUDIT_SIGNING || number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let names = self.names()?.into_iter().filter(shared);
        names.map(|name| self.fingerprint(&name).map(|fingerprint| (name, fingerprint))).collect()
    }

    pub(crate) fn fingerprint(&self, name: &str) -> Result<String, SecretFileError> {
        let key = self.read(name)?;
        let digest = Sha256::new().chain_update("shuniu key fingerprint\n").chain_update(name);
        let digest = digest.chain_update("\n").chain_update(key.expose()).finalize();
        Ok(digest.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    fn names(&self) -> Result<Vec<String>, SecretFileError> {
        let failed =
            |source| SecretFileError::Io { attempt: "read the folder", path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
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
        let key = Self::subjects_of(self, year).map_err(unavailable(&subjects(year)))?;
        Ok(SubjectKey::new(year, key.expose()))
    }
}

fn pseudonym_master(version: u32) -> String {
    format!("{PSEUDONYM_MASTER}{version}")
}

/// The name of a year's key.
pub(crate) fn subjects(year: u16) -> String {
    format!("{SUBJECTS}{year:04}")
}

/// With the whole chain of causes: the exchange only passes it on.
fn unavailable(name: &str) -> impl FnOnce(SecretFileError) -> KeyUnavailable {
    move |error| KeyUnavailable { name: name.to_owned(), reason: causes(&error) }
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
        assert!(keys.subjects_of(2026).is_err(), "a year's key is not made by asking for it");
        assert!(keys.make_subjects(2026).unwrap());
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
