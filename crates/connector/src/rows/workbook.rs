//! XLS and XLSX. A number cell reads as its shortest decimal, a date cell as ISO 8601.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use calamine::{Data, Range, Reader, Xls, Xlsx};

use self::records::{Refused, Workbook};
use super::{Cell, FileError, Row, Rows, read_whole, split_header};
use crate::config::{Format, Source};

mod compound;
mod parts;
mod records;

const FILE_BYTES_MAX: u64 = 128 << 20;
/// Columns of a sheet, as its format has them.
const COLUMNS_MAX: u32 = 16_384;

/// What a workbook may become. A file of some kilobytes can claim any size.
struct Limits {
    /// Of all parts of an XLSX file.
    unpacked_bytes: u64,
    /// Of what is held of the parts of an XLSX file before the first row is read: texts, styles, names.
    held_bytes: u64,
    /// Of the sheet's rows, as they are held.
    rows_bytes: u64,
}

const LIMITS: Limits = Limits { unpacked_bytes: 512 << 20, held_bytes: 1 << 30, rows_bytes: 1 << 30 };

pub(super) fn open(source: &Source, path: &Path) -> Result<Rows, FileError> {
    let (content, digest) = read_whole(path, FILE_BYTES_MAX)?;
    let rows = match source.format {
        Format::Xls => xls(source.sheet.as_deref(), path, content, &LIMITS),
        _ => xlsx(source.sheet.as_deref(), path, content, &LIMITS),
    }?;
    let (columns, mut rows) = split_header(source, rows);
    rows.retain(|row| row.cells.iter().any(|cell| *cell != Cell::Null));
    Ok(Rows::Whole { columns, rows: rows.into_iter(), digest })
}

fn wrong(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError::Workbook { path: path.to_owned(), source: source.into() }
}

/// The declared sheet's name, or the first one's.
fn sheet_name(sheet: Option<&str>, names: &[String], path: &Path) -> Result<String, FileError> {
    let name = sheet.or(names.first().map(String::as_str));
    name.map(str::to_owned).ok_or_else(|| wrong(path, "it has no sheet"))
}

/// What calamine says of a workbook. A broken one makes it panic in some places: that is the file's fault, and ends nothing but its reading.
fn read<T, E>(path: &Path, with: impl FnOnce() -> Result<T, E>) -> Result<T, FileError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match catch_unwind(AssertUnwindSafe(with)) {
        Ok(read) => read.map_err(|error| wrong(path, error)),
        Err(_) => Err(wrong(path, "it is broken in a way that cannot be told")),
    }
}

/// The rows of a sheet that hold anything, read cell by cell: two cells far apart make no grid.
fn xlsx(sheet: Option<&str>, path: &Path, content: Vec<u8>, limits: &Limits) -> Result<Vec<Row>, FileError> {
    parts::weigh(path, &content, limits)?;
    let mut book = read(path, || Xlsx::new(Cursor::new(content)))?;
    let name = sheet_name(sheet, &book.sheet_names(), path)?;
    let mut cells = read(path, || book.worksheet_cells_reader(&name))?;
    let mut grid = Grid::new(path, limits);
    while let Some(found) = read(path, || cells.next_cell())? {
        let (row, column) = found.get_position();
        grid.put(row, column, &Data::from(found.get_value().clone()))?;
    }
    grid.rows()
}

