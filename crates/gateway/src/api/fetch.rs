//! Fetch. Without fetch sessions: every request is a full one, answered with session id 0.

use shuniu_exchange::Session;
use shuniu_wire::messages::{FetchRequest, FetchResponse, ResponseError};
use shuniu_wire::{RequestHeader, encode_response};

use super::{Answer, closed};

pub(super) async fn answer(
    session: &Session,
    request: FetchRequest,
    header: &RequestHeader,
) -> Result<Answer, String> {
    // A session that this door never gave: the client opens a new one.
    if request.session_id != 0 {
        let unknown = FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
        let frame = encode_response(header.api_version, header.correlation_id, unknown.into())
            .map_err(|error| error.to_string())?;
        return Ok(Answer::Frame(frame));
    }
    let recorded = session.fetch(request, header.api_version, header.correlation_id).await.map_err(closed)?;
    Ok(Answer::Recorded(recorded))
}
