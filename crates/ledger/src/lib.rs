//! The audit log's format: entry, leaf, tile, checkpoint, proof, verification.
//!
//! Architecture invariant: no I/O, no async, no clock, no randomness. No payload ever: an entry names records by
//! partition and offset, people by keyed digests.

mod action;
mod actor;
mod checkpoint;
mod draft;
mod encoding;
mod entry;
pub mod note;
pub mod proof;
mod range;
mod split;
mod subject;
mod suite;
pub mod tile;
mod tiler;

pub use action::{Action, UnknownAction};
pub use actor::{Actor, Role};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use draft::{
    Acknowledgement, Application, Delivery, Draft, OffsetSpan, Outcome, Part, Publication, Reason, Refusal,
};
pub use entry::{BootId, Entry, EntryId, Hash, InvalidEntryId, InvalidHash, LEAF_BYTES_MAX, LeafError};
pub use range::OffsetRange;
pub use split::{DraftTooLarge, HEAD_BYTES_MAX};
pub use subject::{InvalidMac, SubjectKey, SubjectMac, SubjectRun, Subjects};
pub use suite::Suite;
pub use tiler::{LeafTooLong, RestoreError, Tile, Tiler, hashes_of};
