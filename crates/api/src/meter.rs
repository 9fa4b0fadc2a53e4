//! What is counted of the HTTP door.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use shuniu_exchange::{DoorMeter, TRACED};
use tokio::time::Instant;
use tracing::Instrument as _;

/// This door's counts.
pub(crate) const DOOR: DoorMeter = DoorMeter::new("http");

/// Counts a request by the path that the router knows it by.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    // What a client wrote there is no label: only a path of the table is.
    let path = request.extensions().get::<MatchedPath>();
    let api = path.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let began = Instant::now();
    let span = tracing::info_span!(target: TRACED, "request", door = DOOR.door(), api);
    let response = next.run(request).instrument(span).await;
    let outcome = match response.status() {
        status if status.is_server_error() => "failed",
        status if status.is_client_error() => "refused",
        _ => "answered",
    };
    DOOR.request(api, outcome, began.elapsed());
    response
}
