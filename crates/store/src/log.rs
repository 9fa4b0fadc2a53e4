//! What the audit log keeps in the database: its outbox and its checkpoint.

use sqlx::{Any, Row, Transaction};

use crate::open::{Held, begin};
use crate::{Store, StoreError};

const READ_OUTBOX: &str = "read the audit outbox";

/// A draft that a transaction left for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Rises with each draft.
    pub id: i64,
    /// The draft as JSON text.
    pub draft: String,
}

/// The signed head of the audit log, and how far its topic is sequenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// How many leaves the tree has.
    pub tree_size: u64,
    /// The topic's offset that is sequenced next.
    pub next_offset: i64,
    /// The tree's root, lower-case hex.
    pub root: String,
    /// The signed note.
    pub note: String,
}

/// Puts a draft behind those that wait for the audit log. Its writer must hold the lock of the policy's row.
pub(crate) async fn put_draft(
    write: &mut Transaction<'_, Any>,
    draft: &str,
    attempt: &'static str,
) -> Result<(), StoreError> {
    let insert = sqlx::query("INSERT INTO outbox (draft) VALUES ($1)").bind(draft.to_owned());
    insert.execute(&mut **write).await.map(drop).map_err(StoreError::database(attempt))
}

impl Store {
    /// Adds a draft to the outbox on its own, for what changes nothing else (a reading of the log).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn outbox_add(&self, draft: &str) -> Result<(), StoreError> {
        const ATTEMPT: &str = "write to the audit outbox";
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let mut write = begin(&mut held, self.backend.begin_write(), ATTEMPT).await?;
            // Ids must become visible in their order, or clearing up to one would take a later-committed lower one with
            // it: every writer of drafts holds this row's lock until it has committed.
            sqlx::query("UPDATE policy SET version = version WHERE id = 1")
                .execute(&mut *write)
                .await
                .map_err(StoreError::database(ATTEMPT))?;
            put_draft(&mut write, draft, ATTEMPT).await?;
            write.commit().await.map_err(StoreError::database(ATTEMPT))?;
            held.give_back();
            Ok(())
        })
        .await
    }

    /// How many drafts wait in the outbox.
    ///
    /// # Errors
    /// When the database gives an error.
    pub async fn outbox_length(&self) -> Result<u64, StoreError> {
        let length: i64 = self
            .timed(READ_OUTBOX, async {
                let mut held = self.held(READ_OUTBOX).await?;
                let counted = sqlx::query("SELECT COUNT(*) FROM outbox").fetch_one(held.connection()).await;
                let length =
                    counted.and_then(|row| row.try_get(0)).map_err(StoreError::database(READ_OUTBOX))?;
                held.give_back();
                Ok(length)
            })
            .await?;
        Ok(length.unsigned_abs())
    }

    /// Takes the outbox to empty it; `None` when another replica has it. What a replica that died held is free once the
    /// database has noticed, within half a minute.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn claim_outbox(&self) -> Result<Option<OutboxClaim>, StoreError> {
        const ATTEMPT: &str = "take the audit outbox";
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let claimed = match self.backend.claim_outbox() {
                None => true,
                // The lock is this session's: it falls when the connection does, and what `OutboxClaim::done` takes out
                // goes over the same connection, so nobody takes out what somebody else has claimed since.
                Some(claim) => sqlx::query(claim)
                    .fetch_one(held.connection())
                    .await
                    .and_then(|row| row.try_get(0))
                    .map_err(StoreError::database(ATTEMPT))?,
            };
            if claimed {
                return Ok(Some(OutboxClaim { store: self.clone(), held }));
            }
            held.give_back();
            Ok(None)
        })
        .await
    }

    /// The oldest drafts in the outbox, at most `rows_max`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn outbox_next(&self, rows_max: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.timed(READ_OUTBOX, async {
            let mut held = self.held(READ_OUTBOX).await?;
            let rows = outbox_next(&mut held, rows_max).await?;
            held.give_back();
            Ok(rows)
        })
        .await
    }

    /// The audit log's checkpoint; `None` before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        const ATTEMPT: &str = "read the audit checkpoint";
        let row = self
            .timed(ATTEMPT, async {
                let mut held = self.held(ATTEMPT).await?;
                let row =
                    sqlx::query("SELECT tree_size, next_offset, root, note FROM checkpoint WHERE id = 1")
                        .fetch_optional(held.connection())
                        .await
                        .map_err(StoreError::database(ATTEMPT))?;
                held.give_back();
                Ok(row)
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let size: i64 = row.try_get(0).map_err(StoreError::database(ATTEMPT))?;
        Ok(Some(CheckpointRow {
            tree_size: u64::try_from(size).map_err(|error| StoreError::row("checkpoint", error))?,
            next_offset: row.try_get(1).map_err(StoreError::database(ATTEMPT))?,
            root: row.try_get(2).map_err(StoreError::database(ATTEMPT))?,
            note: row.try_get(3).map_err(StoreError::database(ATTEMPT))?,
        }))
    }

    /// Replaces the checkpoint of `tree_size_before` leaves (0 for none). Returns `false`, and changes nothing, when it
    /// is another by now: another replica was faster.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn swap_checkpoint(
        &self,
        tree_size_before: u64,
        new: &CheckpointRow,
    ) -> Result<bool, StoreError> {
        const ATTEMPT: &str = "write the audit checkpoint";
        let signed = |size: u64| i64::try_from(size).map_err(|error| StoreError::row("checkpoint", error));
        let (before, size) = (signed(tree_size_before)?, signed(new.tree_size)?);
        let query = if before == 0 {
            // An empty log's checkpoint may be there already, with no leaf.
            "INSERT INTO checkpoint (id, tree_size, next_offset, root, note) VALUES (1, $1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET tree_size = excluded.tree_size, next_offset = excluded.next_offset, \
             root = excluded.root, note = excluded.note WHERE checkpoint.tree_size = $5"
        } else {
            "UPDATE checkpoint SET tree_size = $1, next_offset = $2, root = $3, note = $4 WHERE id = 1 AND tree_size = $5"
        };
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let done = sqlx::query(query)
                .bind(size)
                .bind(new.next_offset)
                .bind(new.root.clone())
                .bind(new.note.clone())
                .bind(before)
                .execute(held.connection())
                .await
                .map_err(StoreError::database(ATTEMPT))?;
            held.give_back();
            Ok(done.rows_affected() == 1)
        })
        .await
    }
}

