//! APIs whose answers need nothing of the door: groups, offsets, settings, producer ids.

use shuniu_exchange::Session;
use shuniu_wire::{Request, Response};

use super::closed;

pub(super) async fn answer(session: &Session, request: Request) -> Result<Response, String> {
    session.call(request).await.map_err(closed)
}
