//! The audit log's format: entry, leaf, tile, checkpoint, proof, verification.
//!
//! Architecture invariant: no I/O, no async, no clock, no randomness. No payload ever: an entry names records by
//! partition and offset, people by keyed digests.

mod actor;
mod draft;
mod encoding;
mod entry;
mod range;
mod split;
mod subject;

pub use actor::{Actor, Role};
pub use draft::{
    Acknowledgement, Action, Application, Delivery, Draft, OffsetSpan, Outcome, Part, Publication, Reason,
    Refusal,
};
pub use entry::{BootId, Entry, EntryId, Hash, LEAF_BYTES_MAX, LeafError};
pub use range::OffsetRange;
pub use split::{DraftTooLarge, HEAD_BYTES_MAX};
pub use subject::{SubjectKey, SubjectMac, SubjectRun, Subjects};
