//! InitProducerId: ids that are never given out twice, not even across a crash.

use std::ops::Range;
use std::sync::Arc;

use shuniu_broker::UpstreamError;
use shuniu_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId, ResponseError};
use tokio::sync::Mutex;

use crate::engine::Core;

/// How many ids are taken from the database at once. Those left when the process ends are never used.
const BLOCK: i64 = 1_000;

/// The ids taken but not yet given out.
#[derive(Default)]
pub(crate) struct ProducerIds(Mutex<Range<i64>>);

pub(crate) async fn init(
    core: &Arc<Core>,
    request: &InitProducerIdRequest,
) -> Result<InitProducerIdResponse, UpstreamError> {
    let response = InitProducerIdResponse::default();
    if request.transactional_id.is_some() {
        let code = ResponseError::TransactionalIdAuthorizationFailed.code();
        return Ok(response.with_error_code(code).with_producer_id(ProducerId(-1)).with_producer_epoch(-1));
    }
    // As Kafka does for idempotent producers: whatever id the client had, it gets a new one at epoch 0.
    let mut ids = core.producer_ids.0.lock().await;
    if ids.is_empty() {
        let first = core.database.take_producer_ids(BLOCK).await.map_err(|error| UpstreamError::Storage {
            detail: format!("producer ids could not be taken: {error}"),
        })?;
        *ids = first..first + BLOCK;
    }
    let id = ids.next().unwrap_or(-1);
    Ok(response.with_producer_id(ProducerId(id)).with_producer_epoch(0))
}
