//! The person at the machine: who works on a data folder must own it, and is named in the audit log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use shuniu_ledger::Actor;

/// Somebody who may not work on a data folder.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The folder is not there, or cannot be looked at.
    #[error("cannot look at the data folder `{folder}`")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder is somebody else's.
    #[error("the data folder `{folder}` belongs to {owner}, not to {operator}: work as its owner")]
    NotOwner {
        /// The folder.
        folder: PathBuf,
        /// Its owner's login name.
        owner: String,
        /// The asking person's login name.
        operator: String,
    },
}

/// The owner of a data folder, at the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    login: String,
}

impl Operator {
    /// Proves that who runs this process owns the folder.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub fn of(data_folder: &Path) -> Result<Self, OperatorError> {
        let owner = fs::metadata(data_folder)
            .map_err(|source| OperatorError::Folder { folder: data_folder.to_owned(), source })?
            .uid();
        let operator = rustix::process::geteuid().as_raw();
        if owner == operator {
            Ok(Self { login: login(operator) })
        } else {
            Err(OperatorError::NotOwner {
                folder: data_folder.to_owned(),
                owner: login(owner),
                operator: login(operator),
            })
        }
    }

    /// The login name.
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The operator as the audit log names people.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::operator(&self.login)
    }
}

/// The login name of a user id, or the id itself where the machine has no name for it.
fn login(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_a_data_folder_works_on_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Operator::of(folder.path()).is_ok());
        assert!(matches!(Operator::of(&folder.path().join("none")), Err(OperatorError::Folder { .. })));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(4_242), None).unwrap();
            assert!(matches!(Operator::of(folder.path()), Err(OperatorError::NotOwner { .. })));
        }
    }
}
