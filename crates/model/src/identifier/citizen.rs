//! Citizen number (公民身份号码), GB 11643-1999.

use super::text::fixed_text;
use super::{InvalidIdentifier, SexCode};

const KIND: &str = "citizen number";
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK: &[u8; 11] = b"10X98765432";

/// A citizen number: six digits of address, eight of birth date, three of sequence, a check character (ISO 7064
/// MOD 11-2). The address part is held to its form only: a number keeps the code of its day for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CitizenId([u8; 18]);

fixed_text!(CitizenId, 18, "citizen number");

impl CitizenId {
    /// Holds the standard's rules without making a value: the hub does so for each record.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(value: &[u8]) -> Result<(), InvalidIdentifier> {
        let number: &[u8; 18] =
            value.try_into().map_err(|_| InvalidIdentifier::new(KIND, "18 characters"))?;
        let [body @ .., last] = number;
        let expected = check_character(body)?;
        if matches!(body, [b'0', ..]) {
            return Err(InvalidIdentifier::new(KIND, "the first digit is 1 to 9"));
        }
        if !birth(body).is_some_and(|(year, ..)| (1800..=2999).contains(&year)) {
            return Err(InvalidIdentifier::new(KIND, "characters 7 to 14 are a date"));
        }
        if *last == expected {
            Ok(())
        } else {
            Err(InvalidIdentifier::new(KIND, "the check character fits (MOD 11-2)"))
        }
    }

    /// The number of an address code, birth date and sequence, with its check character.
    ///
    /// # Errors
    /// Says which rule the parts break.
    pub fn from_parts(
        address: u32,
        birth: jiff::civil::Date,
        sequence: u16,
    ) -> Result<Self, InvalidIdentifier> {
        let text =
            format!("{address:06}{:04}{:02}{:02}{sequence:03}", birth.year(), birth.month(), birth.day());
        let body: [u8; 17] = text
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidIdentifier::new(KIND, "17 digits before the check character"))?;
        let mut number = [0; 18];
        for (to, from) in number.iter_mut().zip(body.into_iter().chain([check_character(&body)?])) {
            *to = from;
        }
        Self::check(&number)?;
        Ok(Self(number))
    }

    /// The birth date that the number carries.
    #[must_use]
    pub fn birth_date(&self) -> jiff::civil::Date {
        let [body @ .., _] = &self.0;
        birth(body)
            .and_then(|(year, month, day)| jiff::civil::Date::new(year, month, day).ok())
            // `check` held the date.
            .unwrap_or(jiff::civil::Date::ZERO)
    }

    /// The sex that the sequence carries: odd for men.
    #[must_use]
    pub fn sex(&self) -> SexCode {
        match self.0 {
            [.., digit, _] if digit % 2 == 1 => SexCode::Male,
            _ => SexCode::Female,
        }
    }
}

impl std::fmt::Debug for CitizenId {
    /// Personal data: the number itself is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CitizenId(..)")
    }
}

fn check_character(body: &[u8; 17]) -> Result<u8, InvalidIdentifier> {
    let mut sum = 0_u32;
    for (byte, weight) in body.iter().zip(WEIGHTS) {
        if !byte.is_ascii_digit() {
            return Err(InvalidIdentifier::new(KIND, "17 digits before the check character"));
        }
        sum += u32::from(byte - b'0') * weight;
    }
    let place = usize::try_from(sum % 11).unwrap_or_default();
    Ok(CHECK.get(place).copied().unwrap_or_default())
}

/// Year, month and day of a calendar date at characters 7 to 14; the body is digits only.
fn birth(body: &[u8; 17]) -> Option<(i16, i8, i8)> {
    let number = |range: std::ops::Range<usize>| -> Option<i16> {
        let mut value = 0_i16;
        for byte in body.get(range)? {
            value = value.checked_mul(10)?.checked_add(i16::from(byte.checked_sub(b'0')?))?;
        }
        Some(value)
    };
    let (year, month, day) = (number(6..10)?, number(10..12)?, number(12..14)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    Some((year, i8::try_from(month).ok()?, i8::try_from(day).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_carries_its_birth_date_and_sex() {
        let id = CitizenId::parse("11010519491231002X").unwrap();
        assert_eq!(id.birth_date(), jiff::civil::date(1949, 12, 31));
        assert_eq!(id.sex(), SexCode::Female);
        assert_eq!(CitizenId::from_parts(110105, id.birth_date(), 2).unwrap(), id);
        assert_eq!(format!("{id:?}"), "CitizenId(..)");
    }

    #[test]
    fn a_birth_date_must_be_in_the_calendar() {
        for (month, day, valid) in [
            (2, 28, true),
            (2, 29, false),
            (2, 30, false),
            (4, 31, false),
            (13, 1, false),
            (0, 1, false),
            (1, 0, false),
        ] {
            let body = format!("5001991999{month:02}{day:02}002");
            let check = char::from(check_character(body.as_bytes().try_into().unwrap()).unwrap());
            assert_eq!(CitizenId::check(format!("{body}{check}").as_bytes()).is_ok(), valid, "{month} {day}");
        }
    }

    #[test]
    fn what_is_no_citizen_number_is_refused() {
        for bad in [
            "",
            "11010519491231002x",
            "110105194912310021",
            "1101051949123100２",
            "110105491231002",
            "11010519491231002X ",
        ] {
            assert!(CitizenId::parse(bad).is_err(), "{bad}");
        }
    }
}
