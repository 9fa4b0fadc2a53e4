//! What the audit log says, read from its tiles.

use std::collections::{BTreeMap, BTreeSet};

use shuniu_archive::{LogReader, TileFolder};
use shuniu_ledger::Action;
use shuniu_ledger::note::NoteVerifier;
use shuniu_tests::Replicas;

use super::workload::Place;

/// The records that entries name.
#[derive(Default)]
pub(super) struct Log {
    /// How many entries were read.
    pub(super) entries: u64,
    /// What was published, as `published` or `recovered` entries say.
    pub(super) published: BTreeSet<Place>,
    /// How many records more than one such entry names.
    pub(super) published_again: u64,
    /// What was delivered, by grant.
    pub(super) delivered: BTreeMap<String, BTreeSet<Place>>,
}

impl Log {
    /// Reads the entries that are new.
    pub(super) fn read_on(&mut self, replicas: &Replicas) -> Result<(), String> {
        let folder = replicas.tiles.file("audit");
        let key = std::fs::read_to_string(folder.join("audit.pub")).map_err(|error| error.to_string())?;
        let key = NoteVerifier::parse(key.trim_end()).map_err(|error| error.to_string())?;
        let log = LogReader::open(TileFolder::open(&folder), key).map_err(|error| error.to_string())?;
        if log.checkpoint().size < self.entries {
            return Err(format!("the log had {} entries and has {}", self.entries, log.checkpoint().size));
        }
        for found in log.entries(self.entries) {
            let found = found.map_err(|error| error.to_string())?;
            self.entries = found.index + 1;
            let draft = found.entry.draft;
            if draft.resource.as_ref().is_none_or(|resource| resource.as_str() != "population") {
                continue;
            }
            let places = draft
                .ranges
                .iter()
                .flat_map(|range| range.offsets().map(|offset| (range.partition(), offset)));
            match draft.action {
                Action::Published | Action::Recovered => {
                    for place in places {
                        self.published_again += u64::from(!self.published.insert(place));
                    }
                }
                Action::Delivered => {
                    let grant = draft.grant.map(|grant| grant.as_str().to_owned()).unwrap_or_default();
                    self.delivered.entry(grant).or_default().extend(places);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
