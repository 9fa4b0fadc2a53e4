//! The records (MS-XLS, BIFF) of an old workbook: those that make the cells of one sheet, once they are weighed.
//!
//! Some bytes of such a file can claim any memory: a range of 65,536 rows, one long text for a million cells, a sheet that is named a
//! thousand times, a formula that repeats a name. So calamine is given a workbook of our own making, with the records listed here and
//! no other: no claimed range, and of a formula its value alone.

use super::compound::{Broken, u16_at, u32_at};

const BOF: u16 = 0x0809;
const EOF: u16 = 0x000A;
const CONTINUE: u16 = 0x003C;
const FILE_PASS: u16 = 0x002F;
const CODE_PAGE: u16 = 0x0042;
const DATE_MODE: u16 = 0x0022;
const FORMAT: u16 = 0x041E;
const XF: u16 = 0x00E0;
const BOUND_SHEET: u16 = 0x0085;
const SST: u16 = 0x00FC;
const NUMBER: u16 = 0x0203;
const LABEL: u16 = 0x0204;
const RICH_LABEL: u16 = 0x00D6;
const BOOL_OR_ERROR: u16 = 0x0205;
const STRING: u16 = 0x0207;
const RK: u16 = 0x027E;
const LABEL_SST: u16 = 0x00FD;
const MUL_RK: u16 = 0x00BD;
const FORMULA: u16 = 0x0006;

/// More than any program makes, and few enough to be taken one by one.
const SHEETS_MAX: usize = 4_096;
/// A text table of 128 MiB in full records has half of them.
const CONTINUES_MAX: usize = 32_768;
/// Of a cell as calamine holds it, before the sheet is a grid.
const CELL_BYTES: u64 = 32;
/// A place in the grid, held twice.
const PLACE_BYTES: u64 = 2 * 24;
/// Of a text beside its letters, in a list that doubles as it grows.
const TEXT_BYTES: u64 = 96;

/// Why a workbook is not read.
#[derive(Debug)]
pub(super) enum Refused {
    Broken(Broken),
    /// It would take more memory than it may.
    Heavy,
}

impl From<Broken> for Refused {
    fn from(what: Broken) -> Self {
        Self::Broken(what)
    }
}

/// The records of an old workbook's stream that are read.
pub(super) struct Workbook<'a> {
    stream: &'a [u8],
    /// The records that tell how cells are read.
    settings: Vec<u8>,
    sheets: Vec<Record<'a>>,
    texts: Option<Record<'a>>,
    /// The most bytes that one unit of a text becomes.
    unit_bytes: u64,
}

impl<'a> Workbook<'a> {
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, Refused> {
        let (settings, sheets) = (Vec::new(), Vec::new());
        // UTF-16, where nothing else is said. In another code page each of the two bytes may be one that it does not have.
        let mut book = Self { stream, settings, sheets, texts: None, unit_bytes: 3 };
        for record in records(stream) {
            let record = record?;
            match record.kind {
                EOF => break,
                CODE_PAGE if u16_at(record.data, 0) != Some(1_200) => {
                    book.unit_bytes = 6;
                    put(&mut book.settings, record.kind, record.data);
                }
                BOF | FILE_PASS | CODE_PAGE | DATE_MODE | FORMAT | XF => {
                    put(&mut book.settings, record.kind, record.data);
                }
                BOUND_SHEET if book.sheets.len() == SHEETS_MAX => {
                    return Err("it has more than 4096 sheets".into());
                }
                BOUND_SHEET => book.sheets.push(record),
                SST => book.texts = Some(record),
                _ => {}
            }
        }
        Ok(book)
    }

    /// A stream with all sheets, none of which has a cell: for their names.
    pub(super) fn without_cells(&self) -> Vec<u8> {
        let (mut stream, places) = self.globals(&self.sheets, None);
        point_to_end(&mut stream, &places);
        put(&mut stream, EOF, &[]);
        stream
    }

    /// A stream with one sheet, which takes at most `bytes_max` in calamine.
    pub(super) fn with_sheet(&self, index: usize, bytes_max: u64) -> Result<Vec<u8>, Refused> {
        let sheet = self.sheets.get(index).ok_or("it has no such sheet")?;
        let mut weight = Weight { left: bytes_max };
        let texts = self.texts.as_ref().map(|texts| texts.texts(self.unit_bytes, &mut weight)).transpose()?;
        let (mut stream, places) = self.globals(std::slice::from_ref(sheet), self.texts.as_ref());
        point_to_end(&mut stream, &places);
        let begin = u32_at(sheet.data, 0).and_then(|begin| self.stream.get(begin as usize..));
        let begin = begin.ok_or("a sheet begins behind its end")?;
        let mut cells = Cells {
            stream: &mut stream,
            texts: texts.unwrap_or_default(),
            unit_bytes: self.unit_bytes,
            area: None,
            formula: None,
        };
        let (mut depth, mut begun) = (0_usize, false);
        for record in records(begin) {
            let record = record?;
            match record.kind {
                // A chart inside the sheet has records like cells.
                BOF if begun => depth += 1,
                BOF => begun = true,
                EOF if depth == 0 => break,
                EOF => depth -= 1,
                _ if depth > 0 => {}
                _ => cells.put(&record, &mut weight)?,
            }
        }
        cells.take_area(&mut weight)?;
        put(&mut stream, EOF, &[]);
        Ok(stream)
    }

