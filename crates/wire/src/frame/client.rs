//! The client side: requests out, responses in. For the hub's own connections to brokers, and tests.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::Decodable;

use super::{EncodeError, FrameError, framed, guard, layout};
use crate::call::{Request, Response};

/// Writes a request: length, header and body.
///
/// # Errors
/// When the request has something that the version cannot say.
pub fn encode_request(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &Request,
) -> Result<Bytes, EncodeError> {
    framed(|out| request.write(out, version, correlation_id, client_id)).map_err(|what| EncodeError {
        api: request.api(),
        version,
        what,
    })
}

/// Reads a response to a request of that API and version, without its length prefix: the correlation id and the body.
/// Record bytes are not copied: they are slices of the frame.
///
/// The sender is a broker of the hub's own cluster, or the hub itself. A faulty one cannot make this allocate more than
/// its frame can hold: every count is held against the bytes left first.
///
/// # Errors
/// When the bytes are not such a response.
pub fn decode_response(api: ApiKey, version: i16, mut frame: Bytes) -> Result<(i32, Response), FrameError> {
    let not_served = FrameError::NotServed { key: api as i16, version };
    let layout = layout::of_response(api as i16).ok_or(not_served.clone())?;
    let name = layout.name;
    let header_version = Response::header_version(api, version).ok_or(not_served.clone())?;
    guard::check_response_header(header_version, &frame)?;
    let header = ResponseHeader::decode(&mut frame, header_version)
        .map_err(|error| FrameError::Field { api: name, what: error.to_string() })?;
    guard::check_response(layout, version, &frame)?;
    let read = Response::read(api, version, &mut frame).ok_or(not_served)?;
    let response = read.map_err(|what| FrameError::Field { api: name, what })?;
    if !frame.is_empty() {
        return Err(FrameError::Trailing { api: name, bytes: frame.len() });
    }
    Ok((header.correlation_id, response))
}
