//! Files to rows of cells, in the declared format and encoding.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::{Format, Header, Source};
use crate::encoding::Undecodable;

mod delimited;
mod json;
mod workbook;

/// A file that cannot be read as a whole. Nothing of it is sent.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file's first bytes belie the declared encoding.
    #[error("`{}` starts with the mark of {found}, and {declared} is declared", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// The declared encoding.
        declared: &'static str,
        /// What the mark says.
        found: &'static str,
    },
    /// Bytes that are not of the declared encoding, where rows cannot be told apart.
    #[error("`{}`: byte {at} is not {declared}, so no row can be told", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The offset in the file, counted from 0.
        at: u64,
        /// The declared encoding.
        declared: &'static str,
    },
    /// Columns that the connector maps and the file lacks. A wrong encoding shows here.
    #[error("`{}` has no column {}: is it the right file, and the right encoding?", path.display(), list(columns))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The absent columns.
        columns: Vec<String>,
    },
    /// A column that the connector maps stands in the header more than once.
    #[error("`{}` has the column `{column}` more than once", path.display())]
    TwiceColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A row longer than any row may be: most often a quote that is never closed.
    #[error("`{}`, row {row}: longer than {bytes_max} bytes", path.display())]
    LongRow {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The file ends inside a quoted field.
    #[error("`{}`, row {row}: a quote is opened and never closed", path.display())]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// The last row.
        row: u64,
    },
    /// Larger than a file of that format may be, because it is read at once.
    #[error("`{}` has {bytes} bytes, and at most {bytes_max} are read at once", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A packed file that is larger than a file may be once it is unpacked.
    #[error("`{}` unpacks to more than {bytes_max} bytes", path.display())]
    Unpacks {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A packed file whose texts, styles and names take too much memory, however few bytes they are in the file.
    #[error("`{}`: the workbook's texts and styles take more than {bytes_max} bytes", path.display())]
    Parts {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// Rows that take too much memory: they are many, or a cell stands far from the others, or nearly every row has a column of its own.
    #[error("`{}`: its rows take more than {bytes_max} bytes", path.display())]
    Sheet {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A cell in a column that no sheet has.
    #[error("`{}`, row {row}: a cell behind column {columns_max}", path.display())]
    Wide {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The limit.
        columns_max: u32,
    },
    /// Not JSON, or JSON without the declared array.
    #[error("`{}` is not JSON with an array of objects at `{array}`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the array should be.
        array: String,
        /// What JSON demands, where it is not JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Not a workbook, or a workbook without the declared sheet.
    #[error("`{}` is not a workbook with the declared sheet", path.display())]
    Workbook {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written to while it was read.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A pattern in `files` fits no file.
    #[error("no file fits `{pattern}`")]
    NoFile {
        /// The pattern.
        pattern: String,
    },
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
}

/// One row of a file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Counted from 1, the header included.
    pub(crate) number: u64,
    /// The offset of its first byte, where the format has one.
    pub(crate) at: Option<u64>,
    /// One for each column, or as many as the row has.
    pub(crate) cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The row has no such field.
    Missing,
    /// The field says that it has no value (JSON, empty workbook cells).
    Null,
    Text(String),
    Undecodable(Undecodable),
    /// An object or array where a value is expected.
    Nested,
}

/// The SHA-256 of a file.
pub(crate) type FileDigest = [u8; 32];

/// Reads the rows of one file.
pub(crate) enum Rows {
    Delimited(Box<delimited::Delimited>),
    /// Rows of a format that is read at once.
    Whole {
        columns: Vec<String>,
        rows: std::vec::IntoIter<Row>,
        digest: FileDigest,
    },
}

impl Rows {
    pub(crate) fn open(source: &Source, path: &Path) -> Result<Self, FileError> {
        match source.format {
            Format::Csv | Format::Tsv | Format::Text => {
                delimited::Delimited::open(source, path).map(|rows| Self::Delimited(Box::new(rows)))
            }
            Format::Xls | Format::Xlsx => workbook::open(source, path),
            Format::Json => json::open(source, path),
        }
    }

    /// The columns' names, in the order of the cells.
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Self::Delimited(rows) => rows.columns(),
            Self::Whole { columns, .. } => columns,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>, FileError> {
        match self {
            Self::Delimited(rows) => rows.next(),
            Self::Whole { rows, .. } => Ok(rows.next()),
        }
    }

    /// The digest of the bytes that were read, once the last row is.
    pub(crate) fn digest(self) -> FileDigest {
        match self {
            Self::Delimited(rows) => rows.digest(),
            Self::Whole { digest, .. } => digest,
        }
    }
}

/// Reads a whole file of at most `bytes_max`.
fn read_whole(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, FileDigest), FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let file = crate::files::open(path).map_err(read)?;
    let large = |bytes| FileError::Large { path: path.to_owned(), bytes, bytes_max };
    let bytes = file.metadata().map_err(read)?.len();
    if bytes > bytes_max {
        return Err(large(bytes));
    }
    // It may grow meanwhile.
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content).map_err(read)?;
    if content.len() as u64 > bytes_max {
        return Err(large(content.len() as u64));
    }
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&content).into();
    Ok((content, digest))
}

/// Header and rows of a format without bytes to speak of.
fn split_header(source: &Source, mut rows: Vec<Row>) -> (Vec<String>, Vec<Row>) {
    let columns = match source.header {
        Header::None => return (source.columns.clone(), rows),
        Header::Skip => source.columns.clone(),
        Header::FirstRow => {
            let texts = rows.first().map(|row| row.cells.as_slice()).unwrap_or_default().iter();
            texts
                .map(|cell| match cell {
                    Cell::Text(text) => text.clone(),
                    _ => String::new(),
                })
                .collect()
        }
    };
    if !rows.is_empty() {
        rows.remove(0);
    }
    (columns, rows)
}
