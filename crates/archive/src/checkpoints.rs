//! The row that says how far the log is: one for all replicas, moved by compare-and-swap.

use std::sync::{Mutex, PoisonError};

use shuniu_broker::BoxFuture;
use shuniu_ledger::Hash;
use shuniu_store::Store;

/// How far the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The first offset of the topic that is not in the tree.
    pub next_offset: i64,
    /// The tree's root.
    pub root: Hash,
    /// The signed checkpoint.
    pub note: String,
}

/// Why the row could not be read or moved. It says nothing of whether it was moved.
#[derive(Debug, thiserror::Error)]
#[error("cannot read or move the audit log's checkpoint")]
pub struct CheckpointFailure(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where the row is.
///
/// Durability contract: when `swap` answers true, the row is durable and every later `current` of any replica gives it
/// or a later one.
pub trait Checkpoints: Send + Sync + 'static {
    /// The row; `None` before the first.
    fn current(&self) -> BoxFuture<'_, Result<Option<CheckpointRow>, CheckpointFailure>>;

    /// Puts `row` in the place of the one with `expected_size` leaves (0: of none, or of an empty tree); false when
    /// another stands there.
    fn swap(&self, expected_size: u64, row: CheckpointRow) -> BoxFuture<'_, Result<bool, CheckpointFailure>>;
}

impl Checkpoints for Store {
    fn current(&self) -> BoxFuture<'_, Result<Option<CheckpointRow>, CheckpointFailure>> {
        Box::pin(async move {
            let Some(row) = self.checkpoint().await.map_err(failed)? else { return Ok(None) };
            let root = row.root.parse().map_err(failed)?;
            let shuniu_store::CheckpointRow { tree_size, next_offset, note, .. } = row;
            Ok(Some(CheckpointRow { tree_size, next_offset, root, note }))
        })
    }

    fn swap(&self, expected_size: u64, row: CheckpointRow) -> BoxFuture<'_, Result<bool, CheckpointFailure>> {
        Box::pin(async move {
            let CheckpointRow { tree_size, next_offset, root, note } = row;
            let row = shuniu_store::CheckpointRow { tree_size, next_offset, root: root.to_string(), note };
            self.swap_checkpoint(expected_size, &row).await.map_err(failed)
        })
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> CheckpointFailure {
    CheckpointFailure(Box::new(error))
}

/// A row in memory, for tests and benches.
#[derive(Debug, Default)]
pub struct MemoryCheckpoints(Mutex<Option<CheckpointRow>>);

impl Checkpoints for MemoryCheckpoints {
    fn current(&self) -> BoxFuture<'_, Result<Option<CheckpointRow>, CheckpointFailure>> {
        let row = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Ok(row) })
    }

    fn swap(&self, expected_size: u64, row: CheckpointRow) -> BoxFuture<'_, Result<bool, CheckpointFailure>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = held.as_ref().map_or(0, |row| row.tree_size) == expected_size;
        if fits {
            *held = Some(row);
        }
        drop(held);
        Box::pin(async move { Ok(fits) })
    }
}
