//! Directory, grants, outbox and audit checkpoints in SQL: one text for SQLite and PostgreSQL.
//!
//! Architecture invariant: a policy write and its audit draft are one transaction, and every policy write takes the
//! row `policy` first, whose lock is the order in which writes happen. Nothing here decides who may do what.
//!
//! Statements use `$n` parameters, 64-bit integers (microseconds), text and bytes, which both databases take. What
//! differs is in `backend.rs`, and following the policy in `feed.rs`.

mod backend;
mod change;
mod copy;
mod database;
mod error;
mod facts;
mod feed;
mod keys;
mod log;
mod open;
mod view;

pub use change::Change;
pub use copy::Copied;
pub use database::{Database, DatabaseSettings, is_local_host};
pub use error::StoreError;
pub use feed::{PolicyFeed, PolicyState};
pub use log::{CheckpointRow, OutboxClaim, OutboxRow};
pub use open::{Migrated, Store};
