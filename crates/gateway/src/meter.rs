//! What is counted of the Kafka door. Labels are of closed lists: never what a client chose.

use std::time::Duration;

use shuniu_model::SystemId;
use shuniu_wire::ApiKey;

/// The target of the spans that are traced, which the program knows: their fields are no more than labels are.
pub(crate) const TRACED: &str = "shuniu::trace";

/// The value of the label `door`.
const DOOR: &str = "kafka";

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

/// The span of a request, from its last byte in to its answer's last byte out.
pub(crate) fn span(api: Option<ApiKey>, system: &SystemId) -> tracing::Span {
    let api = api.map_or_else(|| "unknown".to_owned(), |api| format!("{api:?}"));
    tracing::info_span!(target: TRACED, "request", door = DOOR, api, system = %system)
}

/// A request was answered, or its connection closed or cut instead. `None` stands for an API that the table does not have.
pub(crate) fn request(api: Option<ApiKey>, outcome: &'static str, elapsed: Duration) {
    let api = api.map_or_else(|| "unknown".to_owned(), |api| format!("{api:?}"));
    metrics::histogram!("shuniu_request_seconds", "door" => DOOR, "api" => api.clone()).record(elapsed);
    metrics::counter!("shuniu_requests_total", "door" => DOOR, "api" => api, "outcome" => outcome)
        .increment(1);
}
