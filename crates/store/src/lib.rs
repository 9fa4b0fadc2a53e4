//! Directory, grants, outbox and audit checkpoints in SQL: one text for SQLite and PostgreSQL.
//!
//! Architecture invariant: a policy write and its audit draft are one transaction, and every policy write takes the
//! row `policy` first, whose lock is the order in which writes happen. Nothing here decides who may do what.
//!
//! Statements use `$n` parameters, 64-bit integers (microseconds), text and bytes, which both databases take. What
//! differs is in the two files under `sql/` and in `backend.rs`.

mod backend;
mod change;
mod error;
mod facts;
mod log;
mod open;
mod view;

pub use change::Change;
pub use error::StoreError;
pub use log::{CheckpointRow, OutboxRow};
pub use open::Store;
