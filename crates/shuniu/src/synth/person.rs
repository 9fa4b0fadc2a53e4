//! One person of the population register.

use jiff::civil::Date;
use rand::rngs::Xoshiro256PlusPlus;
use shuniu_model::identifier::SexCode;

use super::{Edition, Fault, Synth, fault, name, place, random};

/// Whoever is born from here on is under 14.
const CHILD_FROM_YEAR: i16 = 2012;
/// Whoever is born up to here is old enough to be somebody's guardian.
const GUARDIAN_TO_YEAR: i16 = 1998;

/// One row of the population register, as the source's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id_no: String,
    pub(super) name: String,
    pub(super) former_name: String,
    pub(super) sex: &'static str,
    pub(super) ethnic: &'static str,
    pub(super) birth: Date,
    pub(super) birth_place: &'static str,
    pub(super) native_place: &'static str,
    pub(super) hukou_division: &'static str,
    pub(super) hukou_addr: String,
    pub(super) live_division: &'static str,
    pub(super) live_addr: String,
    pub(super) marital: &'static str,
    pub(super) education: &'static str,
    pub(super) relation: &'static str,
    pub(super) guardian_id_no: String,
    pub(super) fault: Option<Fault>,
}

/// The column headings of the source's table.
pub(super) const HEADINGS: [&str; 18] = [
    "公民身份号码",
    "姓名",
    "曾用名",
    "性别",
    "民族",
    "出生日期",
    "出生地",
    "籍贯",
    "户籍地区划",
    "户籍地址",
    "居住地区划",
    "居住地址",
    "婚姻状况",
    "文化程度",
    "与户主关系",
    "死亡标识",
    "死亡日期",
    "监护人公民身份号码",
];

/// Whether the person's registration is cancelled before the second edition.
pub(super) fn leaves(index: u64) -> bool {
    index % 499 == 3
}

impl Person {
    /// The person in an edition; `None` for one who has left it.
    pub(super) fn of(synth: &Synth, index: u64, edition: Edition, mover: Option<u64>) -> Option<Self> {
        match edition {
            Edition::First => Self::first(synth, index),
            Edition::Second if leaves(index) => None,
            Edition::Second => {
                let mut person = Self::first(synth, index)?;
                person.age_by_a_day(synth, index, mover);
                Some(person)
            }
        }
    }

    pub(super) fn first(synth: &Synth, index: u64) -> Option<Self> {
        let id = synth.citizen_id(index)?;
        let birth = id.birth_date();
        let mut random = random::of(synth.seed, "person", index);
        let hukou_division = synth.places.district(&mut random);
        let elsewhere = random::per_mille(&mut random, 150);
        let live_division = if elsewhere { synth.places.district(&mut random) } else { hukou_division };
        let hukou_addr = synth.places.home(&mut random, hukou_division);
        let live_addr =
            if elsewhere { synth.places.home(&mut random, live_division) } else { hukou_addr.clone() };
        let child = birth.year() >= CHILD_FROM_YEAR;
        Some(Self {
            id_no: id.as_str().to_owned(),
            name: name::person(&mut random),
            former_name: if random::per_mille(&mut random, 20) {
                name::person(&mut random)
            } else {
                String::new()
            },
            sex: if id.sex() == SexCode::Male { "1" } else { "2" },
            ethnic: random::weighted(
                &mut random,
                &[("01", 933), ("15", 42), ("06", 20), ("03", 2), ("07", 2), ("11", 1)],
            ),
            birth,
            birth_place: if random::per_mille(&mut random, 800) {
                hukou_division
            } else {
                synth.places.district(&mut random)
            },
            native_place: if random::per_mille(&mut random, 700) {
                hukou_division
            } else {
                synth.places.district(&mut random)
            },
            hukou_division,
            hukou_addr,
            live_division,
            live_addr,
            marital: marital(&mut random, birth),
            education: education(&mut random, birth),
            relation: random::weighted(
                &mut random,
                if child {
                    &[("20", 52), ("30", 48)]
                } else {
                    &[("01", 40), ("10", 30), ("20", 15), ("30", 15)]
                },
            ),
            guardian_id_no: if child { guardian(synth, &mut random) } else { String::new() },
            fault: Fault::of_person(index),
        })
    }

