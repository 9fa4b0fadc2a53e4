//! What is counted of the Kafka door.

use std::time::Duration;

use shuniu_exchange::{DoorMeter, TRACED};
use shuniu_model::SystemId;
use shuniu_wire::ApiKey;

/// This door's counts.
pub(crate) const DOOR: DoorMeter = DoorMeter::new("kafka");

/// The span of a request, from its last byte in to its answer's last byte out.
pub(crate) fn span(api: Option<ApiKey>, system: &SystemId) -> tracing::Span {
    tracing::info_span!(target: TRACED, "request", door = DOOR.door(), api = name(api), system = %system)
}

/// A request was answered, or its connection closed or cut instead. `None` stands for an API that the table does not have.
pub(crate) fn request(api: Option<ApiKey>, outcome: &'static str, elapsed: Duration) {
    DOOR.request(name(api), outcome, elapsed);
}

fn name(api: Option<ApiKey>) -> String {
    api.map_or_else(|| "unknown".to_owned(), |api| format!("{api:?}"))
}
