//! Frames: a length, a header, a body. Requests in, responses out.
//!
//! kafka-protocol's decoder allocates what a length field claims, so no byte of a request reaches it before
//! [`guard`] has checked every length and count against the bytes that are left.

mod client;
mod fit;
mod guard;
mod layout;
mod old_produce;
mod served;
mod spoken;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;

use crate::call::{Request, Response};

pub use client::{decode_response, encode_request};
pub use old_produce::refuse_old_produce;
pub use served::{SERVED, Served, served};
pub use spoken::{BrokerApis, NotSpoken, SPOKEN, api_versions_request};

/// Bytes that are not a request that the hub reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the field does, or a length is negative.
    #[error("{field} of {api} is cut short")]
    Cut {
        /// The API, or `header`.
        api: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A count or length is beyond the bytes that are left, or over its bound.
    #[error("{field} of {api} claims {claimed}, which is beyond what the frame can hold")]
    Count {
        /// The API.
        api: &'static str,
        /// The field.
        field: &'static str,
        /// What it claims.
        claimed: i64,
    },
    /// Bytes are left over after the body.
    #[error("{bytes} bytes are left over after the body of {api}")]
    Trailing {
        /// The API.
        api: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A tagged field that no client sends.
    #[error("tagged field {tag} of {api} is not served")]
    Tag {
        /// The API.
        api: &'static str,
        /// Its number.
        tag: u32,
    },
    /// The API or the version is not served.
    #[error("API key {key} version {version} is not served")]
    NotServed {
        /// The API key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// A field is not what its type allows, such as text that is not UTF-8.
    #[error("the body of {api} cannot be read: {what}")]
    Field {
        /// The API.
        api: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// A response that cannot be written in the asked version: the hub's own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{api:?} version {version} cannot be written: {what}")]
pub struct EncodeError {
    api: ApiKey,
    version: i16,
    what: String,
}

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API key as it came.
    pub api_key: i16,
    /// The API version as it came.
    pub api_version: i16,
    /// Given back in the response.
    pub correlation_id: i32,
    /// What the client calls itself; `None` when it does not, or when the API is not served (then nothing more of the
    /// frame is read).
    pub client_id: Option<String>,
}

const CLIENT_ID_BYTES_MAX: usize = 512;
const API_VERSIONS: i16 = ApiKey::ApiVersions as i16;

/// Reads the header and leaves the body in `frame`. `frame` is without its length prefix.
///
/// # Errors
/// When it is cut short or a length is over its bound.
pub fn request_header(frame: &mut Bytes) -> Result<RequestHeader, FrameError> {
    const API: &str = "header";
    let cut = |field| FrameError::Cut { api: API, field };
    let head = frame.split_to(8.min(frame.len()));
    let Some(([key_high, key_low, version_high, version_low], rest)) =
        head.split_first_chunk::<4>().map(|(a, b)| (*a, b))
    else {
        return Err(cut("the API key"));
    };
    let api_key = i16::from_be_bytes([key_high, key_low]);
    let api_version = i16::from_be_bytes([version_high, version_low]);
    let correlation_id =
        rest.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)).ok_or(cut("correlation_id"))?;
    let mut header = RequestHeader { api_key, api_version, correlation_id, client_id: None };
    // A too-new ApiVersions may have another header; it is answered without reading on.
    if !served::announced(api_key, api_version) {
        return Ok(header);
    }
    let mut cursor = guard::Cursor::new(API, frame);
    let client_id = cursor.string("client_id", CLIENT_ID_BYTES_MAX)?;
    header.client_id = client_id.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let layout =
        layout::of_request(api_key).ok_or(FrameError::NotServed { key: api_key, version: api_version })?;
    if api_version >= layout.flexible_from {
        cursor.tagged_fields(&[], api_version)?;
    }
    let read = frame.len() - cursor.left();
    drop(frame.split_to(read));
    Ok(header)
}

/// Reads the body of a request. ApiVersions is not among them: see [`api_versions_response`].
///
/// # Errors
/// When the API or version is not in [`SERVED`], or the body is not exactly what its layout says.
pub fn decode_request(header: &RequestHeader, body: Bytes) -> Result<Request, FrameError> {
    let (key, version) = (header.api_key, header.api_version);
    let not_served = FrameError::NotServed { key, version };
    let served = served(key, version).ok_or(not_served.clone())?;
    let layout = layout::of_request(key).ok_or(not_served.clone())?;
    let body = without_placeholder(served.api, version, body);
    guard::check(layout, version, &body)?;
    let api = layout.name;
    match served.api {
        ApiKey::Produce => read(api, version, body).map(Request::Produce),
        ApiKey::Fetch => read(api, version, body).map(Request::Fetch),
        ApiKey::ListOffsets => read(api, version, body).map(Request::ListOffsets),
        ApiKey::Metadata => read(api, version, body).map(Request::Metadata),
        ApiKey::OffsetCommit => read(api, version, body).map(Request::OffsetCommit),
        ApiKey::OffsetFetch => read(api, version, body).map(Request::OffsetFetch),
        ApiKey::FindCoordinator => read(api, version, body).map(Request::FindCoordinator),
        ApiKey::JoinGroup => read(api, version, body).map(Request::JoinGroup),
        ApiKey::Heartbeat => read(api, version, body).map(Request::Heartbeat),
        ApiKey::LeaveGroup => read(api, version, body).map(Request::LeaveGroup),
        ApiKey::SyncGroup => read(api, version, body).map(Request::SyncGroup),
        ApiKey::InitProducerId => read(api, version, body).map(Request::InitProducerId),
        ApiKey::DescribeCluster => read(api, version, body).map(Request::DescribeCluster),
        ApiKey::DescribeConfigs => read(api, version, body).map(Request::DescribeConfigs),
        ApiKey::OffsetForLeaderEpoch => read(api, version, body).map(Request::OffsetForLeaderEpoch),
        ApiKey::ConsumerGroupHeartbeat => read(api, version, body).map(Request::ConsumerGroupHeartbeat),
        _ => Err(not_served),
    }
}

/// librdkafka (seen in 2.12) asks for all topics with four zero bytes where the null array takes one: it leaves the
/// place of a count that it never fills in. Kafka's broker does not look at what is left over; here the three bytes
/// are taken out, so that the flags behind them are read as they were meant.
fn without_placeholder(api: ApiKey, version: i16, body: Bytes) -> Bytes {
    // Null topics, then two or three flags and no tagged fields: eight or seven bytes with the placeholder.
    let flags = if version <= 10 { 3 } else { 2 };
    let placed = api == ApiKey::Metadata
        && version >= 9
        && body.len() == 4 + flags + 1
        && body.starts_with(&[0; 4])
        && body.ends_with(&[0]);
    if placed { body.slice(3..) } else { body }
}

fn read<T: Decodable>(api: &'static str, version: i16, mut body: Bytes) -> Result<T, FrameError> {
    let request =
        T::decode(&mut body, version).map_err(|error| FrameError::Field { api, what: error.to_string() })?;
    if body.is_empty() { Ok(request) } else { Err(FrameError::Trailing { api, bytes: body.len() }) }
}

/// Writes a response: length, header and body. Fields that the version lacks are left out.
///
/// # Errors
/// When it cannot be written at all; that is a fault of the hub.
pub fn encode_response(version: i16, correlation_id: i32, response: Response) -> Result<Bytes, EncodeError> {
    let api = response.api();
    let response = fit::fit(response, version);
    framed(|out| response.write(out, version, correlation_id)).map_err(|what| EncodeError {
        api,
        version,
        what,
    })
}

/// A frame: its length, and what is written behind it.
fn framed(write: impl FnOnce(&mut BytesMut) -> Result<(), String>) -> Result<Bytes, String> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    write(&mut out)?;
    let length = i32::try_from(out.len() - 4).map_err(|_| "over 2 GiB".to_owned())?;
    if let Some(place) = out.get_mut(..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.freeze())
}

