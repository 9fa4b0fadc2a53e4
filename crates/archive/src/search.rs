//! Finding and handing out entries. Whoever reads through the hub has recorded it before (`audit-read`).

use std::io::{self, Write};

use shuniu_ledger::{Action, Entry, Outcome, SubjectMac};
use shuniu_model::identifier::Uscc;
use shuniu_model::{GrantId, ResourceName, SystemId, Timestamp};

use crate::reader::{Found, LogReader, VerifyError};

/// Which entries. What is `None` does not restrict; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The actor's organisation.
    pub organisation: Option<Uscc>,
    /// The actor's system, or that of a grant that was written.
    pub system: Option<SystemId>,
    /// The resource.
    pub resource: Option<ResourceName>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// What happened.
    pub action: Option<Action>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// A subject of the entry's records, by any of its digests (one for each year).
    pub subject: Vec<SubjectMac>,
}

impl Search {
    /// Whether an entry is meant.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let draft = &entry.draft;
        let system = |wanted: &SystemId| {
            draft.actor.system.as_ref() == Some(wanted)
                || draft.target.as_deref().and_then(|target| target.strip_prefix("system "))
                    == Some(wanted.as_str())
        };
        fits(self.organisation.as_ref(), |wanted| draft.actor.organisation.as_ref() == Some(wanted))
            && fits(self.system.as_ref(), system)
            && fits(self.resource.as_ref(), |wanted| draft.resource.as_ref() == Some(wanted))
            && fits(self.grant.as_ref(), |wanted| draft.grant.as_ref() == Some(wanted))
            && fits(self.action, |wanted| draft.action == wanted)
            && fits(self.outcome, |wanted| draft.outcome == wanted)
            && fits(self.from, |from| entry.time >= from)
            && fits(self.until, |until| entry.time < until)
            && (self.subject.is_empty()
                || draft
                    .subjects
                    .iter()
                    .any(|held| held.iter().any(|(_, _, mac)| self.subject.contains(&mac))))
    }
}

fn fits<W>(wanted: Option<W>, holds: impl FnOnce(W) -> bool) -> bool {
    wanted.is_none_or(holds)
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] VerifyError),
    /// The output cannot be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl LogReader {
    /// The entries that are meant, oldest first, read as they are asked for.
    pub fn search<'a>(&'a self, search: &'a Search) -> impl Iterator<Item = Result<Found, VerifyError>> + 'a {
        self.entries(0).filter(|found| found.as_ref().map_or(true, |found| search.matches(&found.entry)))
    }

    /// Writes the entries that are meant, one JSON object a line: the leaf's index, and the leaf as it stands in the
    /// log. How many they were.
    ///
    /// # Errors
    /// When the log cannot be read or the output not be written.
    pub fn export(&self, search: &Search, out: &mut dyn Write) -> Result<u64, ExportError> {
        let mut written = 0;
        for found in self.search(search) {
            let Found { index, leaf, .. } = found?;
            let line = [format!("{{\"index\":{index},\"entry\":").as_bytes(), &leaf, b"}\n"].concat();
            out.write_all(&line).map_err(ExportError::Write)?;
            written += 1;
        }
        out.flush().map_err(ExportError::Write)?;
        Ok(written)
    }
}
