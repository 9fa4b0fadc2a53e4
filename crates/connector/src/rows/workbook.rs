//! XLS and XLSX. A number cell reads as its shortest decimal, a date cell as ISO 8601.

use std::io::Cursor;
use std::path::Path;

use calamine::{Data, Reader, Xls, Xlsx};

use super::{Cell, FileError, Row, Rows, read_whole, split_header};
use crate::config::{Format, Source};

const FILE_BYTES_MAX: u64 = 128 << 20;

pub(super) fn open(source: &Source, path: &Path) -> Result<Rows, FileError> {
    let (content, digest) = read_whole(path, FILE_BYTES_MAX)?;
    let range = match source.format {
        Format::Xls => sheet::<Xls<_>>(source, path, content),
        _ => sheet::<Xlsx<_>>(source, path, content),
    }?;
    // A sheet may start below its first row; rows are counted as the program that shows it counts them.
    let first = u64::from(range.start().map_or(0, |(row, _)| row)) + 1;
    let rows = range.rows().zip(first..).map(|(cells, number)| Row {
        number,
        at: None,
        cells: cells.iter().map(cell).collect(),
    });
    let (columns, mut rows) = split_header(source, rows.collect());
    rows.retain(|row| row.cells.iter().any(|cell| *cell != Cell::Null));
    Ok(Rows::Whole { columns, rows: rows.into_iter(), digest })
}

fn sheet<R>(source: &Source, path: &Path, content: Vec<u8>) -> Result<calamine::Range<Data>, FileError>
where
    R: Reader<Cursor<Vec<u8>>>,
    R::Error: std::error::Error + Send + Sync + 'static,
{
    let wrong = |source| FileError::Workbook { path: path.to_owned(), source };
    let mut book = R::new(Cursor::new(content)).map_err(|error| wrong(Box::new(error)))?;
    let first = book.sheet_names().first().cloned();
    let name = source.sheet.clone().or(first).ok_or_else(|| wrong("it has no sheet".into()))?;
    book.worksheet_range(&name).map_err(|error| wrong(Box::new(error)))
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
