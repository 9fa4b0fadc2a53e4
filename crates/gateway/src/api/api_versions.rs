//! ApiVersions: the table itself.

use bytes::Bytes;
use shuniu_wire::{RequestHeader, api_versions_response};

pub(super) fn answer(header: &RequestHeader) -> Bytes {
    api_versions_response(header)
}
