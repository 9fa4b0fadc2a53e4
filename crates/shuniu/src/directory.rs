//! Opening the directory where the configuration says that it is: the hub and every command do it here.

use std::path::PathBuf;

use shuniu_store::{Database, Store, StoreError};

use crate::config::{Config, DirectoryStore};
use crate::secret_file::{self, SecretFileError};
use crate::seen_policy::{self, SeenError};

/// The directory cannot be opened. No message shows the connection string.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The connection string cannot be read, or others can read it too.
    #[error("cannot read the connection string of the directory's database (`directory.url_file`)")]
    UrlFile(#[source] SecretFileError),
    /// A connection string is there, but the configuration in use says SQLite.
    #[error(
        "`{url_file}` is there, but this configuration says `directory.store = \"sqlite\"`: give `--config` with the hub's \
         configuration, or take the file away if the directory is the data folder's own"
    )]
    OtherStore {
        /// The file.
        url_file: PathBuf,
    },
    /// The directory is older than one that was in use with this data folder: lost, emptied or put back.
    #[error(
        "the directory is at policy version {found}, and this data folder has seen version {newest} (`{file}`): certificates \
         and grants that were revoked since would be good again. Put the newest directory back: a backup's, of which \
         `shuniu restore` says which revocations came after it (docs/BACKUP.md). Or, if this older directory is meant: \
         delete `{file}`, and revoke again everything that was revoked since, before the hub starts"
    )]
    Older {
        /// Its policy version.
        found: u64,
        /// The newest that was seen.
        newest: u64,
        /// Where that is kept.
        file: PathBuf,
    },
    /// Whether the directory is the newest cannot be told.
    #[error("cannot tell whether the directory is the newest")]
    Seen(#[from] SeenError),
    /// The data folder's database cannot be opened.
    #[error("cannot open its database `{}`", path.display())]
    File {
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The database that the configuration names.
///
/// # Errors
/// See [`DirectoryError`].
pub fn database(config: &Config) -> Result<Database, DirectoryError> {
    let data_folder = &config.hub.data_folder;
    let url_file = data_folder.join(&config.directory.url_file);
    match config.directory.store {
        // Who forgets `--config` would write to a new, empty directory, and nobody would notice.
        DirectoryStore::Sqlite if url_file.exists() => Err(DirectoryError::OtherStore { url_file }),
        DirectoryStore::Sqlite => Ok(Database::file(&data_folder.join("directory.db"))),
        DirectoryStore::Postgresql => {
            let url = secret_file::read(&url_file).map_err(DirectoryError::UrlFile)?;
            Ok(Database::postgres(&url, config.directory.settings())?)
        }
    }
}

/// Opens the directory that the configuration names, unless it is older than one that the data folder has seen.
///
/// # Errors
/// See [`DirectoryError`].
pub async fn open(config: &Config) -> Result<Store, DirectoryError> {
    let database = database(config)?;
    let data_folder = &config.hub.data_folder;
    let newest = seen_policy::newest(data_folder)?;
    let older = |found| DirectoryError::Older { found, newest, file: seen_policy::file(data_folder) };
    if newest > 0 && config.directory.store == DirectoryStore::Sqlite {
        // Before an empty one is made in the place of one that is gone.
        let file = std::fs::metadata(data_folder.join("directory.db"));
        if file.map_or(true, |file| file.len() == 0) {
            return Err(older(0));
        }
    }
    let store = Store::open(database).await.map_err(|source| match config.directory.store {
        DirectoryStore::Sqlite => DirectoryError::File { path: data_folder.join("directory.db"), source },
        DirectoryStore::Postgresql => source.into(),
    })?;
    let version = store.policy_version().await.map_err(DirectoryError::from);
    let fits = version.and_then(|version| {
        if version < newest {
            return Err(older(version));
        }
        Ok(seen_policy::keep(data_folder, version)?)
    });
    match fits {
        Ok(()) => Ok(store),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

/// Keeps the version that a command has written. The hub does so by itself, but it need not run.
///
/// # Errors
/// See [`DirectoryError`].
pub(crate) fn written(config: &Config, version: u64) -> Result<(), DirectoryError> {
    Ok(seen_policy::keep(&config.hub.data_folder, version)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.data_folder = folder.path().to_owned();
        (folder, config)
    }

    #[tokio::test]
    async fn a_command_without_the_hubs_configuration_does_not_make_a_second_directory() {
        let (folder, config) = config();
        open(&config).await.unwrap().close().await;
        let url_file = folder.path().join("keys/directory-url");
        secret_file::create_once(&url_file, b"postgres://hub:geheim@localhost/d").unwrap();
        let error = open(&config).await.unwrap_err();
        assert!(error.to_string().contains("give `--config`"), "{error}");
    }

    #[tokio::test]
    async fn p6_an_older_directory_than_was_seen_is_refused_until_a_person_says_that_it_is_meant() {
        let (folder, config) = config();
        let path = |name: &str| folder.path().join(name);
        let older = |error: DirectoryError| match error {
            DirectoryError::Older { found, newest, .. } => {
                assert!(error.to_string().contains("policy-version"), "{error}");
                (found, newest)
            }
            error => panic!("{error}"),
        };
        open(&config).await.unwrap().close().await;
        std::fs::copy(path("directory.db"), path("old")).unwrap();
        let store = open(&config).await.unwrap();
        let first = store.policy_version().await.unwrap();
        let newest = store.write(&[], &[]).await.unwrap();
        written(&config, newest).unwrap();
        store.close().await;
        open(&config).await.unwrap().close().await;

        std::fs::rename(path("directory.db"), path("new")).unwrap();
        assert_eq!(older(open(&config).await.unwrap_err()), (0, newest));
        assert!(!path("directory.db").exists(), "no empty one is made");
        std::fs::write(path("directory.db"), "").unwrap();
        assert_eq!(older(open(&config).await.unwrap_err()), (0, newest));
        std::fs::copy(path("old"), path("directory.db")).unwrap();
        assert_eq!(older(open(&config).await.unwrap_err()), (first, newest));
        std::fs::copy(path("new"), path("directory.db")).unwrap();
        open(&config).await.unwrap().close().await;
        std::fs::copy(path("old"), path("directory.db")).unwrap();
        std::fs::remove_file(path("policy-version")).unwrap();
        open(&config).await.unwrap().close().await;
    }

    #[test]
    fn the_connection_string_is_a_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, mut config) = config();
        config.directory.store = DirectoryStore::Postgresql;
        assert!(matches!(database(&config), Err(DirectoryError::UrlFile(_))));
        let url_file = folder.path().join("keys/directory-url");
        secret_file::create_once(&url_file, b"postgres://hub:geheim@localhost:x/d\n").unwrap();
        let error = database(&config).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
        std::fs::write(&url_file, "postgres://hub:geheim@localhost/d\n").unwrap();
        assert!(database(&config).is_ok());
        std::fs::set_permissions(&url_file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            database(&config),
            Err(DirectoryError::UrlFile(SecretFileError::Exposed { mode: 0o644, .. }))
        ));
    }
}
