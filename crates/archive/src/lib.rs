//! The audit log's life: entries are appended to the topic `shuniu.audit`, sequenced into tiles under signed
//! checkpoints, and verified, searched and exported from the tiles alone.
//!
//! Architecture invariant: what is in the tiles is a function of the topic; nothing here decides what an entry says.

mod checkpoints;
mod folder;
mod log;
mod partition;
mod refusals;
mod sequencer;
mod spool;
mod tiles;
mod writer;

pub use checkpoints::{CheckpointFailure, CheckpointRow, Checkpoints, MemoryCheckpoints};
pub use folder::TileFolder;
pub use log::{AuditLog, AuditOptions, AuditStart, AuditUnavailable, Receipt};
pub use partition::{AUDIT_TOPIC, PartitionError};
pub use sequencer::{Sequenced, Sequencer, SequencerError, SequencerOptions};
pub use tiles::{TileError, Tiles};
