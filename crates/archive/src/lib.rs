//! The audit log's life: entries are appended to the topic `shuniu.audit`, sequenced into tiles under signed
//! checkpoints, and verified, searched and exported from the tiles alone.
//!
//! Architecture invariant: what is in the tiles is a function of the topic; nothing here decides what an entry says.

mod bounded;
mod checkpoints;
mod folder;
mod log;
mod meter;
mod objects;
mod outbox;
mod partition;
mod reader;
mod refusals;
mod resume;
mod search;
mod sequencer;
mod spool;
mod tiles;
mod trace;
mod trim;
mod verify;
mod writer;

pub use bounded::{CHECKPOINT_BYTES_MAX, KEY_BYTES_MAX, read_bounded, read_text_bounded};
pub use checkpoints::{CheckpointFailure, CheckpointRow, Checkpoints, MemoryCheckpoints};
pub use folder::TileFolder;
pub use log::{AuditLog, AuditOptions, AuditStart, AuditUnavailable, Receipt};
pub use meter::TRACED;
pub use objects::{ObjectOptions, ObjectStart, TileObjects};
pub use outbox::{OutboxError, drain_outbox};
pub use partition::{AUDIT_TOPIC, PartitionError, audit_topic};
pub use reader::{Found, LogReader, VerifyError};
pub use resume::{ResumeError, Resumed, resume};
pub use search::{ExportError, Search};
pub use sequencer::{Sequenced, Sequencer, SequencerError, SequencerOptions};
pub use tiles::{TileError, Tiles};
pub use trace::{Place, Trace, TracedDelivery};
pub use trim::Trimmer;
pub use verify::{Included, VerifiedLog, Which};
