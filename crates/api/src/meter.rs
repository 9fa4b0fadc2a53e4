//! What is counted of the HTTP door. Labels are of closed lists: never what a client chose.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;

/// The target of the spans that are traced, which the program knows: their fields are no more than labels are.
pub(crate) const TRACED: &str = "shuniu::trace";

/// The value of the label `door`.
const DOOR: &str = "http";

/// A connection that is open; counted down when dropped.
pub(crate) struct Open;

impl Open {
    pub(crate) fn new() -> Self {
        metrics::gauge!("shuniu_connections", "door" => DOOR).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("shuniu_connections", "door" => DOOR).decrement(1.0);
    }
}

/// A connection came, and was let in (`served`) or not, and why.
pub(crate) fn connection(outcome: &'static str) {
    metrics::counter!("shuniu_connections_total", "door" => DOOR, "outcome" => outcome).increment(1);
}

/// Counts a request by the path that the router knows it by.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    // What a client wrote there is no label: only a path of the table is.
    let path = request.extensions().get::<MatchedPath>();
    let api = path.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let began = Instant::now();
    let span = tracing::info_span!(target: TRACED, "request", door = DOOR, api);
    let response = next.run(request).instrument(span).await;
    let outcome = match response.status() {
        status if status.is_server_error() => "failed",
        status if status.is_client_error() => "refused",
        _ => "answered",
    };
    metrics::histogram!("shuniu_request_seconds", "door" => DOOR, "api" => api.clone())
        .record(began.elapsed());
    metrics::counter!("shuniu_requests_total", "door" => DOOR, "api" => api, "outcome" => outcome)
        .increment(1);
    response
}
