//! Workbooks that claim, or become, more than they are.

use std::io::Write as _;

use rust_xlsxwriter::Workbook;
use zip::write::{SimpleFileOptions, ZipWriter};

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
    assert_eq!(sheet, "`1.xlsx`: its rows take more than 2000000 bytes");
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

/// The parts of a workbook that are written here; another workbook's stand behind them.
fn with_parts(parts: &[(&str, String)]) -> Vec<u8> {
    let mut book = Workbook::new();
    book.add_worksheet().write(0, 0, "a").unwrap();
    let made = book.save_to_buffer().unwrap();
    let mut old = zip::ZipArchive::new(Cursor::new(made)).unwrap();
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, content) in parts {
        new.start_file(*name, options).unwrap();
        new.write_all(content.as_bytes()).unwrap();
    }
    for index in 0..old.len() {
        let part = old.by_index_raw(index).unwrap();
        let name = part.name().unwrap().into_owned();
        if !parts.iter().any(|(written, _)| *written == name) {
            new.raw_copy_file(part).unwrap();
        }
    }
    new.finish().unwrap().into_inner()
}

fn xlsx_refused(parts: &[(&str, String)], limits: &Limits) -> String {
    causes(&xlsx(None, Path::new("1.xlsx"), with_parts(parts), limits).unwrap_err())
}

