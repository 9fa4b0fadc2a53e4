//! Kafka frames, record batches and the closed API table.
//!
//! Architecture invariant: no I/O, no async, no clock. No other crate names `kafka_protocol`: what they need of its
//! message types is re-exported from [`messages`].

pub mod batch;
mod call;
mod frame;
pub mod messages;

pub use call::{ApiKey, Request, Response};
pub use frame::{
    BrokerApis, EncodeError, FrameError, NotSpoken, RequestHeader, SERVED, SPOKEN, Served,
    api_versions_request, api_versions_response, decode_request, decode_response, encode_request,
    encode_response, frame_bytes_max, is_api_versions, refuse_old_produce, request_header, served,
};
