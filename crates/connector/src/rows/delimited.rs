//! CSV, TSV and lines with blanks. Fields are parted at byte level and decoded one by one: no encoding that can be
//! declared has a comma, tab, quote, blank or line end inside a character.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use csv::ByteRecord;
use sha2::{Digest as _, Sha256};

use super::{Cell, FileDigest, FileError, Row};
use crate::config::{Encoding, Format, Header, Source};
use crate::encoding;

/// No row of a register is longer.
const ROW_BYTES_MAX: u64 = 8 << 20;

pub(crate) struct Delimited {
    path: PathBuf,
    encoding: Encoding,
    /// In a text file the last column takes the rest of the line.
    splits_lines: bool,
    quotes: bool,
    reader: csv::Reader<Counted>,
    record: ByteRecord,
    columns: Vec<String>,
    number: u64,
    /// The length of the byte order mark, which the reader does not see.
    skipped: u64,
}

/// The file, hashed and counted on its way.
struct Counted {
    head: std::io::Cursor<Vec<u8>>,
    file: BufReader<File>,
    hash: Sha256,
    /// Bytes since the last row that was whole.
    since_row: u64,
    quotes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row > ROW_BYTES_MAX {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        let mut read = self.head.read(buffer)?;
        if read == 0 {
            read = self.file.read(buffer)?;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        self.hash.update(bytes);
        self.since_row += bytes.len() as u64;
        self.quotes += bytes.iter().filter(|byte| **byte == b'"').count() as u64;
        Ok(read)
    }
}

impl Delimited {
    pub(super) fn open(source: &Source, path: &Path) -> Result<Self, FileError> {
        let (counted, skipped) = counted(source.encoding, path)?;
        let splits_lines = source.format == Format::Text;
        let quotes = source.quotes && !splits_lines;
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .quoting(quotes)
            // With the reader's own CRLF a row would start at the line feed of the row before.
            .terminator(csv::Terminator::Any(b'\n'))
            .delimiter(match source.format {
                Format::Tsv => b'\t',
                // A line of text is one field here, which is parted at blanks later; no text has this byte.
                Format::Text => 0,
                _ => b',',
            })
            .from_reader(counted);
        let mut rows = Self {
            path: path.to_owned(),
            encoding: source.encoding,
            splits_lines,
            quotes,
            reader,
            record: ByteRecord::new(),
            columns: source.columns.clone(),
            number: 0,
            skipped,
        };
        if source.header != Header::None && !splits_lines {
            rows.read_header(source.header)?;
        }
        Ok(rows)
    }

    fn read_header(&mut self, header: Header) -> Result<(), FileError> {
        let Some(row) = self.next()? else { return Ok(()) };
        if header == Header::FirstRow {
            let at = row.at.unwrap_or_default();
            let texts = row.cells.into_iter().map(|cell| match cell {
                Cell::Text(text) => Ok(text.trim().to_owned()),
                Cell::Undecodable(undecodable) => Err(FileError::Undecodable {
                    path: self.path.clone(),
                    at: at + undecodable.at as u64,
                    declared: self.encoding.name(),
                }),
                Cell::Missing | Cell::Null | Cell::Nested => Ok(String::new()),
            });
            self.columns = texts.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn digest(self) -> FileDigest {
        self.reader.into_inner().hash.finalize().into()
    }

    pub(super) fn next(&mut self) -> Result<Option<Row>, FileError> {
        loop {
            let more =
                self.reader.read_byte_record(&mut self.record).map_err(|error| self.read_error(error))?;
            if !more {
                // Quotes come in pairs; an odd one was opened and swallowed all rows after it.
                return if self.quotes && self.reader.get_ref().quotes % 2 == 1 {
                    Err(FileError::OpenQuote { path: self.path.clone(), row: self.number })
                } else {
                    Ok(None)
                };
            }
            self.reader.get_mut().since_row = 0;
            self.number += 1;
            let at = self.record.position().map(|position| position.byte() + self.skipped);
            let cells = self.cells();
            // A line without anything is no row.
            if cells != [Cell::Text(String::new())] {
                return Ok(Some(Row { number: self.number, at, cells }));
            }
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let last = self.record.len().saturating_sub(1);
        let fields = self.record.iter().enumerate().map(|(position, field)| match field {
            // Of CRLF, the reader leaves the carriage return.
            [field @ .., b'\r'] if position == last => field,
            field => field,
        });
        if self.splits_lines {
            let parts = fields.flat_map(|line| line.splitn(self.columns.len().max(1), |byte| *byte == b' '));
            parts.map(|field| self.cell(field)).collect()
        } else {
            fields.map(|field| self.cell(field)).collect()
        }
    }

    fn cell(&self, field: &[u8]) -> Cell {
        match self.encoding.decode(field) {
            Ok(text) => Cell::Text(text),
            Err(undecodable) => Cell::Undecodable(undecodable),
        }
    }

    fn read_error(&self, error: csv::Error) -> FileError {
        let source = match error.into_kind() {
            csv::ErrorKind::Io(source) => source,
            // Nothing else can fail: fields are bytes and rows may differ in length.
            _ => std::io::Error::from(std::io::ErrorKind::InvalidData),
        };
        if source.kind() == std::io::ErrorKind::FileTooLarge {
            return FileError::LongRow {
                path: self.path.clone(),
                row: self.number + 1,
                bytes_max: ROW_BYTES_MAX,
            };
        }
        FileError::Read { path: self.path.clone(), source }
    }
}

/// The file behind its byte order mark, which counts for the digest alone.
fn counted(encoding: Encoding, path: &Path) -> Result<(Counted, u64), FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(1 << 16, crate::files::open(path).map_err(read)?);
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head).map_err(read)?;
    let length = encoding::byte_order_mark(encoding, &head).map_err(|found| FileError::Mark {
        path: path.to_owned(),
        declared: encoding.name(),
        found,
    })?;
    let rest = head.split_off(length.min(head.len()));
    let mut hash = Sha256::new();
    hash.update(&head);
    Ok((Counted { head: std::io::Cursor::new(rest), file, hash, since_row: 0, quotes: 0 }, length as u64))
}
