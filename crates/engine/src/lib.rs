//! Upstream on local disk, for one machine: segment files that hold the clients' record batches as they came.
//!
//! One node (id 1), no listener: the hub calls it in its own process through the `Upstream` seam.
//!
//! - A Produce is answered after fsync. One fsync serves every Produce that waits on a partition, several
//!   partitions sync at once, and readers see a record only when it is durable (the high watermark).
//! - Only a batch's base offset and leader epoch are written anew (both lie outside its checksum), and its timestamp
//!   where the topic's setting says so.
//! - A crash leaves at most a torn tail, which is cut by checksum on the next start. Anything else that is not as it was
//!   is damage: the engine does not open, and nothing is cut until an operator accepts the loss.
//! - Topics, settings and committed offsets are in `engine.db` (SQLite) in the same folder.
//!
//! Architecture invariant: nothing polls on a timer. Readers wait for a notification, the group clock and the
//! maintenance wait for the next due moment.
//!
//! Architecture invariant: no fsync runs on an async worker.

mod backup;
mod commits;
mod config;
mod database;
mod engine;
mod epochs;
mod error;
mod folder;
mod group;
mod header;
mod log;
mod maintenance;
mod serve;
mod settings;
mod topics;

pub use backup::{PartitionExtent, copy_records, skip_ahead};
pub use config::EngineConfig;
pub use engine::Engine;
pub use error::{Damage, EngineError, Finding};
pub use log::loss::Loss;

/// The id of the only node.
pub const NODE: shuniu_broker::NodeId = shuniu_broker::NodeId(1);
