//! `/metrics`: what has to be asked for is asked at each scrape, the rest is counted where it happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use shuniu_archive::{AuditLog, Sequenced};
use shuniu_engine::Engine;
use shuniu_exchange::Exchange;
use shuniu_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Prometheus's text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const SETTLE_EVERY: Duration = Duration::from_secs(5);

/// What is asked at each scrape.
pub(super) struct Sampled {
    pub(super) metrics: Metrics,
    pub(super) exchange: Arc<Exchange>,
    pub(super) store: Store,
    pub(super) audit: AuditLog,
    pub(super) sequenced: watch::Receiver<Sequenced>,
    pub(super) engine: Option<Arc<Engine>>,
    pub(super) folder: PathBuf,
    pub(super) closing: CancellationToken,
}

impl Sampled {
    /// The route.
    pub(super) fn routes(self) -> Router {
        let sampled = Arc::new(self);
        let shown = move || {
            let sampled = Arc::clone(&sampled);
            async move {
                sampled.sample().await;
                ([(header::CONTENT_TYPE, CONTENT_TYPE)], sampled.metrics.render()).into_response()
            }
        };
        Router::new().route("/metrics", get(shown))
    }

    async fn sample(&self) {
        let (age, version) = self.exchange.policy();
        metrics::gauge!("shuniu_policy_age_seconds").set(age);
        metrics::gauge!("shuniu_policy_version").set(rounded(version));
        let ready = self.exchange.trouble().is_none() && !self.closing.is_cancelled();
        metrics::gauge!("shuniu_ready").set(of(ready));
        metrics::gauge!("shuniu_audit_down").set(of(self.audit.down().is_some()));
        let sequenced = self.sequenced.borrow().clone();
        metrics::gauge!("shuniu_audit_tree_entries").set(rounded(sequenced.tree_size));
        metrics::gauge!("shuniu_audit_unsequenced_entries").set(rounded(sequenced.waiting()));
        metrics::gauge!("shuniu_audit_sequencer_troubled").set(of(sequenced.trouble.is_some()));
        if let Some(engine) = &self.engine {
            metrics::gauge!("shuniu_groups").set(rounded(engine.groups() as u64));
        }
        match self.store.outbox_length().await {
            Ok(length) => metrics::gauge!("shuniu_outbox_drafts").set(rounded(length)),
            // Not a number: an old one would look like a good one.
            Err(_) => metrics::gauge!("shuniu_outbox_drafts").set(f64::NAN),
        }
        let free = rustix::fs::statvfs(&self.folder);
        let free = free.map_or(f64::NAN, |found| rounded(found.f_bavail.saturating_mul(found.f_frsize)));
        metrics::gauge!("shuniu_data_folder_free_bytes").set(free);
    }
}

/// Keeps what is measured small while nobody scrapes.
pub(super) async fn settle(metrics: Metrics, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(SETTLE_EVERY) => metrics.settle(),
        }
    }
}

fn of(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles: exact up to 2^53")]
fn rounded(count: u64) -> f64 {
    count as f64
}
