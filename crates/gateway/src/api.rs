//! The closed table: what is in [`shuniu_wire::SERVED`] has a handler here, and nothing else is answered.

mod api_versions;
mod cluster;
mod coordinator;
mod direct;
mod fetch;
mod metadata;
pub(crate) mod produce;

use bytes::Bytes;
use shuniu_exchange::{Closed, Recorded, Session};
use shuniu_wire::messages::ProduceRequest;
use shuniu_wire::{
    ApiKey, FrameError, Request, RequestHeader, Response, decode_request, encode_response, request_header,
};

use crate::door::Options;

/// A request that the table has.
pub(crate) enum Asked {
    /// Answered by the table itself.
    ApiVersions(RequestHeader),
    /// Answered by [`produce::Submitted::answer`], while later requests are taken already.
    Produce(RequestHeader, ProduceRequest),
    /// Answered by [`answer`].
    Other(RequestHeader, Request),
    /// Refused already, in a form that the client understands.
    Refused(Bytes),
}

impl Asked {
    /// Which API it is.
    pub(crate) fn api(&self) -> Option<ApiKey> {
        match self {
            Self::ApiVersions(header) | Self::Produce(header, _) | Self::Other(header, _) => {
                ApiKey::try_from(header.api_key).ok()
            }
            // Nothing else is refused in a form of its own.
            Self::Refused(_) => Some(ApiKey::Produce),
        }
    }
}

/// What goes back to the client.
pub(crate) enum Answer {
    /// A frame without records.
    Frame(Bytes),
    /// A frame with records.
    Recorded(Recorded),
}

/// Reads a frame, or says why the connection ends.
pub(crate) fn parse(session: &Session, mut frame: Bytes) -> Result<Asked, String> {
    let header = request_header(&mut frame).map_err(|error| refuse(session, None, &error))?;
    if shuniu_wire::is_api_versions(&header) {
        return Ok(Asked::ApiVersions(header));
    }
    let row = shuniu_wire::served(header.api_key, header.api_version);
    if row.is_some_and(|row| row.if_stored && !session.has(row.api)) {
        return Err(refuse(session, Some(&header), &not_served(&header)));
    }
    let old = shuniu_wire::refuse_old_produce(&header, frame.clone());
    if let Some(refusal) = old.map_err(|error| refuse(session, Some(&header), &error))? {
        refuse(session, Some(&header), &not_served(&header));
        return Ok(Asked::Refused(refusal));
    }
    match decode_request(&header, frame).map_err(|error| refuse(session, Some(&header), &error))? {
        Request::Produce(request) => Ok(Asked::Produce(header, request)),
        request => Ok(Asked::Other(header, request)),
    }
}

/// Answers a request, or says why the connection ends.
pub(crate) async fn answer(session: &Session, asked: Asked, options: &Options) -> Result<Answer, String> {
    let (header, request) = match asked {
        Asked::Refused(frame) => return Ok(Answer::Frame(frame)),
        Asked::ApiVersions(header) => return Ok(Answer::Frame(api_versions::answer(session, &header))),
        Asked::Produce(header, request) => {
            let submitted = produce::submit(session, request).await?;
            return submitted.answer(&options.brokers, &header).await.map(Answer::Frame);
        }
        Asked::Other(header, request) => (header, request),
    };
    let version = header.api_version;
    let response = match request {
        Request::Fetch(request) => return fetch::answer(session, request, &header, options).await,
        Request::Metadata(request) => metadata::answer(session, request, version, options).await?,
        Request::FindCoordinator(request) => coordinator::answer(session, request, options).await?,
        Request::DescribeCluster(request) => cluster::answer(session, request, options).await?,
        request => direct::answer(session, request, version).await?,
    };
    frame_of(&header, response).map(Answer::Frame)
}

fn frame_of(header: &RequestHeader, response: Response) -> Result<Bytes, String> {
    encode_response(header.api_version, header.correlation_id, response).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        error.to_string()
    })
}

fn not_served(header: &RequestHeader) -> FrameError {
    FrameError::NotServed { key: header.api_key, version: header.api_version }
}

/// Records the refusal of a frame. The connection ends then, as Kafka ends it, unless there is a form for the refusal.
fn refuse(session: &Session, header: Option<&RequestHeader>, error: &FrameError) -> String {
    let code = match error {
        FrameError::NotServed { .. } => "api-not-served",
        _ => "frame-malformed",
    };
    let api = header.and_then(|header| shuniu_wire::ApiKey::try_from(header.api_key).ok());
    session.refused(api, code, &error.to_string());
    error.to_string()
}

fn closed(closed: Closed) -> String {
    tracing::warn!("{closed}");
    closed.reason
}
