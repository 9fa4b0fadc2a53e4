//! What to do about a disk that is full or a place that may not be written to, whatever the command was.

use std::error::Error;
use std::io::{self, ErrorKind};

const FULL: &str =
    "the disk is full: make room on it (`df -h FOLDER` shows how much there is), then run this again";
const READ_ONLY: &str = "nothing can be written there: name another folder, or have the file system made writable, then run this again";
const NOT_OURS: &str = "it belongs to somebody else, or its mode forbids it (`ls -ld` shows both): run this as its owner, or name a folder of \
     your own";
const DISK: &str = "the database's disk is full or broken: look at the room on it (`df -h FOLDER`) and at the kernel's messages (`dmesg`)";

/// SQLite's words, which it gives instead of the system's error.
const OF_SQLITE: [(&str, &str); 5] = [
    ("database or disk is full", FULL),
    ("attempt to write a readonly database", READ_ONLY),
    ("unable to open database file", NOT_OURS),
    // It found no room for the file beside the database that its readers share (SQLITE_IOERR_SHMSIZE).
    ("(code: 4874)", FULL),
    ("disk I/O error", DISK),
];

/// For a failure with such a cause.
pub(super) fn advice(failure: &(dyn Error + 'static)) -> Option<&'static str> {
    let (mut found, mut cause) = (None, Some(failure));
    while let Some(error) = cause {
        found = of_one(error).or(found);
        cause = error.source();
    }
    found
}

fn of_one(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(FULL),
            ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
            ErrorKind::PermissionDenied => Some(NOT_OURS),
            _ => None,
        };
    }
    let text = error.to_string();
    OF_SQLITE.iter().find(|(words, _)| text.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write `x`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn what_to_do_is_told_by_the_cause_however_deep() {
        for (errno, expected) in
            [(28, Some(FULL)), (122, Some(FULL)), (30, Some(READ_ONLY)), (13, Some(NOT_OURS)), (2, None)]
        {
            assert_eq!(advice(&Outer(io::Error::from_raw_os_error(errno))), expected, "{errno}");
        }
        let said = io::Error::other("error returned from database: (code: 13) database or disk is full");
        assert_eq!(
            advice(&Outer(io::Error::other(said.to_string()))),
            None,
            "an error of the system is not read as words"
        );
        assert_eq!(advice(&sqlx::Error::Protocol(said.to_string())), Some(FULL));
    }
}
