//! Writes one batch while the next is read: the database's work and the hub's go on side by side.

use std::collections::HashMap;
use std::sync::Arc;

use shuniu_model::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::SinkError;
use super::layout::{Layout, Reader};
use super::table::{Pending, Table};

/// What one transaction takes.
pub(super) struct Batch {
    pub(super) layout: Arc<Layout>,
    pub(super) readers: HashMap<u32, Arc<Reader>>,
    pub(super) pending: Pending,
    pub(super) generation: i64,
    pub(super) caught_up: Option<Timestamp>,
}

type Written = (Table, Result<(u64, u64), SinkError>);

/// The table and the one write that may be under way.
pub(super) struct Writer {
    table: Option<Table>,
    writing: Option<JoinHandle<Written>>,
    tasks: TaskTracker,
}

impl Writer {
    pub(super) fn new(table: Table) -> Self {
        Self { table: Some(table), writing: None, tasks: TaskTracker::new() }
    }

    /// Begins to write. Whoever calls has settled before.
    pub(super) fn begin(&mut self, batch: Batch) {
        let Some(mut table) = self.table.take() else { return };
        self.writing = Some(self.tasks.spawn(async move {
            let Batch { layout, readers, pending, generation, caught_up } = batch;
            let written = table.write(&layout, &readers, &pending, generation, caught_up).await;
            (table, written)
        }));
    }

    /// Waits for the write under way; gives the table, and how many rows were written and deleted since the last call.
    pub(super) async fn settle(&mut self) -> Result<(&mut Table, u64, u64), SinkError> {
        let (mut written, mut deleted) = (0, 0);
        if let Some(writing) = self.writing.take() {
            let (table, done) = writing.await.map_err(|_| gone())?;
            (written, deleted) = done?;
            self.table = Some(table);
        }
        Ok((self.table.as_mut().ok_or_else(gone)?, written, deleted))
    }
}

/// After a write that failed there is no table, and nothing more is read.
fn gone() -> SinkError {
    SinkError::Database { attempted: "go on", source: sqlx::Error::WorkerCrashed }
}