    #[cfg(test)]
    pub(super) fn second(synth: &Synth, index: u64) -> Option<Self> {
        Self::of(synth, index, Edition::Second, synth.mover_index())
    }

    /// One in 97 gets a new address in the same district, one in 211 moves; the mover goes to Jiangbei.
    fn age_by_a_day(&mut self, synth: &Synth, index: u64, mover: Option<u64>) {
        let mut random = random::of(synth.seed, "second edition", index);
        if mover == Some(index) {
            self.live_division = place::JIANGBEI;
        } else if index % 211 == 7 {
            self.live_division = synth.places.district(&mut random);
        } else if index % 97 != 13 {
            return;
        }
        self.live_addr = synth.places.home(&mut random, self.live_division);
    }

    /// The row under [`HEADINGS`], with its fault if it has one.
    pub(super) fn row(&self) -> [String; 18] {
        let birth = format!("{:04}{:02}{:02}", self.birth.year(), self.birth.month(), self.birth.day());
        let impossible = format!("{:04}0230", self.birth.year());
        let broken = |fault| self.fault == Some(fault);
        [
            if broken(Fault::CheckCharacter) {
                fault::break_check_character(&self.id_no)
            } else {
                self.id_no.clone()
            },
            if broken(Fault::Missing) { String::new() } else { self.name.clone() },
            self.former_name.clone(),
            self.sex.to_owned(),
            if broken(Fault::UnknownCode) { "汉" } else { self.ethnic }.to_owned(),
            if broken(Fault::ImpossibleDate) { impossible } else { birth },
            self.birth_place.to_owned(),
            self.native_place.to_owned(),
            self.hukou_division.to_owned(),
            self.hukou_addr.clone(),
            self.live_division.to_owned(),
            self.live_addr.clone(),
            self.marital.to_owned(),
            self.education.to_owned(),
            self.relation.to_owned(),
            "0".to_owned(),
            String::new(),
            self.guardian_id_no.clone(),
        ]
    }
}

/// GB/T 2261.2, by age.
fn marital(random: &mut Xoshiro256PlusPlus, birth: Date) -> &'static str {
    match birth.year() {
        2004.. => "10",
        1994.. => random::weighted(random, &[("10", 600), ("20", 380), ("40", 20)]),
        1960.. => random::weighted(random, &[("10", 60), ("20", 810), ("22", 40), ("40", 80), ("30", 10)]),
        _ => random::weighted(random, &[("20", 620), ("30", 330), ("40", 30), ("10", 20)]),
    }
}

/// GB/T 4658, by age.
fn education(random: &mut Xoshiro256PlusPlus, birth: Date) -> &'static str {
    match birth.year() {
        2018.. => "90",
        2011.. => "80",
        2005.. => "70",
        1985.. => random::weighted(random, &[("20", 250), ("30", 250), ("60", 200), ("70", 250), ("10", 50)]),
        _ => random::weighted(random, &[("20", 60), ("30", 90), ("60", 200), ("70", 400), ("80", 250)]),
    }
}

/// Somebody of this city who is old enough; empty if a dozen draws find nobody.
fn guardian(synth: &Synth, random: &mut Xoshiro256PlusPlus) -> String {
    let bound = u32::try_from(synth.people).unwrap_or(u32::MAX);
    (0..12)
        .filter_map(|_| synth.citizen_id(u64::from(random::below(random, bound))))
        .find(|id| id.birth_date().year() <= GUARDIAN_TO_YEAR)
        .map(|id| id.as_str().to_owned())
        .unwrap_or_default()
}
