//! What must come out, counted from the source files without the connector's or the hub's code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shuniu_model::identifier::{CitizenId, EthnicCode, Uscc};

/// A source file that cannot be counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot count `{path}`")]
pub struct ExpectError {
    path: PathBuf,
    #[source]
    source: csv::Error,
}

/// The people of a population file who keep the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct People {
    /// All of them.
    pub(super) valid: u64,
    /// Rows that break a rule.
    pub(super) broken: u64,
    /// By district of residence.
    pub(super) by_district: BTreeMap<String, u64>,
}

impl People {
    pub(super) fn living_in(&self, district: &str) -> u64 {
        self.by_district.get(district).copied().unwrap_or_default()
    }
}

/// Counts a population file: number, name, ethnic group and birth date are what its faults are in.
pub(super) fn people(path: &Path) -> Result<People, ExpectError> {
    let mut people = People::default();
    each(path, |row| {
        let [id, name, ethnic, birth, district] =
            [0, 1, 4, 5, 10].map(|column| row.get(column).unwrap_or_default());
        let valid = CitizenId::parse(id).is_ok()
            && !name.is_empty()
            && EthnicCode::parse(ethnic).is_ok()
            && jiff::civil::Date::strptime("%Y%m%d", birth).is_ok();
        if valid {
            people.valid += 1;
            *people.by_district.entry(district.to_owned()).or_default() += 1;
        } else {
            people.broken += 1;
        }
    })?;
    Ok(people)
}

/// Counts the rows of a company, permit or penalty file that keep the rules: a name, a code that fits, a date that is.
pub(super) fn organisations(path: &Path, [name, code, date]: [usize; 3]) -> Result<u64, ExpectError> {
    let mut valid = 0;
    each(path, |row| {
        let field = |column| row.get(column).unwrap_or_default();
        let holds = !field(name).is_empty()
            && Uscc::parse(field(code)).is_ok()
            && field(date).parse::<jiff::civil::Date>().is_ok();
        valid += u64::from(holds);
    })?;
    Ok(valid)
}

fn each(path: &Path, mut row: impl FnMut(&csv::StringRecord)) -> Result<(), ExpectError> {
    let failed = |source| ExpectError { path: path.to_owned(), source };
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        row(&record);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::synth::{Edition, Register, Synth};
    use super::*;

    #[test]
    fn what_the_generator_broke_is_what_is_counted_as_broken() {
        let folder = tempfile::tempdir().unwrap();
        let synth = Synth::new(1, 20_000).unwrap();
        let write = |register: Register| {
            let path = folder.path().join(register.resource());
            let written = synth.write(register, Edition::First, &path, &mut |_| ()).unwrap();
            (path, written.rows, written.faults.values().sum::<u64>())
        };
        let (path, rows, faults) = write(Register::Population);
        let counted = people(&path).unwrap();
        assert_eq!((counted.valid, counted.broken), (rows - faults, faults));
        assert_eq!(counted.by_district.values().sum::<u64>(), counted.valid);
        for (register, columns) in [
            (Register::LegalPerson, [1, 0, 10]),
            (Register::CreditPermit, [0, 2, 11]),
            (Register::CreditPenalty, [0, 2, 13]),
        ] {
            let (path, rows, faults) = write(register);
            assert_eq!(organisations(&path, columns).unwrap(), rows - faults, "{register:?}");
        }
    }
}
