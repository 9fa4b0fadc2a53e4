//! Which files a source has, and what is known of each before it is read.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use crate::config::{Source, SourceTime};
use crate::rows::{FileDigest, FileError};
use crate::transform::hex;

/// The files in the order in which they are sent.
pub(crate) fn resolve(source: &Source) -> Result<Vec<PathBuf>, FileError> {
    if !source.glob {
        return Ok(source.files.iter().map(PathBuf::from).collect());
    }
    let mut all = Vec::new();
    for pattern in &source.files {
        let mut found = matching(pattern)?;
        if found.is_empty() {
            return Err(FileError::NoFile { pattern: pattern.clone() });
        }
        found.sort();
        all.append(&mut found);
    }
    Ok(all)
}

/// Files of one folder whose name fits; the pattern's signs stand in its last part.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, FileError> {
    let path = Path::new(pattern);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name: Vec<char> = path.file_name().unwrap_or_default().to_string_lossy().chars().collect();
    let read = |source| FileError::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let candidate: Vec<char> = entry.file_name().to_string_lossy().chars().collect();
        if fits(&name, &candidate) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `*` stands for any characters, `?` for one.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < name.len() {
        match pattern.get(at.0) {
            Some('*') => {
                star = Some((at.0 + 1, at.1));
                at.0 += 1;
            }
            Some(c) if *c == '?' || Some(c) == name.get(at.1) => at = (at.0 + 1, at.1 + 1),
            _ => match star {
                // The last star takes one character more.
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    at = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at.0).all(|c| *c == '*')
}

/// Opens a file. A pipe would keep `open` waiting and a device has no end, so what it is comes first.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    File::open(path)
}

/// As text, of at most `bytes_max`.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let bytes = open(path)?.take(bytes_max.saturating_add(1)).read_to_string(&mut text)?;
    if bytes as u64 > bytes_max {
        let what = format!("it has more than the {bytes_max} bytes that such a file may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// The digest of the file as it stands.
pub(crate) fn digest(path: &Path) -> Result<FileDigest, FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(open(path).map_err(read)?);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        match buffer.get(..count) {
            Some([]) | None => return Ok(hash.finalize().into()),
            Some(bytes) => hash.update(bytes),
        }
    }
}

/// The header `batch`: the file's name and the first digits of its digest.
pub(crate) fn batch_name(path: &Path, digest: &FileDigest) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A header has at most 256 bytes; a character of a name has at most 4.
    // The hub takes no control character there.
    let name: String = name.chars().filter(|c| !c.is_control()).take(50).collect();
    format!("{name}@{}", hex(digest.first_chunk::<6>().unwrap_or(&[0; 6])))
}

/// The header `source-time`, RFC 3339 in UTC.
pub(crate) fn source_time(kind: SourceTime, path: &Path) -> Result<Option<String>, FileError> {
    match kind {
        SourceTime::None => Ok(None),
        SourceTime::FileName => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok(first_date(&name).map(|date| format!("{date}T00:00:00Z")))
        }
        SourceTime::Modified => {
            let read = |source| FileError::Read { path: path.to_owned(), source };
            let modified = std::fs::metadata(path).and_then(|facts| facts.modified()).map_err(read)?;
            let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let instant = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            Ok(instant.map(|instant| instant.to_string()))
        }
    }
}

/// The first `YYYY-MM-DD` in a text.
fn first_date(text: &str) -> Option<jiff::civil::Date> {
    let starts = text.char_indices().map(|(at, _)| at);
    starts.filter_map(|at| text.get(at..at + 10)).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        let fits = |pattern: &str, name: &str| {
            fits(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        assert!(fits("*.tsv", "001_x.tsv"));
        assert!(fits("towns-????-*.csv", "towns-2016-07-31.csv"));
        assert!(fits("*", ""));
        assert!(!fits("*.tsv", "a.tsv.bak"));
        assert!(!fits("a?", "a"));
    }

    #[test]
    fn what_is_no_file_and_what_is_over_its_bound_is_refused() {
        for path in ["/dev/zero", "/"] {
            assert_eq!(open(Path::new(path)).unwrap_err().to_string(), "it is not a file", "{path}");
            assert!(digest(Path::new(path)).is_err());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "1234");
        assert!(read_text(&path, 3).unwrap_err().to_string().contains("more than the 3 bytes"));
    }

    #[test]
    fn a_date_in_the_name_is_the_source_time() {
        let time = source_time(SourceTime::FileName, Path::new("x/towns-2016-07-31.csv")).unwrap();
        assert_eq!(time.as_deref(), Some("2016-07-31T00:00:00Z"));
        assert_eq!(source_time(SourceTime::FileName, Path::new("重庆.csv")).unwrap(), None);
    }
}
