//! The directory from one declarative file: organisations, systems, resources, grants.
//!
//! Applying says what is to be there. What the file leaves out is left alone; a grant ends only by `state =
//! "revoked"`. A changed view is a new grant under a new id. The same file applied twice changes nothing.

mod difference;
mod file;
mod grants;
mod problem;
mod resources;

use shuniu_ledger::{Actor, Draft};
use shuniu_model::Timestamp;
use shuniu_policy::Facts;
use shuniu_store::{Change, Store, StoreError};

use crate::keyring::KeyRing;

pub use file::DirectoryFile;
pub(crate) use problem::chain;
pub use problem::{Problem, Problems};

/// How a file is read against the directory.
pub struct Context<'a> {
    /// What the directory holds.
    pub facts: &'a Facts,
    /// The pseudonym master keys: projected schemas carry defaults under them.
    pub keys: &'a dyn KeyRing,
    /// The time zone in which a bare date ends, by its IANA name.
    pub time_zone: &'a str,
    /// When new grants start that do not say so.
    pub now: Timestamp,
}

/// How often changes are tried while the hub makes topics: each one that it makes is a write to the directory.
const ATTEMPTS_MAX: u32 = 20;

/// What a file changes.
#[derive(Debug, Default)]
pub struct Changes {
    /// What they were worked out from.
    facts: Facts,
    lines: Vec<String>,
    changes: Vec<Change>,
    drafts: Vec<DraftOf>,
}

/// An audit draft that waits for its actor.
#[derive(Debug)]
enum DraftOf {
    Changed { target: String, detail: String },
    Granted(Box<shuniu_model::Grant>),
    Revoked { id: shuniu_model::GrantId, resource: shuniu_model::ResourceName },
}

impl Changes {
    /// Whether the directory is as the file says already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The difference, a line each: `+` for what is new, `~` for what changes, `-` for what ends.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Makes the changes and their audit entries, in one transaction, in the operator's name. Returns the new policy
    /// version.
    ///
    /// A hub that runs writes to the directory too: it notes the topics that it makes. No change is worked out from
    /// those, so changes are tried again behind such a write. Behind any other they are not: whoever looked at the
    /// difference must see it anew.
    ///
    /// # Errors
    /// When the database refuses, or the directory changed since they were worked out; nothing is changed then.
    pub async fn apply(&self, store: &Store, operator: &str) -> Result<u64, StoreError> {
        let drafts = self
            .drafts
            .iter()
            .map(|draft| {
                let actor = Actor::operator(operator);
                let draft = match draft {
                    DraftOf::Changed { target, detail } => Draft::changed(actor, target, detail),
                    DraftOf::Granted(grant) => Draft::granted(actor, grant),
                    DraftOf::Revoked { id, resource } => Draft::revoked_grant(
                        actor,
                        id.clone(),
                        resource.clone(),
                        "revoked in the directory file",
                    ),
                };
                serde_json::to_string(&draft).map_err(|error| {
                    StoreError::Conflict(format!("an audit draft cannot be written: {error}"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut version = self.facts.version;
        for _ in 1..ATTEMPTS_MAX {
            match store.write_after(version, &self.changes, &drafts).await {
                Err(StoreError::Changed) => {
                    let now = store.facts().await?;
                    if !now.same_but_for_topics(&self.facts) {
                        return Err(StoreError::Changed);
                    }
                    version = now.version;
                }
                written => return written,
            }
        }
        store.write_after(version, &self.changes, &drafts).await
    }

    /// A line of the difference. What the directory or a schema holds stays within it.
    fn show(&mut self, line: &str) {
        self.lines.push(shuniu_model::shown(line));
    }

    fn note(&mut self, sign: char, target: String, detail: String, change: Change) {
        let gap = if detail.is_empty() { "" } else { ": " };
        self.show(&format!("{sign} {target}{gap}{detail}"));
        self.changes.push(change);
        self.drafts.push(DraftOf::Changed { target, detail });
    }
}
