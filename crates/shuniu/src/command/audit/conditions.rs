//! Which entries are meant, on the command line.

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shuniu_archive::{LogReader, Search};
use shuniu_ledger::{Action, Outcome, SubjectMac};
use shuniu_model::identifier::Uscc;
use shuniu_model::{GrantId, ResourceName, SystemId, Timestamp};

use super::super::{Failure, block_on};
use crate::audit;
use crate::config::Config;
use crate::keys::Keys;
use crate::secret_file::SecretFileError;

/// All that is given must hold.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// The actor's organisation, by its unified social credit code.
    #[arg(long, value_name = "USCC")]
    organisation: Option<Uscc>,
    /// The actor's system.
    #[arg(long)]
    system: Option<SystemId>,
    #[arg(long)]
    resource: Option<ResourceName>,
    #[arg(long)]
    grant: Option<GrantId>,
    /// What happened: published, delivered, refused, granted, revoked, ..
    #[arg(long)]
    action: Option<Action>,
    /// What came of it.
    #[arg(long, value_parser = outcome, value_name = "done|refused")]
    outcome: Option<Outcome>,
    /// From this time on: a date, or an instant such as 2026-01-31T08:00:00+08:00.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Until this time: a date (to its end), or an instant (exclusive).
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Whose record it is about: a citizen number, a social credit code, ..
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
}

impl Conditions {
    /// The conditions in words, for the entry about the search. Whom it was about is personal data and stays out.
    fn in_words(&self) -> String {
        let mut words = Vec::new();
        let mut word = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push(format!("{name} {value}"));
            }
        };
        word("organisation", self.organisation.map(|uscc| uscc.to_string()));
        word("system", self.system.as_ref().map(ToString::to_string));
        word("resource", self.resource.as_ref().map(ToString::to_string));
        word("grant", self.grant.as_ref().map(ToString::to_string));
        word("action", self.action.map(|action| action.as_str().to_owned()));
        word("outcome", self.outcome.map(|outcome| format!("{outcome:?}").to_lowercase()));
        word("from", self.from.map(|time| time.to_string()));
        word("until", self.until.map(|time| time.to_string()));
        word("subject", self.subject.as_ref().map(|_| "(one)".to_owned()));
        if words.is_empty() { "everything".to_owned() } else { words.join(", ") }
    }

    /// Writes down that `command` reads the log, and opens it; with the search.
    pub(super) fn open(self, config: &Config, command: &str) -> Result<(LogReader, Search), Failure> {
        let subject = self.subject.as_deref();
        let recorded = block_on(audit::record_reading(config, command, &self.in_words(), subject))??;
        let log = recorded.open(config)?;
        let search = self.search(&Keys::open(&config.hub.data_folder)?, &config.hub.time_zone)?;
        Ok((log, search))
    }

    /// The search; the keys of all years turn a subject into its digests, and dates are days of the hub's time zone.
    fn search(self, keys: &Keys, time_zone: &str) -> Result<Search, Failure> {
        let zone = TimeZone::get(time_zone)?;
        let subject = match &self.subject {
            Some(subject) => digests(keys, subject)?,
            None => Vec::new(),
        };
        Ok(Search {
            organisation: self.organisation,
            system: self.system,
            resource: self.resource,
            grant: self.grant,
            action: self.action,
            outcome: self.outcome,
            from: self.from.map(|moment| moment.start(&zone)).transpose()?,
            until: self.until.map(|moment| moment.end(&zone)).transpose()?,
            subject,
        })
    }
}

/// A subject's digest under the key of each year that there is.
pub(super) fn digests(keys: &Keys, subject: &str) -> Result<Vec<SubjectMac>, SecretFileError> {
    Ok(keys.all_subjects()?.iter().map(|key| key.mac(subject.as_bytes())).collect())
}

fn outcome(text: &str) -> Result<Outcome, String> {
    match text {
        "done" => Ok(Outcome::Done),
        "refused" => Ok(Outcome::Refused),
        _ => Err("it is done or refused".to_owned()),
    }
}

/// A moment as it is given: a day begins and ends in the hub's time zone, which is known only later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Day(Date),
    Instant(jiff::Timestamp),
}

impl Moment {
    fn start(self, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
        let instant = match self {
            Self::Day(day) => day.to_zoned_datetime(zone.clone())?.timestamp(),
            Self::Instant(instant) => instant,
        };
        Ok(Timestamp::from_micros(instant.as_microsecond()))
    }

    fn end(self, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Day(day) => Self::Day(day.tomorrow()?).start(zone),
            Self::Instant(_) => self.start(zone),
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let instant = text.parse().map(Self::Instant);
        instant.or_else(|_| text.parse().map(Self::Day)).map_err(|_| {
            "a date such as 2026-01-31, or an instant such as 2026-01-31T08:00:00+08:00".to_owned()
        })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Instant(instant) => instant.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_from_its_start_and_until_its_end_in_the_hubs_time_zone() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        let (start, end) =
            (moment("2026-01-31").start(&zone).unwrap(), moment("2026-01-31").end(&zone).unwrap());
        assert_eq!(end.as_micros() - start.as_micros(), 86_400_000_000);
        assert_eq!(moment("2026-01-31T00:00:00+08:00").start(&zone).unwrap(), start);
        assert_eq!(
            moment("1970-01-01T08:00:01+08:00").end(&zone).unwrap(),
            Timestamp::from_micros(1_000_000)
        );
        assert!("yesterday".parse::<Moment>().is_err());
    }
}