    /// Everything before the sheets, and where their places are to be written.
    fn globals(&self, sheets: &[Record<'_>], texts: Option<&Record<'_>>) -> (Vec<u8>, Vec<usize>) {
        let (mut stream, mut places) = (self.settings.clone(), Vec::new());
        for sheet in sheets {
            places.push(stream.len() + 4);
            put(&mut stream, sheet.kind, sheet.data);
        }
        if let Some(texts) = texts {
            put(&mut stream, texts.kind, texts.data);
            for part in &texts.continued {
                put(&mut stream, CONTINUE, part);
            }
        }
        put(&mut stream, EOF, &[]);
        (stream, places)
    }
}

/// All those sheets begin where the stream ends now.
fn point_to_end(stream: &mut [u8], places: &[usize]) {
    let end = u32::try_from(stream.len()).unwrap_or(u32::MAX).to_le_bytes();
    for place in places {
        if let Some(four) = stream.get_mut(*place..place + 4) {
            four.copy_from_slice(&end);
        }
    }
}

fn put(stream: &mut Vec<u8>, kind: u16, data: &[u8]) {
    stream.extend(kind.to_le_bytes());
    stream.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes());
    stream.extend(data);
}

/// The memory that is left.
struct Weight {
    left: u64,
}

impl Weight {
    fn take(&mut self, bytes: u64) -> Result<(), Refused> {
        self.left = self.left.checked_sub(bytes).ok_or(Refused::Heavy)?;
        Ok(())
    }
}

/// The cells of the sheet as they are copied.
struct Cells<'a> {
    stream: &'a mut Vec<u8>,
    /// The most bytes of each shared text.
    texts: Vec<u32>,
    unit_bytes: u64,
    /// First row and column, last row and column.
    area: Option<[u16; 4]>,
    /// Row, column and format of the last formula: its text stands in a record of its own.
    formula: Option<[u8; 6]>,
}

