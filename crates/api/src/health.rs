//! Whether the hub lives, and whether it can serve. They tell nothing of the directory or of records.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use shuniu_exchange::Exchange;

use crate::problem::{Problem, not_found};

/// `/health/live`: the process answers. `/health/ready`: the policy is fresh and the audit log open.
pub(crate) fn router(exchange: Arc<Exchange>) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .fallback(not_found)
        .with_state(exchange)
}

async fn ready(State(exchange): State<Arc<Exchange>>) -> Result<&'static str, Problem> {
    match exchange.trouble() {
        None => Ok("ready\n"),
        Some(trouble) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "the hub does not deliver now",
            trouble,
        )),
    }
}
