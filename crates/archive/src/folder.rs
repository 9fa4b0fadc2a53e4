//! Tiles in a folder: `checkpoint`, `audit.pub`, `tile/..` (C2SP tlog-tiles).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use shuniu_ledger::Tile;
use shuniu_ledger::note::NoteVerifier;
use shuniu_ledger::tile::TileName;

use crate::bounded::{CHECKPOINT_BYTES_MAX, KEY_BYTES_MAX, read_bounded, read_text_bounded};
use crate::tiles::{TileError, Tiles, bytes_max, compare, cut, size_of};

/// Files that are synced at once: the file system writes their journal entries together.
const SYNCS_AT_ONCE: usize = 8;

/// A folder of tiles.
#[derive(Debug, Clone)]
pub struct TileFolder {
    root: PathBuf,
}

impl TileFolder {
    /// The folder, made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(root: &Path) -> Result<Self, TileError> {
        fs::create_dir_all(root).map_err(io_error("make the folder", root))?;
        Ok(Self::open(root))
    }

    /// A folder that is there, for reading.
    #[must_use]
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file beside the tiles; `None` when there is none.
    fn beside(&self, name: &str, bytes_max: u64) -> Result<Option<String>, TileError> {
        let path = self.root.join(name);
        match read_text_bounded(&path, bytes_max) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Puts a file in the place of another, whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TileError> {
        let path = self.root.join(name);
        let temporary = temporary_of(&path);
        write_new(&temporary, bytes)?.sync_all().map_err(io_error("sync", &temporary))?;
        fs::rename(&temporary, &path).map_err(io_error("rename", &path))?;
        sync_folder(&self.root)
    }

    fn path_of(&self, tile: TileName) -> PathBuf {
        self.root.join(tile.to_string())
    }

    /// The folders from the root down to the tile's own, made as needed.
    fn make_folders(&self, file: &Path, touched: &mut BTreeSet<PathBuf>) -> Result<(), TileError> {
        let Some(folder) = file.parent() else { return Ok(()) };
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(io_error("make the folder", folder))?;
        }
        // A new name is durable when the folder that holds it is synced: also that of a folder. Whether the folder is
        // new or left by a crash before its own sync cannot be told, so the whole way is synced.
        let way = folder.ancestors().take_while(|folder| folder.starts_with(&self.root));
        touched.extend(way.map(Path::to_owned));
        Ok(())
    }
}

impl Tiles for TileFolder {
    fn read(&self, tile: TileName) -> Result<Vec<u8>, TileError> {
        let path = self.path_of(tile);
        match read_bounded(&path, bytes_max(tile)) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", &path)(error)),
        }
        // A partial tile goes when the full one is there: it is the full one's beginning.
        if tile.is_full() {
            return Err(TileError::Missing { tile });
        }
        let path = self.path_of(tile.full());
        let bytes = match read_bounded(&path, bytes_max(tile.full())) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(TileError::Missing { tile }),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        cut(tile, &bytes)
    }

    fn put(&self, tiles: &[Tile]) -> Result<(), TileError> {
        let mut touched = BTreeSet::new();
        let mut written = Vec::new();
        for tile in tiles {
            let path = self.path_of(tile.name);
            self.make_folders(&path, &mut touched)?;
            if path.exists() {
                same_content(tile, &path)?;
                continue;
            }
            let temporary = temporary_of(&path);
            let file = write_new(&temporary, &tile.bytes)?;
            written.push((tile, path, temporary, file));
        }
        // Content before name: a crash must not leave a name with half a tile.
        let files: Vec<&File> = written.iter().map(|(_, _, _, file)| file).collect();
        sync_files(&files).map_err(io_error("sync the tiles of", &self.root))?;
        for (tile, path, temporary, _) in &written {
            match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                // Another replica was faster.
                Err(rustix::io::Errno::EXIST) => {
                    same_content(tile, path)?;
                    fs::remove_file(temporary).map_err(io_error("remove", temporary))?;
                }
                Err(error) => return Err(io_error("rename", path)(error.into())),
            }
        }
        touched.iter().rev().try_for_each(|folder| sync_folder(folder))
    }

    fn checkpoint(&self) -> Result<Option<String>, TileError> {
        self.beside("checkpoint", CHECKPOINT_BYTES_MAX)
    }

    fn public_key(&self) -> Result<Option<String>, TileError> {
        self.beside("audit.pub", KEY_BYTES_MAX)
    }

    fn publish_key(&self, key: &NoteVerifier) -> Result<(), TileError> {
        self.replace("audit.pub", format!("{key}\n").as_bytes())
    }

    fn publish(&self, note: &str) -> Result<(), TileError> {
        // A replica that was held up must not show an old checkpoint in the place of a newer one.
        let shown = self.checkpoint()?;
        if shown.as_deref().and_then(size_of) > size_of(note) {
            return Ok(());
        }
        self.replace("checkpoint", note.as_bytes())
    }

    fn prune(&self, full: &[TileName]) {
        for tile in full {
            let mut folder = self.path_of(*tile).into_os_string();
            folder.push(".p");
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, %tile, "the partial tiles of a full one cannot be removed");
                }
                _ => {}
            }
        }
    }
}

/// Writes a file that nobody reads yet. One that a crash left is written over.
fn write_new(path: &Path, bytes: &[u8]) -> Result<File, TileError> {
    let mut file = File::create(path).map_err(io_error("make", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    Ok(file)
}

/// Named after the process, so that two replicas on one folder do not write one file.
fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn sync_files(files: &[&File]) -> io::Result<()> {
    let share = files.len().div_ceil(SYNCS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let syncing: Vec<_> = files
            .chunks(share)
            .map(|files| scope.spawn(move || files.iter().try_for_each(|file| file.sync_data())))
            .collect();
        syncing.into_iter().try_for_each(|syncing| {
            syncing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs was ended")))
        })
    })
}

fn sync_folder(folder: &Path) -> Result<(), TileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync the folder", folder))
}

fn same_content(tile: &Tile, path: &Path) -> Result<(), TileError> {
    let held = match read_bounded(path, bytes_max(tile.name)) {
        Ok(held) => held,
        // Whatever it begins with, it is not what the topic gives.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(TileError::Different { tile: tile.name, at: tile.bytes.len() });
        }
        Err(error) => return Err(io_error("read", path)(error)),
    };
    compare(tile, &held)
}

fn io_error(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TileError + use<> {
    let path = path.to_owned();
    move |source| TileError::Io { attempted, path, source }
}
