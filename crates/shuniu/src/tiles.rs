//! Where the configuration says that the audit log's tiles are: the hub and every command that reads them ask here.

use std::path::PathBuf;
use std::sync::Arc;

use shuniu_archive::{ObjectOptions, ObjectStart, TileError, TileFolder, TileObjects, Tiles};

use crate::config::{Config, TileStore};
use crate::secret_file::{self, SecretFileError};

/// The tiles cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The folder cannot be made.
    #[error("cannot use the folder of audit tiles")]
    Folder(#[source] TileError),
    /// A credential of the object store cannot be read, or others can read it too.
    #[error("cannot read a credential of the object store (`audit.s3`)")]
    Credential(#[source] SecretFileError),
    /// The authority's file cannot be read.
    #[error("cannot read `{path}`, the authority of the object store's certificate")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The object store cannot be used.
    #[error("cannot use the object store of audit tiles")]
    Objects(#[source] ObjectStart),
}

/// The tiles, for the sequencer: a folder is made, an object store is tried. Blocks.
///
/// # Errors
/// See [`TilesError`].
pub fn create(config: &Config) -> Result<Arc<dyn Tiles>, TilesError> {
    match config.audit.tiles {
        TileStore::Folder => {
            let folder = TileFolder::create(&config.hub.data_folder.join("audit"));
            Ok(Arc::new(folder.map_err(TilesError::Folder)?))
        }
        TileStore::S3 => Ok(Arc::new(TileObjects::create(&options(config)?).map_err(TilesError::Objects)?)),
    }
}

/// The tiles, for reading.
///
/// # Errors
/// See [`TilesError`].
pub fn open(config: &Config) -> Result<Arc<dyn Tiles>, TilesError> {
    match config.audit.tiles {
        TileStore::Folder => Ok(Arc::new(TileFolder::open(&config.hub.data_folder.join("audit")))),
        TileStore::S3 => Ok(Arc::new(TileObjects::open(&options(config)?).map_err(TilesError::Objects)?)),
    }
}

/// Where they are, for people.
#[must_use]
pub fn place(config: &Config) -> String {
    match config.audit.tiles {
        TileStore::Folder => config.hub.data_folder.join("audit").display().to_string(),
        TileStore::S3 => {
            let s3 = &config.audit.s3;
            format!("{}/{}/{}", s3.endpoint.trim_end_matches('/'), s3.bucket, s3.prefix)
        }
    }
}

fn options(config: &Config) -> Result<ObjectOptions, TilesError> {
    let (data_folder, s3) = (&config.hub.data_folder, &config.audit.s3);
    let credential = |file: &PathBuf| {
        let text = secret_file::read(&data_folder.join(file)).map_err(TilesError::Credential)?;
        Ok(text.trim().to_owned())
    };
    let authority = if s3.authority.as_os_str().is_empty() {
        None
    } else {
        let path = data_folder.join(&s3.authority);
        Some(std::fs::read(&path).map_err(|source| TilesError::Authority { path, source })?)
    };
    Ok(ObjectOptions {
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        key_id: credential(&s3.key_id_file)?,
        secret: credential(&s3.secret_file)?,
        authority,
    })
}