impl Cells<'_> {
    fn put(&mut self, record: &Record<'_>, weight: &mut Weight) -> Result<(), Refused> {
        let data = record.data;
        match record.kind {
            NUMBER | RK | BOOL_OR_ERROR => self.cell(record.kind, data, weight),
            LABEL | RICH_LABEL => self.text(data, weight),
            LABEL_SST => {
                let index = u32_at(data, 6).ok_or(SHORT)?;
                let text = self.texts.get(index as usize).copied().unwrap_or_default();
                // In the grid, and in the copy that is handed out.
                weight.take(2 * u64::from(text))?;
                self.cell(record.kind, data, weight)
            }
            MUL_RK => {
                let cells = data.len().checked_sub(6).ok_or(SHORT)? / 6;
                let last = u16_at(data, data.len() - 2).ok_or(SHORT)?;
                weight.take(CELL_BYTES * cells as u64)?;
                self.widen(u16_at(data, 0).ok_or(SHORT)?, last);
                self.cell(record.kind, data, weight)
            }
            FORMULA => self.formula(data, weight),
            STRING => match self.formula {
                Some(place) => self.text(&[&place, data].concat(), weight),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// A formula's value, as the cell that it is (MS-XLS 2.5.133).
    fn formula(&mut self, data: &[u8], weight: &mut Weight) -> Result<(), Refused> {
        let place = *data.first_chunk::<6>().ok_or(SHORT)?;
        let value = *data.get(6..).and_then(|rest| rest.first_chunk::<8>()).ok_or(SHORT)?;
        self.formula = Some(place);
        let [first, second, third, fourth, fifth, sixth] = place;
        let coded = |value, is_error| [first, second, third, fourth, fifth, sixth, value, is_error];
        match value {
            // In the record that follows.
            [0, .., 0xFF, 0xFF] => Ok(()),
            [1, _, value, .., 0xFF, 0xFF] => self.cell(BOOL_OR_ERROR, &coded(value, 0), weight),
            [2, _, error, .., 0xFF, 0xFF] => self.cell(BOOL_OR_ERROR, &coded(error, 1), weight),
            [3, .., 0xFF, 0xFF] => self.text(&coded(0, 0), weight),
            [.., 0xFF, 0xFF] => Err("a formula has a value of an unknown kind".into()),
            _ => self.cell(NUMBER, &[place.as_slice(), &value].concat(), weight),
        }
    }

    /// A text in its cell.
    fn text(&mut self, data: &[u8], weight: &mut Weight) -> Result<(), Refused> {
        let claimed = u16_at(data, 6).ok_or(SHORT)?;
        // Memory is taken for what is claimed, and for what is there as it grows; a copy is handed out.
        weight.take(u64::from(claimed) + 3 * self.unit_bytes * data.len() as u64)?;
        self.cell(LABEL, data, weight)
    }

    fn cell(&mut self, kind: u16, data: &[u8], weight: &mut Weight) -> Result<(), Refused> {
        let (row, column) = (u16_at(data, 0).ok_or(SHORT)?, u16_at(data, 2).ok_or(SHORT)?);
        weight.take(CELL_BYTES)?;
        self.widen(row, column);
        put(self.stream, kind, data);
        Ok(())
    }

    fn widen(&mut self, row: u16, column: u16) {
        let [top, left, bottom, right] = self.area.unwrap_or([row, column, row, column]);
        self.area = Some([top.min(row), left.min(column), bottom.max(row), right.max(column)]);
    }

    /// The grid from the first cell to the last.
    fn take_area(&self, weight: &mut Weight) -> Result<(), Refused> {
        let Some([top, left, bottom, right]) = self.area else { return Ok(()) };
        let (rows, columns) = (u64::from(bottom - top) + 1, u64::from(right - left) + 1);
        weight.take(PLACE_BYTES * rows * columns)
    }
}

const SHORT: Broken = "a record is shorter than its kind";

struct Record<'a> {
    kind: u16,
    data: &'a [u8],
    continued: Vec<&'a [u8]>,
}

/// The records of a stream, each with those that continue it. The stream may go on behind the last one that counts.
fn records(mut stream: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Refused>> {
    std::iter::from_fn(move || {
        if stream.is_empty() {
            return None;
        }
        let Some((kind, data)) = record(&mut stream) else {
            stream = &[];
            return Some(Err("its records end in the middle of one".into()));
        };
        let mut continued = Vec::new();
        while u16_at(stream, 0) == Some(CONTINUE) {
            let Some((_, part)) = record(&mut stream) else { break };
            if continued.len() == CONTINUES_MAX {
                return Some(Err("a record has more than 32768 parts".into()));
            }
            continued.push(part);
        }
        Some(Ok(Record { kind, data, continued }))
    })
}

fn record<'a>(stream: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let (kind, bytes) = (u16_at(stream, 0)?, u16_at(stream, 2)?);
    let (data, rest) = stream.get(4..)?.split_at_checked(usize::from(bytes))?;
    *stream = rest;
    Some((kind, data))
}

impl Record<'_> {
    /// The most bytes of each text of the shared table (MS-XLS 2.4.265, 2.5.293).
    fn texts(&self, unit_bytes: u64, weight: &mut Weight) -> Result<Vec<u32>, Refused> {
        let mut parts = Parts { data: self.data.get(8..).ok_or(SHORT)?, rest: self.continued.iter() };
        let mut texts = Vec::new();
        while !parts.data.is_empty() || parts.next() {
            let bytes = if parts.data.is_empty() { 0 } else { parts.text()? * unit_bytes };
            weight.take(TEXT_BYTES + 2 * bytes)?;
            texts.push(u32::try_from(bytes).map_err(|_| Refused::Heavy)?);
        }
        Ok(texts)
    }
}

/// What is left of a record and of those that continue it.
struct Parts<'a, 'b> {
    data: &'a [u8],
    rest: std::slice::Iter<'b, &'a [u8]>,
}

impl Parts<'_, '_> {
    fn next(&mut self) -> bool {
        let next = self.rest.next();
        self.data = next.copied().unwrap_or(self.data);
        next.is_some()
    }

    /// Goes past a text, and tells its units.
    fn text(&mut self) -> Result<u64, Refused> {
        let (units, flags) = (u16_at(self.data, 0).ok_or(SHORT)?, *self.data.get(2).ok_or(SHORT)?);
        self.pass(3)?;
        let mut runs = 0;
        if flags & 0x8 != 0 {
            runs = usize::from(u16_at(self.data, 0).ok_or(SHORT)?);
            self.pass(2)?;
        }
        let mut extension = 0;
        if flags & 0x4 != 0 {
            extension = u32_at(self.data, 0).ok_or(SHORT)? as usize;
            self.pass(4)?;
        }
        let (mut wide, mut left) = (flags & 0x1 != 0, usize::from(units));
        while left > 0 {
            let width = if wide { 2 } else { 1 };
            let here = left.min(self.data.len() / width);
            self.pass(here * width)?;
            left -= here;
            if left > 0 {
                let begins = if self.next() { self.data.split_first() } else { None };
                let (flags, rest) = begins.ok_or("a text ends in its middle")?;
                (wide, self.data) = (flags & 0x1 != 0, rest);
            }
        }
        let mut behind = 4 * runs + extension;
        while behind > 0 {
            if self.data.is_empty() && !self.next() {
                return Err("a text ends in its middle".into());
            }
            let here = behind.min(self.data.len());
            self.pass(here)?;
            behind -= here;
        }
        Ok(u64::from(units))
    }

    fn pass(&mut self, bytes: usize) -> Result<(), Refused> {
        self.data = self.data.get(bytes..).ok_or(SHORT)?;
        Ok(())
    }
}
