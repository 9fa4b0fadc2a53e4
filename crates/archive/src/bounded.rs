//! Reading files of a folder that somebody else has made.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// A signed checkpoint, with room for many witnesses' signatures.
pub const CHECKPOINT_BYTES_MAX: u64 = 64 << 10;
/// A public key is one short line.
pub const KEY_BYTES_MAX: u64 = 4 << 10;

/// Reads a file of at most `bytes_max`. Whoever verifies a log does so because they do not trust it: its folder may hold
/// a file without end, or a pipe that nobody writes to.
///
/// # Errors
/// When it cannot be read, is no file, or goes on behind the bound.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A pipe would keep `open` waiting, so this comes first.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it has more than the {bytes_max} bytes that such a file may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// As [`read_bounded`], of text.
///
/// # Errors
/// As [`read_bounded`], and when it is not UTF-8.
pub fn read_text_bounded(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read_bounded(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
