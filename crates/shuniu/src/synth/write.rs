//! The registers as the CSV files that a department's connector reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::company::Company;
use super::person::Person;
use super::{Edition, Fault, Synth, company, decision, person};

/// A made-up register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Register {
    /// People.
    Population,
    /// Companies.
    LegalPerson,
    /// Permits of companies.
    CreditPermit,
    /// Penalties against companies.
    CreditPenalty,
}

impl Register {
    /// Every register.
    pub const ALL: [Self; 4] = [Self::Population, Self::LegalPerson, Self::CreditPermit, Self::CreditPenalty];

    /// The resource that it is published as.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Population => "population",
            Self::LegalPerson => "legal-person",
            Self::CreditPermit => "credit-permit",
            Self::CreditPenalty => "credit-penalty",
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its rows, heading left out.
    pub rows: u64,
    /// Rows that break a rule on purpose, by kind.
    pub faults: BTreeMap<Fault, u64>,
}

/// Called with the number of rows written so far, every few thousand rows.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

impl Synth {
    /// Writes one edition of a register as UTF-8 CSV with a heading.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &self,
        register: Register,
        edition: Edition,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<Written, csv::Error> {
        let mut out = csv::Writer::from_path(path)?;
        let mut written = Written { path: path.to_owned(), rows: 0, faults: BTreeMap::new() };
        let heading = match register {
            Register::Population => person::HEADINGS,
            Register::LegalPerson => company::HEADINGS,
            Register::CreditPermit => decision::PERMIT_HEADINGS,
            Register::CreditPenalty => decision::PENALTY_HEADINGS,
        };
        out.write_record(heading)?;
        let mover = self.mover_index();
        let arrivals = if edition == Edition::Second && register == Register::Population {
            self.people / 1_000
        } else {
            0
        };
        for index in 0..self.rows(register) + arrivals {
            let Some((row, fault)) = self.row(register, index, edition, mover) else { continue };
            out.write_record(&row)?;
            written.rows += 1;
            if let Some(fault) = fault {
                *written.faults.entry(fault).or_default() += 1;
            }
            if index % 4_096 == 0 {
                progress(written.rows);
            }
        }
        out.flush()?;
        progress(written.rows);
        Ok(written)
    }

    /// The row at an index, with its fault; `None` if the edition does not have it.
    fn row(
        &self,
        register: Register,
        index: u64,
        edition: Edition,
        mover: Option<u64>,
    ) -> Option<([String; 18], Option<Fault>)> {
        let companies = self.rows(Register::LegalPerson);
        match register {
            Register::Population => {
                let person = Person::of(self, index, edition, mover)?;
                Some((person.row(), person.fault))
            }
            Register::LegalPerson => {
                let company = Company::of(self, index)?;
                Some((company.row(self), company.fault))
            }
            Register::CreditPermit => Some((decision::permit(self, index, companies)?, Fault::of_row(index))),
            Register::CreditPenalty => {
                Some((decision::penalty(self, index, companies)?, Fault::of_row(index)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use shuniu_model::identifier::CitizenId;

    use super::*;

    fn table(
        synth: &Synth,
        register: Register,
        edition: Edition,
    ) -> (Written, BTreeMap<String, Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let written = synth.write(register, edition, &path, &mut |_| ()).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let key = match register {
            Register::CreditPermit => 9,
            Register::CreditPenalty => 6,
            Register::Population | Register::LegalPerson => 0,
        };
        let rows = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
            .map(|row| (row[key].clone(), row))
            .collect();
        (written, rows)
    }

    #[test]
    fn a_table_has_the_rows_and_the_faults_that_it_reports() {
        let synth = Synth::new(3, 20_000).unwrap();
        for register in Register::ALL {
            let (written, rows) = table(&synth, register, Edition::First);
            assert_eq!(written.rows, synth.rows(register));
            assert_eq!(rows.len() as u64, written.rows, "keys of {register:?} are distinct");
        }
        let (written, rows) = table(&synth, Register::Population, Edition::First);
        let broken = rows.values().filter(|row| CitizenId::parse(&row[0]).is_err()).count() as u64;
        assert_eq!(broken, written.faults[&Fault::CheckCharacter]);
        assert_eq!(written.faults.values().sum::<u64>(), 20);
    }

    #[test]
    fn the_second_edition_has_changes_departures_and_arrivals() {
        let synth = Synth::new(3, 20_000).unwrap();
        let (_, first) = table(&synth, Register::Population, Edition::First);
        let (_, second) = table(&synth, Register::Population, Edition::Second);
        let gone = first.keys().filter(|key| !second.contains_key(*key)).count();
        let come = second.keys().filter(|key| !first.contains_key(*key)).count();
        let changed =
            second.iter().filter(|(key, row)| first.get(*key).is_some_and(|before| before != *row)).count();
        assert_eq!((gone, come), (41, 20));
        assert!((250..320).contains(&changed), "{changed}");
        assert_eq!(
            table(&synth, Register::LegalPerson, Edition::Second).1,
            table(&synth, Register::LegalPerson, Edition::First).1
        );
    }

    #[test]
    fn permits_and_penalties_are_those_of_registered_companies() {
        let synth = Synth::new(3, 20_000).unwrap();
        let (_, companies) = table(&synth, Register::LegalPerson, Edition::First);
        let names: HashSet<&str> = companies.values().map(|row| row[1].as_str()).collect();
        for register in [Register::CreditPermit, Register::CreditPenalty] {
            let (written, rows) = table(&synth, register, Edition::First);
            for row in rows.values() {
                // A company whose own row has a fault is registered under its name or its code only.
                let registered = companies.contains_key(&row[2]) || names.contains(row[0].as_str());
                assert!(registered, "{row:?}");
                assert!(row.iter().any(|field| field.contains("虚拟")));
            }
            assert!(written.faults.values().sum::<u64>() > 0);
        }
    }
}
