//! What is counted of the exchange. Labels are resources of the directory and stable codes: never what a client chose,
//! never a payload, never a person.

use std::time::Duration;

use shuniu_model::ResourceName;

/// Something was refused to a caller, or cut, so many times.
pub(crate) fn refused(code: &'static str, count: u64) {
    metrics::counter!("shuniu_refusals_total", "code" => code).increment(count);
}

/// Records of a resource that are durable and on the audit log.
pub(crate) fn published(resource: &ResourceName, records: u64, bytes: u64) {
    let of = || resource.as_str().to_owned();
    metrics::counter!("shuniu_published_records_total", "resource" => of()).increment(records);
    metrics::counter!("shuniu_published_bytes_total", "resource" => of()).increment(bytes);
}

/// Records of a resource that are about to leave, on the audit log already.
pub(crate) fn delivered(resource: &ResourceName, records: u64, bytes: u64) {
    let of = || resource.as_str().to_owned();
    metrics::counter!("shuniu_delivered_records_total", "resource" => of()).increment(records);
    metrics::counter!("shuniu_delivered_bytes_total", "resource" => of()).increment(bytes);
}

/// A caller was told to wait: a limit is reached, or there is no memory for its answer.
pub(crate) fn throttled(reason: &'static str) {
    metrics::counter!("shuniu_throttled_total", "reason" => reason).increment(1);
}

/// How long the record store took for one Produce.
pub(crate) fn appended(elapsed: Duration) {
    metrics::histogram!("shuniu_append_seconds").record(elapsed);
}

/// How long the batches of one answer of the record store took to become a view's.
pub(crate) fn projected(elapsed: Duration) {
    metrics::histogram!("shuniu_projection_seconds").record(elapsed);
}

/// How long at most it took from a change of the policy to the end of what it withdrew.
pub(crate) fn revoked(elapsed: Duration) {
    metrics::histogram!("shuniu_revocation_seconds").record(elapsed);
}
