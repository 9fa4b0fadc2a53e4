//! The closed list of record headers.

/// When the fact changed at the source.
pub(crate) const SOURCE_TIME: &[u8] = b"source-time";
/// The provider's batch number.
pub(crate) const BATCH: &[u8] = b"batch";
/// The correction that the record answers.
pub(crate) const CORRECTION: &[u8] = b"correction";
/// W3C trace context.
pub(crate) const TRACEPARENT: &[u8] = b"traceparent";
/// The row before this record, framed; empty for a row that is new. It never leaves the hub.
pub(crate) const BEFORE: &[u8] = b"before";

/// What a record may carry on its way in.
pub(crate) const ALLOWED: &[&[u8]] = &[SOURCE_TIME, BATCH, CORRECTION, TRACEPARENT, BEFORE];
/// What it carries on its way out.
pub(crate) const LEAVING: &[&[u8]] = &[SOURCE_TIME, BATCH, CORRECTION, TRACEPARENT];

/// Bytes of a header other than `before`, which is bounded as a value is.
pub(crate) const HEADER_BYTES_MAX: usize = 256;
