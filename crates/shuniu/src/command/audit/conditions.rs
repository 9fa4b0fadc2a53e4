//! Which entries are meant, on the command line.

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shuniu_archive::Search;
use shuniu_ledger::{Action, Outcome, SubjectMac};
use shuniu_model::identifier::Uscc;
use shuniu_model::{GrantId, ResourceName, SystemId, Timestamp};

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
    #[arg(long, value_parser = from, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Until this time: a date (to its end), or an instant (exclusive).
    #[arg(long, value_parser = until, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Whose record it is about: a citizen number, a social credit code, ..
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
}

impl Conditions {
    /// The conditions in words, for the entry about the search. Whom it was about is personal data and stays out.
    pub(super) fn in_words(&self) -> String {
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

    /// The search; the keys of all years turn a subject into its digests.
    pub(super) fn search(self, keys: &Keys) -> Result<Search, SecretFileError> {
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
            from: self.from,
            until: self.until,
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

fn from(text: &str) -> Result<Timestamp, String> {
    instant(text, Some)
}

fn until(text: &str) -> Result<Timestamp, String> {
    instant(text, |date| date.tomorrow().ok())
}

/// A date begins, and ends, in this machine's time zone.
fn instant(text: &str, day: impl FnOnce(Date) -> Option<Date>) -> Result<Timestamp, String> {
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Some(instant),
        Err(_) => text
            .parse()
            .ok()
            .and_then(day)
            .and_then(|date| date.to_zoned_datetime(TimeZone::system()).ok())
            .map(|midnight| midnight.timestamp()),
    };
    instant.map(|instant| Timestamp::from_micros(instant.as_microsecond())).ok_or_else(|| {
        "a date such as 2026-01-31, or an instant such as 2026-01-31T08:00:00+08:00".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_from_its_start_and_until_its_end() {
        let (start, end) = (from("2026-01-31").unwrap(), until("2026-01-31").unwrap());
        assert_eq!(end.as_micros() - start.as_micros(), 86_400_000_000);
        assert_eq!(from("1970-01-01T08:00:01+08:00").unwrap(), Timestamp::from_micros(1_000_000));
        assert!(from("yesterday").is_err());
    }
}