#[test]
fn p10_texts_and_styles_of_a_workbook_weigh_what_they_become() {
    let limits = Limits { held_bytes: 2_000_000, ..LIMITS };
    let heavy = "`1.xlsx`: the workbook's texts and styles take more than 2000000 bytes";
    let texts = |claim: &str, count| {
        let texts = "<si><t>x</t></si>".repeat(count);
        format!(
            r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"{claim}>{texts}</sst>"#
        )
    };
    let shared = |text: String| [("xl/sharedStrings.xml", text)];
    // Many texts of a letter; few, of which many are claimed; and few that are few.
    assert_eq!(xlsx_refused(&shared(texts("", 20_000)), &limits), heavy);
    assert_eq!(
        xlsx_refused(&shared(texts(r#" uniqueCount="99999999999999""#, 1)), &LIMITS),
        heavy.replace("2000000", "1073741824")
    );
    let few = with_parts(&shared(texts(r#" uniqueCount="100""#, 1_000)));
    assert_eq!(xlsx(None, Path::new("1.xlsx"), few, &limits).unwrap().len(), 1);
    // Every style holds a copy of its font's name.
    let name = "x".repeat(10_000);
    let styles = format!(
        r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><fonts><font><name val="{name}"/></font></fonts><cellXfs>{}</cellXfs></styleSheet>"#,
        r#"<xf fontId="0" applyFont="1"/>"#.repeat(1_000),
    );
    assert_eq!(xlsx_refused(&[("xl/styles.xml", styles)], &limits), heavy);
    // A rich text's looks are not held.
    let rich = "<r><rPr><b/><sz val=\"9\"/></rPr><t>x</t></r>".repeat(2_000);
    let rich = texts("", 0).replace("</sst>", &format!("<si>{rich}</si></sst>"));
    assert_eq!(xlsx(None, Path::new("1.xlsx"), with_parts(&shared(rich)), &limits).unwrap().len(), 1);
}

fn causes(error: &FileError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A record of an old workbook.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &u16::try_from(data.len()).unwrap().to_le_bytes(), data].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// An old workbook of one sheet with these records; the shared texts' record and what continues it stand before.
fn old(texts: &[Vec<u8>], sheet: &[Vec<u8>]) -> Vec<u8> {
    old_with(texts, &[sheet])
}

fn old_with(texts: &[Vec<u8>], sheets: &[&[Vec<u8>]]) -> Vec<u8> {
    let begin = record(0x0809, &numbers(&[0x0600, 0x0005, 0, 0]));
    let texts = texts.concat();
    let mut places = begin.len() + texts.len() + 4 + sheets.len() * 14;
    let mut globals = begin.clone();
    let mut bodies = Vec::new();
    for sheet in sheets {
        let place = u32::try_from(places).unwrap();
        globals.extend(record(0x0085, &[&place.to_le_bytes()[..], &[0, 0, 2, 0], b"s1"].concat()));
        let body =
            [record(0x0809, &numbers(&[0x0600, 0x0010])), sheet.concat(), record(0x000A, &[])].concat();
        places += body.len();
        bodies.push(body);
    }
    compound::wrap([globals, texts, record(0x000A, &[]), bodies.concat()].concat()).unwrap()
}

fn text(row: u16, column: u16, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    record(0x0204, &[numbers(&[row, column, 0, length]), vec![0], text.as_bytes().to_vec()].concat())
}

/// The shared texts, one letter each.
fn letters(count: usize) -> Vec<u8> {
    record(0x00FC, &[vec![0; 8], [1, 0, 0, b'x'].repeat(count)].concat())
}

fn shared_text(row: u16, index: u32) -> Vec<u8> {
    record(0x00FD, &[numbers(&[row, 0, 0]), index.to_le_bytes().to_vec()].concat())
}

fn read_old(content: Vec<u8>, limits: &Limits) -> Result<Vec<Row>, FileError> {
    xls(None, Path::new("1.xls"), content, limits)
}

fn cells(content: Vec<u8>) -> Vec<Vec<Cell>> {
    read_old(content, &LIMITS).unwrap().into_iter().map(|row| row.cells).collect()
}

#[test]
fn the_cells_of_an_old_workbook_are_those_of_its_records() {
    let value = |bytes: [u8; 8]| {
        [numbers(&[2, 1, 0]), bytes.to_vec(), vec![0; 6], numbers(&[3]), vec![0x1e, 1, 0]].concat()
    };
    let formulas = [
        record(0x0006, &value(1.5_f64.to_le_bytes())),
        record(0x0006, &value([1, 0, 1, 0, 0, 0, 0xff, 0xff])),
        record(0x0006, &value([3, 0, 0, 0, 0, 0, 0xff, 0xff])),
        [record(0x0006, &value([0, 0, 0, 0, 0, 0, 0xff, 0xff])), record(0x0207, b"\x02\0\0ab")].concat(),
    ];
    let found = formulas.map(|formula| cells(old(&[letters(2)], &[shared_text(2, 1), formula])).remove(0));
    let text = |text: &str| vec![Cell::Text("x".to_owned()), Cell::Text(text.to_owned())];
    assert_eq!(found, [text("1.5"), text("true"), text(""), text("ab")]);
}

#[test]
fn p10_an_old_workbook_takes_no_more_memory_than_it_may() {
    let limits = Limits { rows_bytes: 2_000_000, ..LIMITS };
    let heavy = |content: Vec<u8>, what: &str| {
        let bytes = content.len();
        let refused = read_old(content, &limits).unwrap_err();
        assert!(matches!(refused, FileError::Sheet { .. }), "{what}: {refused}");
        assert!(bytes < 300_000, "{what}: {bytes}");
    };
    heavy(old(&[], &[text(0, 0, "a"), text(u16::MAX, u16::MAX, "z")]), "two cells far apart");
    let long = record(0x00FC, &[vec![0; 8], numbers(&[8_000]), vec![0], vec![b'x'; 8_000]].concat());
    heavy(
        old(&[long], &(0..200).map(|row| shared_text(row, 0)).collect::<Vec<_>>()),
        "one long text in many cells",
    );
    let many = [vec![letters(2_000)], vec![record(0x003C, &[1, 0, 0, b'x'].repeat(2_000)); 15]].concat();
    heavy(old(&many, &[text(0, 0, "a")]), "many short texts");
    let claims = record(0x0204, &[numbers(&[0, 0, 0, u16::MAX]), vec![0]].concat());
    heavy(old(&[], &vec![claims; 100]), "texts that claim to be long");

    // What is only claimed does not count: no range, no formula, no sheet that is not asked for.
    let range =
        record(0x0200, &[u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes(), [0; 4], [0; 4]].concat()[..14]);
    assert_eq!(cells(old(&[], &[range, text(0, 0, "a")])), [[Cell::Text("a".to_owned())]]);
    let far: &[Vec<u8>] = &[text(0, 0, "b"), text(u16::MAX, u16::MAX, "z")];
    let first: &[Vec<u8>] = &[text(0, 0, "a")];
    assert_eq!(cells(old_with(&[], &[first, far])), [[Cell::Text("a".to_owned())]]);
}

#[test]
fn p10_an_old_workbook_that_is_broken_is_refused() {
    let good = old(&[letters(1)], &[shared_text(0, 0), text(1, 0, "a")]);
    assert_eq!(cells(good.clone()).len(), 2);
    let changed = |at: usize, number: u32| {
        let mut content = good.clone();
        content[at..at + 4].copy_from_slice(&number.to_le_bytes());
        causes(&read_old(content, &LIMITS).unwrap_err())
    };
    // The directory's chain goes on with itself; its first sector is behind the end.
    assert!(changed(4_096 + 4, 1).contains("run in a circle"), "{}", changed(4_096 + 4, 1));
    assert!(changed(48, 1_000).contains("behind its end"));
    // The table of sectors goes on in a sector that leads to itself.
    assert!(
        changed(68, 1).contains("circle") || changed(68, 1).contains("more sectors than it has"),
        "{}",
        changed(68, 1)
    );
    // Whatever is cut off or changed: an answer, and no panic.
    for end in 0..good.len() / 16 {
        drop(read_old(good[..end * 16].to_vec(), &LIMITS));
    }
    for at in (0..good.len()).filter(|at| *at < 600 || *at > 2 * 4_096) {
        for byte in [0, 0x7f, 0xff] {
            let mut content = good.clone();
            content[at] = byte;
            drop(read_old(content, &LIMITS));
        }
    }
    let parts = vec![record(0x003C, &[]); 40_000];
    let content = old(&[[vec![letters(1)], parts].concat()].concat(), &[text(0, 0, "a")]);
    let refused = causes(&read_old(content, &LIMITS).unwrap_err());
    assert!(refused.contains("more than 32768 parts"), "{refused}");
}
