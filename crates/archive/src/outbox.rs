//! Drafts that a transaction left in the database, brought onto the log.

use shuniu_ledger::{Actor, Draft};
use shuniu_store::{Store, StoreError};

use crate::log::{AuditLog, AuditUnavailable};

const ROWS_AT_ONCE: u32 = 200;

/// Why the outbox could not be emptied. What was not taken out stays for the next time.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database gave an error.
    #[error("cannot empty the audit outbox")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot empty the audit outbox")]
    Log(#[from] AuditUnavailable),
}

/// Appends the outbox's drafts in their order and takes them out; how many they were. Any replica may do so, one at a
/// time: while another does, there is nothing to do. A replica that dies between the two writes a draft twice, never not
/// at all.
///
/// # Errors
/// When the database or the log fails.
pub async fn drain_outbox(store: &Store, log: &AuditLog) -> Result<u64, OutboxError> {
    let Some(mut outbox) = store.claim_outbox().await? else { return Ok(0) };
    let mut drained = 0;
    loop {
        let rows = outbox.next(ROWS_AT_ONCE).await?;
        let Some(last) = rows.last().map(|row| row.id) else { break };
        drained += rows.len() as u64;
        let drafts = rows.iter().map(|row| {
            serde_json::from_str(&row.draft).unwrap_or_else(|error| {
                // It must not hold up what stands behind it, nor vanish.
                tracing::error!(row = row.id, %error, "a draft in the audit outbox cannot be read");
                Draft::administered(
                    Actor::hub(),
                    &format!("outbox {}", row.id),
                    "a draft that cannot be read",
                )
            })
        });
        log.append_all(drafts.collect()).await?;
        outbox.done(last).await?;
    }
    outbox.release().await?;
    Ok(drained)
}
