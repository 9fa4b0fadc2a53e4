//! Fetch. Without fetch sessions: every request is a full one, answered with session id 0.

use shuniu_exchange::Session;
use shuniu_wire::messages::{FetchRequest, FetchResponse, ResponseError};
use shuniu_wire::{RequestHeader, encode_response};

use super::{Answer, closed};
use crate::door::{Broker, Options};

/// Epochs of a request that is not one of a session's: the first of a new one, and the last of an old one.
const OPENS: i32 = 0;
const CLOSES: i32 = -1;

pub(super) async fn answer(
    session: &Session,
    request: FetchRequest,
    header: &RequestHeader,
    options: &Options,
) -> Result<Answer, String> {
    // A session that this door never gave: the client opens a new one. A request that opens or closes one asks for
    // everything that it wants, whichever it names.
    if request.session_id != 0 && ![OPENS, CLOSES].contains(&request.session_epoch) {
        let unknown = FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
        let frame = encode_response(header.api_version, header.correlation_id, unknown.into())
            .map_err(|error| error.to_string())?;
        return Ok(Answer::Frame(frame));
    }
    let addresses =
        |node| options.brokers.get(&node).map(|broker: &Broker| (broker.host.clone(), broker.port));
    let recorded = session.fetch(request, header.api_version, header.correlation_id, &addresses).await;
    let recorded = recorded.map_err(closed)?;
    Ok(Answer::Recorded(recorded))
}
