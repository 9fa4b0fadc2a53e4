//! The record store and the audit log held against each other when the hub starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shuniu_archive::{LogReader, Sequenced, Tiles, VerifyError};
use shuniu_exchange::{Covered, Ends, Exchange, RecoverError};
use shuniu_ledger::note::NoteVerifier;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How often what the log covers is brought up to date, so that the next start reads no more of it than that; and how
/// long records may be without an entry before it is written for the hub that published them.
const KEPT_EVERY: Duration = Duration::from_mins(10);
/// Added by each hub, so that of several one writes and the others find the entries there.
const APART_MAX: Duration = Duration::from_mins(1);
/// What another hub published just before this one's start has its entry by then.
const ON_THEIR_WAY: Duration = Duration::from_secs(7);

/// What is needed for it.
pub(super) struct Recovery {
    pub(super) exchange: Arc<Exchange>,
    pub(super) ends: Ends,
    /// Where the entry about the start stands on the log's topic.
    pub(super) started_at: i64,
    pub(super) state: watch::Receiver<Sequenced>,
    pub(super) tiles: Arc<dyn Tiles>,
    pub(super) key: NoteVerifier,
    /// The file of what is kept for the next start.
    pub(super) kept: PathBuf,
}

impl Recovery {
    /// Refuses if acknowledged records are not there. Where the log cannot be sequenced now, its tiles tell of all but
    /// the newest entries; these are held against the records as soon as they are sequenced.
    pub(super) async fn before_the_doors(&mut self) -> Result<Covered, RecoverError> {
        let started_at = self.started_at;
        // The end of the sequencer is told of elsewhere, and what is in the tiles can be looked at all the same.
        self.state.wait_for(|state| state.next_offset > started_at || state.trouble.is_some()).await.ok();
        self.held_against_the_log(None).await
    }

    /// Looks for records without an entry, once the log is sequenced up to the hub's start; then keeps what the log
    /// covers. `lost` is told if records are not there after all.
    pub(super) async fn run(
        mut self,
        covered: Covered,
        lost: oneshot::Sender<RecoverError>,
        cancel: CancellationToken,
    ) {
        let started_at = self.started_at;
        let sequenced = self.state.wait_for(|state| state.next_offset > started_at);
        tokio::select! {
            () = cancel.cancelled() => return,
            sequenced = sequenced => if sequenced.is_err() { return },
        }
        let covered = match self.recover(covered.clone(), &cancel).await {
            Ok(covered) => covered,
            Err(error @ RecoverError::Lost { .. }) => {
                // Nobody listens any more only while the hub closes anyway.
                lost.send(error).ok();
                return;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "records without an entry could not be looked for; looked for again in some minutes"
                );
                covered
            }
        };
        self.keep(covered, &cancel).await;
    }

    async fn recover(&self, covered: Covered, cancel: &CancellationToken) -> Result<Covered, RecoverError> {
        let mut covered = self.held_against_the_log(Some(covered)).await?;
        if self.exchange.is_uncovered(&covered, &self.ends) {
            tokio::select! {
                // The next start looks again.
                () = cancel.cancelled() => return Ok(covered),
                () = tokio::time::sleep(ON_THEIR_WAY) => {}
            }
            covered = self.covered(Some(covered)).await?;
        }
        self.write_missing(&covered, &self.ends).await?;
        Ok(covered)
    }

    async fn write_missing(&self, covered: &Covered, ends: &Ends) -> Result<(), RecoverError> {
        let records = self.exchange.recover(covered, ends).await?;
        if records > 0 {
            tracing::warn!(
                records,
                "records that a crash had left without an entry are on the audit log now"
            );
        }
        Ok(())
    }

    async fn held_against_the_log(&self, known: Option<Covered>) -> Result<Covered, RecoverError> {
        let covered = self.covered(known).await?;
        // In this order: whatever has an entry was durable before.
        let ends = self.exchange.ends().await?;
        self.exchange.nothing_lost(&covered, &ends)?;
        Ok(covered)
    }

    async fn keep(&self, mut covered: Covered, cancel: &CancellationToken) {
        loop {
            let (kept, copy) = (self.kept.clone(), covered.clone());
            let written = tokio::task::spawn_blocking(move || copy.write(&kept)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(path = %self.kept.display(), %error,
                    "cannot keep what the audit log covers; the next start reads more of the log");
            }
            // What a hub that died left without an entry must not wait for a hub to start.
            let ends = self.exchange.ends().await;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(KEPT_EVERY + APART_MAX.mul_f64(rand::random())) => {}
            }
            let brought = async {
                covered = self.covered(Some(covered.clone())).await?;
                self.write_missing(&covered, &ends?).await
            };
            if let Err(error) = brought.await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the audit log and the records cannot be held against each other; tried again later"
                );
            }
        }
    }

    /// What the log covers by now, from what is known of it, or kept.
    async fn covered(&self, known: Option<Covered>) -> Result<Covered, RecoverError> {
        let (tiles, key) = (Arc::clone(&self.tiles), self.key.clone());
        let kept = self.kept.clone();
        let read = move || {
            let log = match LogReader::open(tiles, key) {
                // The first start of a log that cannot be sequenced now: it has no entry that says anything.
                Err(VerifyError::NoCheckpoint) => return Ok(known.unwrap_or_default()),
                log => log?,
            };
            let mut covered = match known {
                Some(known) => known,
                None => Covered::read(&kept, &log)?,
            };
            covered.advance(&log)?;
            Ok(covered)
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| RecoverError::Stopped)?
            .map_err(|error: VerifyError| RecoverError::Log(Box::new(error)))
    }
}
