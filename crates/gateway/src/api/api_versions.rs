//! ApiVersions: the table itself.

use bytes::Bytes;
use shuniu_exchange::Session;
use shuniu_wire::{RequestHeader, api_versions_response};

pub(super) fn answer(session: &Session, header: &RequestHeader) -> Bytes {
    api_versions_response(header, |api| session.has(api))
}
