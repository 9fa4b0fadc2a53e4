//! The parts of an XLSX workbook, weighed before calamine reads them: what they unpack to, and what they become in memory.
//!
//! What a part says of its size and of the number of its texts is only said. A sheet is read cell by cell and weighs nothing here; the
//! table of shared texts, styles, names and relations are held whole, and a text of one letter takes far more than its letter.

use std::io::{BufReader, Cursor, Read as _};
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::{FileError, Limits, wrong};

/// More than any program makes. Each takes some hundred bytes before its content is looked at.
const PARTS_MAX: usize = 10_000;
/// Begins the entry of a part in the archive's list.
const PART_MARK: &[u8] = b"PK\x01\x02";
/// Of a shared text beside its letters, in a list that doubles as it grows.
const TEXT_BYTES: u64 = 128;
/// Of a claimed text for which a place is kept.
const PLACE_BYTES: u64 = 24;
/// Of whatever else is held: a style is the largest.
const ELEMENT_BYTES: u64 = 1 << 10;

/// Refuses a workbook that becomes too large. Every part is read once and none is kept.
pub(super) fn weigh(path: &Path, content: &[u8], limits: &Limits) -> Result<(), FileError> {
    if content.windows(PART_MARK.len()).filter(|four| *four == PART_MARK).count() > PARTS_MAX {
        return Err(wrong(path, format!("it has more than {PARTS_MAX} parts")));
    }
    let mut archive = ZipArchive::new(Cursor::new(content)).map_err(|error| wrong(path, error))?;
    let mut weight = Weight { bytes: 0, text_bytes: 0, shared: false, in_text: false, styles: 0, longest: 0 };
    let mut left = limits.unpacked_bytes;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(|error| wrong(path, error))?;
        let mut part = BufReader::new(part.take(left.saturating_add(1)));
        let held = weight.part(&mut part, limits.held_bytes).map_err(|error| wrong(path, error))?;
        let unpacked = left.saturating_add(1).saturating_sub(part.get_ref().limit());
        let over = || FileError::Unpacks { path: path.to_owned(), bytes_max: limits.unpacked_bytes };
        left = left.checked_sub(unpacked).ok_or_else(over)?;
        if held > limits.held_bytes {
            return Err(FileError::Parts { path: path.to_owned(), bytes_max: limits.held_bytes });
        }
    }
    Ok(())
}

/// What is held of the parts.
struct Weight {
    /// Of all parts so far.
    bytes: u64,
    /// Of the texts of this part, which count where they are shared.
    text_bytes: u64,
    shared: bool,
    /// Inside a shared text, whose letters alone are held.
    in_text: bool,
    /// A style holds copies of what it names.
    styles: u64,
    /// The longest element that a style can name.
    longest: u64,
}

impl Weight {
    /// Reads a part to its end, or until more than `bytes_max` are held of all.
    fn part(&mut self, part: &mut impl std::io::BufRead, bytes_max: u64) -> std::io::Result<u64> {
        (self.text_bytes, self.shared, self.in_text, self.styles, self.longest) = (0, false, false, 0, 0);
        let mut reader = Reader::from_reader(part);
        // As calamine reads it.
        let config = reader.config_mut();
        config.check_end_names = false;
        config.expand_empty_elements = true;
        let mut buffer = Vec::new();
        while self.held() <= bytes_max {
            buffer.clear();
            match reader.read_event_into(&mut buffer) {
                Ok(Event::Start(element)) => self.start(&element),
                Ok(Event::End(element)) if element.local_name().as_ref() == "si" => self.in_text = false,
                Ok(Event::Text(text)) => self.text_bytes += text.len() as u64,
                Ok(Event::CData(text)) => self.text_bytes += text.len() as u64,
                Ok(Event::Eof) => break,
                Ok(_) => {}
                // A picture, or broken: where calamine needs it, it stops here too. What is left counts as unpacked.
                Err(_) => {
                    std::io::copy(reader.get_mut(), &mut std::io::sink())?;
                    break;
                }
            }
        }
        self.bytes = self.held();
        Ok(self.bytes)
    }

    fn held(&self) -> u64 {
        // Letters are gathered in a text that doubles as it grows.
        let texts = if self.shared { 3 * self.text_bytes } else { 0 };
        let styles = self.styles.saturating_mul(self.longest);
        self.bytes.saturating_add(texts).saturating_add(styles)
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        let bytes = element.len() as u64;
        let name = element.local_name();
        let weight = match name.as_ref() {
            // Of a sheet: calamine gives one cell after the other.
            "row" | "c" | "v" | "f" | "is" | "t" | "r" => 0,
            // How the letters of a shared text look.
            "rPr" | "b" | "i" | "u" | "strike" | "sz" | "color" | "rFont" | "family" | "charset"
            | "scheme" | "vertAlign" | "rPh" | "phoneticPr"
                if self.in_text =>
            {
                0
            }
            "si" => {
                (self.shared, self.in_text) = (true, true);
                TEXT_BYTES
            }
            "sst" => claimed_texts(element).saturating_mul(PLACE_BYTES),
            name => {
                self.styles += u64::from(name == "xf");
                self.longest = self.longest.max(bytes);
                ELEMENT_BYTES + 3 * bytes
            }
        };
        self.bytes = self.bytes.saturating_add(weight);
    }
}

/// The number of texts for which calamine keeps places at once. What it cannot read as a number it passes over.
fn claimed_texts(element: &BytesStart<'_>) -> u64 {
    let mut attributes = element.attributes();
    let attributes = attributes.with_checks(false).flatten();
    let claims = attributes.filter(|attribute| attribute.key.local_name().as_ref() == "uniqueCount");
    claims.filter_map(|claim| claim.value.trim().parse::<u64>().ok()).max().unwrap_or(0)
}
