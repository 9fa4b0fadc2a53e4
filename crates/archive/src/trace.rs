//! Trace (溯源): which deliveries carried a subject's records.

use std::collections::{BTreeMap, BTreeSet};

use shuniu_ledger::{Action, Draft, Entry, SubjectMac};

use crate::reader::{Found, LogReader, VerifyError};

/// A place on a topic: topic id, partition, offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's id.
    pub topic: [u8; 16],
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What the log tells of a subject.
#[derive(Debug, Default)]
pub struct Trace {
    /// The entries that name it: `published`, `recovered`, and the queries and verifications of its records.
    pub named: Vec<Found>,
    /// Where its records stand or stood.
    pub places: BTreeSet<Place>,
    /// The deliveries whose ranges cover those places. None is missed; one may not have arrived.
    pub deliveries: Vec<TracedDelivery>,
}

/// One delivery that carried some of the records.
#[derive(Debug)]
pub struct TracedDelivery {
    /// The entry: who, when, under which grant and for what.
    pub found: Found,
    /// Which of the places it covers.
    pub places: Vec<Place>,
    /// Those that no acknowledgement covers yet.
    open: Vec<Place>,
}

impl TracedDelivery {
    /// Whether the consumer has acknowledged all of those places since (its groups' commits). Without that it may not
    /// have arrived, or been read without committing.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.open.is_empty()
    }
}

impl LogReader {
    /// Follows a subject by its digests, one for each year. The log is read twice: a delivery may stand before the entry
    /// of its records' publication, for that is written after they can be read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn trace(&self, subject: &[SubjectMac]) -> Result<Trace, VerifyError> {
        let mut trace = Trace::default();
        for found in self.entries(0) {
            let found = found?;
            let places = places_of(&found.entry.draft, subject);
            if !places.is_empty() {
                trace.places.extend(places);
                trace.named.push(found);
            }
        }
        let mut by_partition = BTreeMap::<([u8; 16], i32), BTreeSet<i64>>::new();
        for place in &trace.places {
            by_partition.entry((place.topic, place.partition)).or_default().insert(place.offset);
        }
        for found in self.entries(0) {
            let found = found?;
            match found.entry.draft.action {
                Action::Delivered | Action::Queried | Action::Verified => {
                    let places = covered(&found.entry.draft, &by_partition);
                    if !places.is_empty() {
                        let open = places.clone();
                        trace.deliveries.push(TracedDelivery { found, places, open });
                    }
                }
                Action::Acknowledged => trace.acknowledge(&found.entry),
                Action::Published
                | Action::Refused
                | Action::Applied
                | Action::Answered
                | Action::Granted
                | Action::Changed
                | Action::Revoked
                | Action::SignedIn
                | Action::Administered
                | Action::AuditRead
                | Action::Recovered => {}
            }
        }
        Ok(trace)
    }
}

impl Trace {
    fn acknowledge(&mut self, commit: &Entry) {
        let draft = &commit.draft;
        for delivery in &mut self.deliveries {
            let delivered = &delivery.found.entry.draft;
            if delivered.grant == draft.grant && delivered.topic == draft.topic {
                let covered = |place: &Place| {
                    draft.ranges.iter().any(|range| range.contains(place.partition, place.offset))
                };
                delivery.open.retain(|place| !covered(place));
            }
        }
    }
}

/// Where an entry says that the subject's records are.
fn places_of(draft: &Draft, subject: &[SubjectMac]) -> Vec<Place> {
    let (Some(topic), Some(subjects)) = (draft.topic, &draft.subjects) else { return Vec::new() };
    let own = subjects.iter().filter(|(_, _, mac)| subject.contains(mac));
    own.map(|(partition, offset, _)| Place { topic, partition, offset }).collect()
}

/// The places that an entry's ranges cover.
fn covered(draft: &Draft, by_partition: &BTreeMap<([u8; 16], i32), BTreeSet<i64>>) -> Vec<Place> {
    let Some(topic) = draft.topic else { return Vec::new() };
    let mut places = Vec::new();
    for range in &draft.ranges {
        let partition = range.partition();
        let Some(offsets) = by_partition.get(&(topic, partition)) else { continue };
        let within = offsets.range(range.first()..=range.last());
        let held = within.filter(|offset| range.contains(partition, **offset));
        places.extend(held.map(|offset| Place { topic, partition, offset: *offset }));
    }
    places
}
