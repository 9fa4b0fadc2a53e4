//! Whether the hub lives, and whether it can serve. They tell nothing of the directory or of records.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use shuniu_exchange::Exchange;
use tokio_util::sync::CancellationToken;

use crate::problem::{Problem, not_found};

/// What else a supervisor should see, one line each: told beside `ready`, since the hub delivers all the same.
pub type Notes = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// `/health/live`: the process answers. `/health/ready`: the policy is fresh, the audit log open, and the hub is to stay;
/// then the notes.
pub(crate) fn router(exchange: Arc<Exchange>, notes: Notes, closing: CancellationToken) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .fallback(not_found)
        .with_state((exchange, notes, closing))
}

async fn ready(
    State((exchange, notes, closing)): State<(Arc<Exchange>, Notes, CancellationToken)>,
) -> Result<String, Problem> {
    let closing = closing.is_cancelled().then(|| "the hub is about to close".to_owned());
    match closing.or_else(|| exchange.trouble()) {
        None => {
            let mut text = "ready\n".to_owned();
            for note in notes() {
                text.push_str(&note);
                text.push('\n');
            }
            Ok(text)
        }
        Some(trouble) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "the hub does not deliver now",
            trouble,
        )),
    }
}
