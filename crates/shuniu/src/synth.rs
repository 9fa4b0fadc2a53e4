//! Made-up registers: people, companies, permits and penalties that obey every rule and belong to nobody.
//!
//! A row depends on seed, register, index and edition alone, so any row can be made again at any time, registers refer
//! to each other truly, and a million rows need no more memory than one.
//!
//! How to tell that a row is made up: the address part of every citizen number is [`ADDRESS_PART`], which GB/T 2260
//! never assigned; every organisation code starts with `XN` (虚拟, virtual), and names say 虚拟.

mod company;
mod decision;
mod fault;
mod name;
mod person;
mod place;
mod random;
mod write;

use jiff::civil::{Date, date};
use shuniu_model::identifier::CitizenId;

pub use company::authority_code;
pub use fault::Fault;
pub use place::YUZHONG;
pub use write::{Progress, Register, Written};

use person::Person;
use place::Places;

/// The address part of every made-up citizen number: in the range of Chongqing's districts, and never assigned.
pub const ADDRESS_PART: u32 = 500_199;
/// The first birth date that is given.
const FIRST_BIRTH: Date = date(1930, 1, 1);
/// Days from [`FIRST_BIRTH`] to the end of 2023.
const DAYS: u64 = 34_333;
/// Sequence codes 001 to 999 of one day.
const SEQUENCES: u64 = 999;
/// Fewer people than this do not fill every district.
pub const PEOPLE_MIN: u64 = 1_000;
/// More people than this and company numbers (a twentieth of them) run out.
pub const PEOPLE_MAX: u64 = 20_000_000;

/// One state of the registers: the second follows the first by a day's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// As first published.
    First,
    /// A day later: people have moved, come and gone.
    Second,
}

/// How many people there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot make up {asked} people: it is 1000 to 20000000")]
pub struct PeopleOutOfRange {
    asked: u64,
}

/// The made-up registers of one seed and size.
#[derive(Debug, Clone)]
pub struct Synth {
    seed: u64,
    people: u64,
    places: Places,
    /// Spreads indices over birth dates and sequences, each pair once.
    stride: u64,
    shift: u64,
}

impl Synth {
    /// The registers of a city of `people`.
    ///
    /// # Errors
    /// If there are too few or too many.
    pub fn new(seed: u64, people: u64) -> Result<Self, PeopleOutOfRange> {
        if !(PEOPLE_MIN..=PEOPLE_MAX).contains(&people) {
            return Err(PeopleOutOfRange { asked: people });
        }
        let numbers = DAYS * SEQUENCES;
        let mut stride = (random::mix(seed, "stride", 0) % numbers) | 1;
        while gcd(stride, numbers) != 1 {
            stride += 2;
        }
        let shift = random::mix(seed, "shift", 0) % numbers;
        Ok(Self { seed, people, places: Places::new(), stride, shift })
    }

    /// How many people the first edition has, rows with faults included.
    #[must_use]
    pub fn people(&self) -> u64 {
        self.people
    }

    /// The rows of a register in an edition; those that left before the second edition are not counted.
    #[must_use]
    pub fn rows(&self, register: Register) -> u64 {
        match register {
            Register::Population => self.people,
            Register::LegalPerson => self.people / 20,
            Register::CreditPermit => self.people / 25,
            Register::CreditPenalty => self.people / 100,
        }
    }

    /// The citizen number of the person at an index; no two indices share one.
    fn citizen_id(&self, index: u64) -> Option<CitizenId> {
        let place = (index * self.stride + self.shift) % (DAYS * SEQUENCES);
        let birth =
            FIRST_BIRTH.checked_add(jiff::Span::new().days(i64::try_from(place / SEQUENCES).ok()?)).ok()?;
        let sequence = u16::try_from(place % SEQUENCES + 1).ok()?;
        CitizenId::from_parts(ADDRESS_PART, birth, sequence).ok()
    }

    /// The first person who lives in Yuzhong in the first edition; in the second, the person lives in Jiangbei.
    #[must_use]
    pub fn mover(&self) -> Option<CitizenId> {
        self.mover_index().and_then(|index| self.citizen_id(index))
    }

    fn mover_index(&self) -> Option<u64> {
        (0..self.people).find(|index| {
            Fault::of_person(*index).is_none()
                && !person::leaves(*index)
                && Person::first(self, *index).is_some_and(|person| person.live_division == YUZHONG)
        })
    }
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use shuniu_model::identifier::{DivisionCode, DivisionHistory, SexCode};

    use super::*;

    fn synth() -> Synth {
        Synth::new(7, 20_000).unwrap()
    }

    #[test]
    fn the_address_part_was_never_assigned() {
        let history = DivisionHistory::gb2260().unwrap();
        let code = DivisionCode::parse(&ADDRESS_PART.to_string()).unwrap();
        assert!(history.meanings(&code).is_empty());
    }

    #[test]
    fn no_two_people_share_a_number_and_each_number_is_made_up() {
        let synth = synth();
        let mut seen = HashSet::new();
        for index in 0..synth.people {
            let id = synth.citizen_id(index).unwrap();
            assert!(id.as_str().starts_with("500199"));
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn a_row_is_the_same_whenever_it_is_made() {
        let rows = |seed| {
            (0..500).map(|index| Person::first(&Synth::new(seed, 1_000).unwrap(), index)).collect::<Vec<_>>()
        };
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }

    #[test]
    fn number_sex_and_birth_date_of_a_person_agree() {
        let synth = synth();
        for index in 0..2_000 {
            let person = Person::first(&synth, index).unwrap();
            let id = CitizenId::parse(&person.id_no).unwrap();
            assert_eq!(SexCode::parse(person.sex).unwrap(), id.sex());
            assert_eq!(person.birth, id.birth_date());
        }
    }

    #[test]
    fn the_mover_lives_in_yuzhong_and_then_in_jiangbei() {
        let synth = synth();
        let index = synth.mover_index().unwrap();
        assert_eq!(Person::first(&synth, index).unwrap().live_division, YUZHONG);
        assert_eq!(Person::second(&synth, index).unwrap().live_division, place::JIANGBEI);
        assert_eq!(synth.mover().unwrap(), synth.citizen_id(index).unwrap());
    }

    #[test]
    fn the_number_of_people_has_bounds() {
        assert!(Synth::new(1, 10).is_err());
        assert!(Synth::new(1, PEOPLE_MAX + 1).is_err());
    }
}
