//! APIs whose answers need nothing of the door: groups, offsets, settings, producer ids.

use shuniu_exchange::Session;
use shuniu_wire::messages::ResponseError;
use shuniu_wire::{Request, Response};

use super::closed;

/// From this version on a client that joins a group is told its member id first, and joins again with it.
const JOIN_TWICE_FROM: i16 = 4;

pub(super) async fn answer(session: &Session, request: Request, version: i16) -> Result<Response, String> {
    if let Request::JoinGroup(join) = &request
        && version < JOIN_TWICE_FROM
    {
        let mut again = join.clone();
        let response = session.call(request).await.map_err(closed)?;
        return match response {
            Response::JoinGroup(told) if told.error_code == ResponseError::MemberIdRequired.code() => {
                again.member_id = told.member_id;
                session.call(again.into()).await.map_err(closed)
            }
            other => Ok(other),
        };
    }
    session.call(request).await.map_err(closed)
}
