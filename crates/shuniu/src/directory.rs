//! Opening the directory where the configuration says that it is: the hub and every command do it here.

use std::path::PathBuf;

use shuniu_store::{Database, Store, StoreError};

use crate::config::{Config, DirectoryStore};
use crate::secret_file::{self, SecretFileError};

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

/// Opens the directory that the configuration names.
///
/// # Errors
/// See [`DirectoryError`].
pub async fn open(config: &Config) -> Result<Store, DirectoryError> {
    Ok(Store::open(database(config)?).await?)
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