/// The answer to ApiVersions: exactly what [`SERVED`] announces where the record store has what `stored` says, no features. A version that is not served is answered with error 35
/// in version 0's form, as Kafka does it. No tagged field is written: some clients stumble over those with defaults.
#[must_use]
pub fn api_versions_response(header: &RequestHeader, stored: impl Fn(ApiKey) -> bool) -> Bytes {
    const UNSUPPORTED_VERSION: i16 = 35;
    let known = header.api_key == API_VERSIONS && served(header.api_key, header.api_version).is_some();
    let (version, error) = if known { (header.api_version, 0) } else { (0, UNSUPPORTED_VERSION) };
    let announced: Vec<_> = SERVED.iter().filter(|row| !row.if_stored || stored(row.api)).collect();
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(header.correlation_id);
    out.put_i16(error);
    // Both counts are small: SERVED has fewer than 127 rows, so the compact form is one byte.
    if version >= 3 {
        out.put_u8(u8::try_from(announced.len() + 1).unwrap_or(u8::MAX));
    } else {
        out.put_i32(i32::try_from(announced.len()).unwrap_or(i32::MAX));
    }
    for served in announced {
        out.put_i16(served.api as i16);
        out.put_i16(served.announced_min);
        out.put_i16(served.max);
        if version >= 3 {
            out.put_u8(0);
        }
    }
    if version >= 1 {
        out.put_i32(0);
    }
    if version >= 3 {
        out.put_u8(0);
    }
    let length = i32::try_from(out.len() - 4).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    out.freeze()
}

/// Whether a request is ApiVersions, which is answered by [`api_versions_response`] and nothing else.
#[must_use]
pub fn is_api_versions(header: &RequestHeader) -> bool {
    header.api_key == API_VERSIONS
}

/// The largest frame of an API, without its length prefix; of an API that is not served, the largest of any.
#[must_use]
pub fn frame_bytes_max(api_key: i16, produce_bytes_max: usize) -> usize {
    const SMALL: usize = 256 << 10;
    const GROUP: usize = 4 << 20;
    match ApiKey::try_from(api_key) {
        Ok(ApiKey::Produce) => produce_bytes_max,
        Ok(ApiKey::JoinGroup | ApiKey::SyncGroup) => GROUP,
        _ => SMALL,
    }
}

#[cfg(test)]
mod tests;
