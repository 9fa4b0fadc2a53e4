//! The text of a value: what keys, subjects and pseudonyms are made from. Integers are decimal, dates ISO 8601,
//! decimals without trailing zeros, enums their symbol.

use crate::check::check_text;
use crate::cursor::{Cursor, Malformed};
use crate::decimal;
use crate::node::{IntKind, LongKind, Node, NodeId, Nodes};

/// Whether values of the node have a text. A union has none itself; its branches may.
pub(crate) fn has_text(node: &Node) -> bool {
    match node {
        Node::Text { .. }
        | Node::Int(IntKind::Plain | IntKind::Date)
        | Node::Long(LongKind::Plain)
        | Node::Decimal(_)
        | Node::Enum { .. } => true,
        Node::Null
        | Node::Boolean
        | Node::Int(IntKind::TimeMillis)
        | Node::Long(_)
        | Node::Float
        | Node::Double
        | Node::Bytes
        | Node::Fixed { .. }
        | Node::Array(_)
        | Node::Map(_)
        | Node::Union(_)
        | Node::Record { .. } => false,
    }
}

/// Reads one value that has a text and appends the text.
pub(crate) fn read(
    nodes: &Nodes,
    id: NodeId,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match nodes.of(id) {
        Node::Text { .. } => out.extend_from_slice(cursor.bytes()?),
        Node::Int(IntKind::Date) => put_date(i64::from(cursor.int()?), out),
        Node::Int(_) | Node::Long(_) => out.extend_from_slice(cursor.long()?.to_string().as_bytes()),
        Node::Decimal(decimal) => {
            let at = cursor.clone();
            let bytes = match decimal.size {
                Some(size) => cursor.take(size)?,
                None => cursor.bytes()?,
            };
            let value = decimal::read(bytes)
                .ok_or_else(|| at.malformed("a decimal without bytes or over 128 bits"))?;
            decimal::put_text(value, decimal.scale, out);
        }
        Node::Enum { symbols, .. } => {
            let index = cursor.index(symbols.len(), "an enum symbol that does not exist")?;
            out.extend_from_slice(symbols.get(index).map(|symbol| symbol.as_bytes()).unwrap_or_default());
        }
        _ => return Err(cursor.malformed("a value without a text")),
    }
    Ok(())
}

/// Whether some value of the node, or of a list's element, has that text.
pub(crate) fn takes(nodes: &Nodes, id: NodeId, text: &str) -> bool {
    match nodes.of(id) {
        Node::Text { rule, chars_max } => check_text(text, *rule, *chars_max).is_ok(),
        Node::Int(IntKind::Date) => parse_date(text).is_some(),
        Node::Int(IntKind::Plain) => text.parse::<i32>().is_ok_and(|number| number.to_string() == text),
        Node::Long(LongKind::Plain) => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
        Node::Decimal(_) => decimal::parse(text).is_some(),
        Node::Enum { symbols, .. } => symbols.iter().any(|symbol| **symbol == *text),
        Node::Union(branches) => branches.iter().any(|branch| takes(nodes, *branch, text)),
        Node::Array(element) => takes(nodes, *element, text),
        _ => false,
    }
}

/// Appends `YYYY-MM-DD`.
pub(crate) fn put_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    out.extend_from_slice(format!("{year:04}-{month:02}-{day:02}").as_bytes());
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years from 0000-03-01, so that the leap day ends the year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// 0001-01-01.
pub(crate) const FIRST_DAY: i64 = -719_162;
/// 9999-12-31.
pub(crate) const LAST_DAY: i64 = 2_932_896;

/// `YYYY-MM-DD` as days since 1970-01-01; `None` for what is no day of the years 1 to 9999.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let number = |part: Option<&str>| {
        let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<i64>().ok()
    };
    let (year, month, day) = (number(text.get(..4))?, number(text.get(5..7))?, number(text.get(8..))?);
    let count = days(year, month, day);
    (year > 0 && civil(count) == (year, month, day)).then(|| i32::try_from(count).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        for (text, count) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(parse_date(text), Some(count));
            let mut out = Vec::new();
            put_date(i64::from(count), &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(text));
        }
        for wrong in
            ["2001-02-29", "2024-13-01", "2024-00-01", "0000-01-01", "2024-1-01", "20240101", "２024-1-1", ""]
        {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
        for count in (FIRST_DAY..=LAST_DAY).step_by(97) {
            let (year, month, day) = civil(count);
            assert_eq!(days(year, month, day), count);
        }
    }
}
