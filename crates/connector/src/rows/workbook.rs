//! XLS and XLSX. A number cell reads as its shortest decimal, a date cell as ISO 8601.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read as _};
use std::path::Path;

use calamine::{Data, Reader, Xls, Xlsx};
use zip::ZipArchive;

use super::{Cell, FileError, Row, Rows, read_whole, split_header};
use crate::config::{Format, Source};

const FILE_BYTES_MAX: u64 = 128 << 20;
/// Columns of a sheet, as its format has them.
const COLUMNS_MAX: u32 = 16_384;

/// What a workbook may become. A file of some kilobytes can claim any size.
struct Limits {
    /// Of all parts of an XLSX file.
    unpacked_bytes: u64,
    /// Of the sheet's rows, as they are held.
    rows_bytes: u64,
}

const LIMITS: Limits = Limits { unpacked_bytes: 512 << 20, rows_bytes: 1 << 30 };

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

/// The rows of a sheet that hold anything, read cell by cell: two cells far apart make no grid.
fn xlsx(sheet: Option<&str>, path: &Path, content: Vec<u8>, limits: &Limits) -> Result<Vec<Row>, FileError> {
    check_unpacked(path, &content, limits.unpacked_bytes)?;
    let mut book = Xlsx::new(Cursor::new(content)).map_err(|error| wrong(path, error))?;
    let name = sheet_name(sheet, &book.sheet_names(), path)?;
    let mut cells = book.worksheet_cells_reader(&name).map_err(|error| wrong(path, error))?;
    let mut grid = Grid::new(path, limits);
    while let Some(found) = cells.next_cell().map_err(|error| wrong(path, error))? {
        let (row, column) = found.get_position();
        grid.put(row, column, &Data::from(found.get_value().clone()))?;
    }
    grid.rows()
}

fn xls(sheet: Option<&str>, path: &Path, content: Vec<u8>, limits: &Limits) -> Result<Vec<Row>, FileError> {
    let mut book = Xls::new(Cursor::new(content)).map_err(|error| wrong(path, error))?;
    let name = sheet_name(sheet, &book.sheet_names(), path)?;
    let range = book.worksheet_range(&name).map_err(|error| wrong(path, error))?;
    let (first_row, first_column) = range.start().unwrap_or_default();
    let mut grid = Grid::new(path, limits);
    for (row, cells) in (first_row..).zip(range.rows()) {
        for (column, data) in (first_column..).zip(cells) {
            grid.put(row, column, data)?;
        }
    }
    grid.rows()
}

/// Unpacks every part and keeps none: what the parts say of their size is only said.
fn check_unpacked(path: &Path, content: &[u8], bytes_max: u64) -> Result<(), FileError> {
    let mut archive = ZipArchive::new(Cursor::new(content)).map_err(|error| wrong(path, error))?;
    let mut left = bytes_max;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(|error| wrong(path, error))?;
        let unpacked = io::copy(&mut part.take(left.saturating_add(1)), &mut io::sink());
        let unpacked = unpacked.map_err(|error| wrong(path, error))?;
        left = left
            .checked_sub(unpacked)
            .ok_or_else(|| FileError::Unpacks { path: path.to_owned(), bytes_max })?;
    }
    Ok(())
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
mod tests {
    use rust_xlsxwriter::Workbook;

    use super::*;

    /// The error of a workbook whose first sheet has that many rows of one text.
    fn refused(rows: u32, limits: &Limits) -> String {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        let text = "重".repeat(1_000);
        for row in 0..rows {
            sheet.write(row, 0, &text).unwrap();
        }
        let content = book.save_to_buffer().unwrap();
        assert!(content.len() < 20_000, "{}", content.len());
        xlsx(None, Path::new("1.xlsx"), content, limits).unwrap_err().to_string()
    }

    #[test]
    fn a_small_workbook_that_becomes_large_is_refused() {
        let unpacked = refused(1_000, &Limits { unpacked_bytes: 20_000, ..LIMITS });
        assert_eq!(unpacked, "`1.xlsx` unpacks to more than 20000 bytes");
        // One text in the file, a copy for each cell that names it.
        let sheet = refused(1_000, &Limits { rows_bytes: 2_000_000, ..LIMITS });
        assert_eq!(sheet, "`1.xlsx`: the sheet's rows take more than 2000000 bytes");
    }

    #[test]
    fn rows_that_are_few_and_far_apart_are_no_grid_and_many_wide_ones_are_refused() {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        sheet.write(0, 0, "a").unwrap().write(1_048_575, 16_383, "z").unwrap();
        let content = book.save_to_buffer().unwrap();
        let path = Path::new("1.xlsx");
        let rows = xlsx(None, path, content.clone(), &LIMITS).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.number, row.cells.len())).collect::<Vec<_>>(),
            [(1, 16_384), (1_048_576, 16_384)]
        );
        assert_eq!(rows[1].cells[16_383], Cell::Text("z".to_owned()));
        let narrow = Limits { rows_bytes: 100_000, ..LIMITS };
        let error = xlsx(None, path, content, &narrow).unwrap_err();
        assert!(matches!(error, FileError::Sheet { .. }), "{error}");
    }
}