/// The outbox, held by one replica at a time. Dropped without [`OutboxClaim::release`], it is free once its connection
/// is closed.
pub struct OutboxClaim {
    store: Store,
    held: Held,
}

impl OutboxClaim {
    /// The oldest drafts, at most `rows_max`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next(&mut self, rows_max: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.store.timed(READ_OUTBOX, outbox_next(&mut self.held, rows_max)).await
    }

    /// Takes drafts out once they stand on the log. A crash before this writes them twice, never not.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn done(&mut self, up_to: i64) -> Result<(), StoreError> {
        const ATTEMPT: &str = "clear the audit outbox";
        let delete = sqlx::query("DELETE FROM outbox WHERE id <= $1").bind(up_to);
        let connection = self.held.connection();
        let done =
            async { delete.execute(connection).await.map(drop).map_err(StoreError::database(ATTEMPT)) };
        self.store.timed(ATTEMPT, done).await
    }

    /// Leaves the outbox to whoever comes next.
    ///
    /// # Errors
    /// When the database does not answer; the outbox is free then all the same, once the connection is closed.
    pub async fn release(self) -> Result<(), StoreError> {
        const ATTEMPT: &str = "give the audit outbox back";
        let Self { store, mut held } = self;
        if let Some(release) = store.backend.release_outbox() {
            let connection = held.connection();
            let done = async {
                sqlx::query(release).execute(connection).await.map_err(StoreError::database(ATTEMPT))
            };
            store.timed(ATTEMPT, done).await?;
        }
        held.give_back();
        Ok(())
    }
}

async fn outbox_next(held: &mut Held, rows_max: u32) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = sqlx::query("SELECT id, draft FROM outbox ORDER BY id LIMIT $1")
        .bind(i64::from(rows_max))
        .fetch_all(held.connection())
        .await
        .map_err(StoreError::database(READ_OUTBOX))?;
    rows.iter()
        .map(|row| Ok(OutboxRow { id: row.try_get(0)?, draft: row.try_get(1)? }))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::database(READ_OUTBOX))
}
