//! What is counted of the audit log.

use std::time::Duration;

/// The target of the spans that are traced, which the program knows: their fields are no more than labels are.
pub const TRACED: &str = "shuniu::trace";

/// Entries that the topic has acknowledged.
pub(crate) fn written(entries: usize) {
    metrics::counter!("shuniu_audit_entries_total").increment(u64::try_from(entries).unwrap_or(u64::MAX));
}

/// How long a caller waited for its entries to be durable, or to be told that they are not.
pub(crate) fn appended(elapsed: Duration) {
    metrics::histogram!("shuniu_audit_append_seconds").record(elapsed);
}
