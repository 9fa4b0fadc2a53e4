//! Files of a backup: made under another name, durable before they take theirs, for their owner alone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::BackupError;
use crate::config::{Config, DirectoryStore, RecordStore, TileStore};

/// Folders in folders.
const DEPTH_MAX: usize = 16;
/// Of keys and certificates: one or two for each system, and the old ones.
const PAPERS_MAX: usize = 100_000;

/// The folder in which a folder is made before it has its name.
pub(super) fn partial(folder: &Path) -> Result<PathBuf, BackupError> {
    let mut name =
        folder.file_name().ok_or_else(|| BackupError::Name { path: folder.to_owned() })?.to_owned();
    name.push(".partial");
    let partial = folder.with_file_name(name);
    match fs::DirBuilder::new().mode(0o700).create(&partial) {
        Ok(()) => Ok(partial),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Partial { folder: partial })
        }
        Err(error) => Err(BackupError::io("make the folder", &partial)(error)),
    }
}

/// Gives a finished folder its name, for good. An empty folder of that name is replaced.
pub(super) fn put_in_place(partial: &Path, folder: &Path) -> Result<(), BackupError> {
    sync_folders(partial, 0)?;
    fs::rename(partial, folder).map_err(BackupError::io("rename to", folder))?;
    sync(parent(folder))
}

/// Removes what was made of a folder before it failed.
pub(super) fn discard(partial: &Path) {
    if let Err(error) = fs::remove_dir_all(partial) {
        tracing::warn!(path = %partial.display(), %error, "what was begun cannot be removed");
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn make_folder(path: &Path) -> Result<(), BackupError> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(BackupError::io("make the folder", path))
}

/// A new file, durable, its name not yet.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut file = create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(BackupError::io("write", path))
}

/// Copies a file into one that is not there.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    make_folder(parent(to))?;
    let mut source = File::open(from).map_err(BackupError::io("open", from))?;
    let mut target = create(to).map_err(BackupError::io("make", to))?;
    io::copy(&mut source, &mut target).map_err(BackupError::io("copy to", to))?;
    target.sync_all().map_err(BackupError::io("sync", to))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a file's content, or a folder's names, durable.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::io("sync", path))
}

fn sync_folders(folder: &Path, depth: usize) -> Result<(), BackupError> {
    if depth > DEPTH_MAX {
        return Err(BackupError::Overfull { folder: folder.to_owned(), rule: "16 folders in folders" });
    }
    for entry in fs::read_dir(folder).map_err(BackupError::io("list", folder))? {
        let entry = entry.map_err(BackupError::io("list", folder))?;
        if entry.file_type().map_err(BackupError::io("look at", &entry.path()))?.is_dir() {
            sync_folders(&entry.path(), depth + 1)?;
        }
    }
    sync(folder)
}

/// All files below a folder, by their names from it.
pub(super) fn all(folder: &Path) -> Result<Vec<String>, BackupError> {
    let mut found = Vec::new();
    list(folder, Path::new(""), 0, &mut |name, _| {
        found.push(name.to_owned());
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
}

fn list(
    root: &Path,
    below: &Path,
    depth: usize,
    each: &mut dyn FnMut(&str, &Path) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let folder = root.join(below);
    if depth > DEPTH_MAX {
        return Err(BackupError::Overfull { folder, rule: "16 folders in folders" });
    }
    for entry in fs::read_dir(&folder).map_err(BackupError::io("list", &folder))? {
        let entry = entry.map_err(BackupError::io("list", &folder))?;
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        // Links are followed once, to files; a folder behind one could be this one.
        let kind = entry.file_type().map_err(BackupError::io("look at", &path))?;
        if kind.is_dir() {
            list(root, &name, depth + 1, each)?;
        } else if path.is_file() {
            let text = name.to_str().ok_or_else(|| BackupError::Name { path: path.clone() })?;
            each(text, &path)?;
        }
    }
    Ok(())
}

/// Keys, certificates, and what else lies in a data folder beside directory, tiles and records.
pub(super) struct Papers {
    /// By their names in the data folder, with where they are; whether they are secret.
    inside: BTreeMap<String, (PathBuf, bool)>,
    outside: Vec<String>,
}

impl Papers {
    pub(super) fn of(config: &Config) -> Result<Self, BackupError> {
        let data = &config.hub.data_folder;
        let mut papers = Self { inside: BTreeMap::new(), outside: Vec::new() };
        for (folder, all_secret) in [("keys", true), ("ca", false), ("kafka", false)] {
            if !data.join(folder).is_dir() {
                continue;
            }
            list(data, Path::new(folder), 0, &mut |name, path| {
                let secret = all_secret || Path::new(name).extension().is_some_and(|it| it == "key");
                papers.inside.insert(name.to_owned(), (path.to_owned(), secret));
                if papers.inside.len() > PAPERS_MAX {
                    return Err(BackupError::Overfull { folder: data.join(folder), rule: "100,000 files" });
                }
                Ok(())
            })?;
        }
        for name in ["refusals.spool", "covered"] {
            papers.add(data, Path::new(name), false)?;
        }
        for (path, secret) in named(config) {
            papers.add(data, path, secret)?;
        }
        Ok(papers)
    }

    /// A file that is named in the configuration.
    fn add(&mut self, data: &Path, path: &Path, secret: bool) -> Result<(), BackupError> {
        let place = data.join(path);
        if !place.is_file() {
            return Ok(());
        }
        let within = place.strip_prefix(data).ok().filter(|name| is_plain(name));
        let Some(name) = within else {
            self.outside.push(place.display().to_string());
            return Ok(());
        };
        let text = name.to_str().ok_or_else(|| BackupError::Name { path: place.clone() })?;
        let known = self.inside.entry(text.to_owned()).or_insert((place, secret));
        known.1 |= secret;
        Ok(())
    }

    /// Copies them; gives the names of those left out.
    pub(super) fn copy(&self, to: &Path, without_keys: bool) -> Result<Vec<String>, BackupError> {
        let mut left_out = Vec::new();
        for (name, (path, secret)) in &self.inside {
            if *secret && without_keys {
                left_out.push(name.clone());
            } else {
                copy(path, &to.join(name))?;
            }
        }
        Ok(left_out)
    }

    /// Files that the configuration names and that are not in the data folder.
    pub(super) fn outside(&self) -> Vec<String> {
        self.outside.clone()
    }
}

/// Files that this configuration uses; whether they are secret.
fn named(config: &Config) -> Vec<(&Path, bool)> {
    let mut named: Vec<(&Path, bool)> =
        vec![(&config.tls.certificate, false), (&config.tls.key, true), (&config.tls.authority, false)];
    if config.directory.store == DirectoryStore::Postgresql {
        named.push((&config.directory.url_file, true));
    }
    if config.records.store == RecordStore::Kafka && config.kafka.tls {
        let kafka = &config.kafka;
        named.extend([(kafka.certificate.as_path(), false), (&kafka.key, true), (&kafka.authority, false)]);
    }
    if config.audit.tiles == TileStore::S3 {
        let s3 = &config.audit.s3;
        named.extend([(s3.key_id_file.as_path(), true), (&s3.secret_file, true), (&s3.authority, false)]);
    }
    named
}

/// Whether a path leads down and nowhere else.
pub(super) fn is_plain(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Runs what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Ended)?
}
