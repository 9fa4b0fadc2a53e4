//! Rows that break a rule on purpose, so that there is something to reject.

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The key's check character does not fit.
    CheckCharacter,
    /// A date is not in the calendar.
    ImpossibleDate,
    /// A code is not in its list.
    UnknownCode,
    /// A required item is empty.
    Missing,
}

impl Fault {
    /// One person in 1,000 has a fault, the four kinds in turn.
    pub(super) fn of_person(index: u64) -> Option<Self> {
        (index % 1_000 == 500).then_some(match index / 1_000 % 4 {
            0 => Self::CheckCharacter,
            1 => Self::ImpossibleDate,
            2 => Self::UnknownCode,
            _ => Self::Missing,
        })
    }

    /// One row in 250 of the other registers has a fault: the key's check character, a date or a required item.
    pub(super) fn of_row(index: u64) -> Option<Self> {
        (index % 250 == 125).then_some(match index / 250 % 3 {
            0 => Self::CheckCharacter,
            1 => Self::ImpossibleDate,
            _ => Self::Missing,
        })
    }
}

/// The code with another check character than the one that fits.
pub(super) fn break_check_character(code: &str) -> String {
    let mut characters: Vec<char> = code.chars().collect();
    if let Some(last) = characters.last_mut() {
        *last = if *last == '7' { '4' } else { '7' };
    }
    characters.into_iter().collect()
}