/// The rows of a sheet, out of a workbook of our own making that holds no other and claims nothing.
fn xls(sheet: Option<&str>, path: &Path, content: Vec<u8>, limits: &Limits) -> Result<Vec<Row>, FileError> {
    let stream = compound::workbook(&content).map_err(|what| wrong(path, what))?;
    drop(content);
    let refused = |refused| match refused {
        Refused::Broken(what) => wrong(path, what),
        Refused::Heavy => FileError::Sheet { path: path.to_owned(), bytes_max: limits.rows_bytes },
    };
    let book = Workbook::read(&stream).map_err(refused)?;
    let names = open_xls(path, book.without_cells())?.sheet_names();
    let name = sheet_name(sheet, &names, path)?;
    let index = names.iter().position(|known| *known == name);
    let index = index.ok_or_else(|| wrong(path, format!("it has no sheet `{name}`")))?;
    let alone = book.with_sheet(index, limits.rows_bytes).map_err(refused)?;
    drop(stream);
    let range: Range<Data> = {
        let mut book = open_xls(path, alone)?;
        read(path, || book.worksheet_range(&name))?
    };
    let (first_row, first_column) = range.start().unwrap_or_default();
    let mut grid = Grid::new(path, limits);
    for (row, cells) in (first_row..).zip(range.rows()) {
        for (column, data) in (first_column..).zip(cells) {
            grid.put(row, column, data)?;
        }
    }
    grid.rows()
}

fn open_xls(path: &Path, stream: Vec<u8>) -> Result<Xls<Cursor<Vec<u8>>>, FileError> {
    let file = compound::wrap(stream).map_err(|what| wrong(path, what))?;
    read(path, || Xls::new(Cursor::new(file)))
}

/// The cells of a sheet that hold anything.
struct Grid<'a> {
    path: &'a Path,
    bytes_max: u64,
    /// Of the cells that are held.
    bytes: u64,
    rows: BTreeMap<u32, Vec<(u32, Cell)>>,
}

impl<'a> Grid<'a> {
    fn new(path: &'a Path, limits: &Limits) -> Self {
        Self { path, bytes_max: limits.rows_bytes, bytes: 0, rows: BTreeMap::new() }
    }

    fn put(&mut self, row: u32, column: u32, data: &Data) -> Result<(), FileError> {
        if column >= COLUMNS_MAX {
            let path = self.path.to_owned();
            return Err(FileError::Wide { path, row: u64::from(row) + 1, columns_max: COLUMNS_MAX });
        }
        if *data == Data::Empty {
            return Ok(());
        }
        let cell = cell(data);
        let text = if let Cell::Text(text) = &cell { text.len() } else { 0 };
        self.take(size_of::<(u32, Cell)>() as u64 + text as u64)?;
        self.rows.entry(row).or_default().push((column, cell));
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), FileError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max {
            return Err(FileError::Sheet { path: self.path.to_owned(), bytes_max: self.bytes_max });
        }
        Ok(())
    }

    /// Rows as wide as the sheet, numbered as the program that shows it numbers them. Rows without a cell are left out.
    fn rows(mut self) -> Result<Vec<Row>, FileError> {
        let columns = || self.rows.values().flatten().map(|(column, _)| *column);
        let (Some(first), Some(last)) = (columns().min(), columns().max()) else { return Ok(Vec::new()) };
        let width = (last - first) as usize + 1;
        self.take((self.rows.len() as u64).saturating_mul((width * size_of::<Cell>()) as u64))?;
        let rows = self.rows.into_iter().map(|(row, held)| {
            let mut cells = vec![Cell::Null; width];
            for (column, cell) in held {
                if let Some(place) = cells.get_mut((column - first) as usize) {
                    *place = cell;
                }
            }
            Row { number: u64::from(row) + 1, at: None, cells }
        });
        Ok(rows.collect())
    }
}

fn cell(data: &Data) -> Cell {
    match data {
        Data::Empty | Data::Error(_) => Cell::Null,
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => Cell::Text(text.clone()),
        Data::Int(number) => Cell::Text(number.to_string()),
        Data::Float(number) => Cell::Text(number.to_string()),
        Data::Bool(value) => Cell::Text(value.to_string()),
        Data::DateTime(moment) => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            Cell::Text(match (hour, minute, second) {
                (0, 0, 0) => date,
                _ => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
            })
        }
    }
}

#[cfg(test)]
mod tests;
