//! The audit entry before the bytes.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use shuniu_ledger::{Actor, Delivery, Draft, OffsetRange, Publication, Subjects};
use shuniu_model::{Mode, Resource, TopicId};
use shuniu_policy::{PublishPermit, ReadPermit};
use shuniu_wire::encode_response;
use shuniu_wire::messages::produce_response::PartitionProduceResponse;
use shuniu_wire::messages::{FetchResponse, ResponseError};

use crate::caller::Caller;
use crate::check::Accepted;
use crate::hub::Hub;
use crate::meter;
use crate::project::{Projected, ProjectedPartition};
use crate::recorded::Recorded;
use crate::session::Closed;

/// Records what is about to be sent, and only then gives it out. When the audit log does not answer, the response
/// leaves without its records, with a retriable error in their place.
pub(crate) async fn record(
    hub: &Arc<Hub>,
    projected: Projected,
    version: i16,
    correlation_id: i32,
) -> Result<Recorded, Closed> {
    let Projected { mut response, caller, topics, mut share } = projected;
    let mut drafts = Vec::new();
    let mut permits = Vec::new();
    for (resource, permit, partitions) in &topics {
        if partitions.is_empty() {
            continue;
        }
        drafts.push(delivered(&caller, resource, permit, partitions)?);
        permits.push(Arc::clone(permit));
    }
    if !drafts.is_empty()
        && let Err(error) = hub.audit.append_all(drafts).await
    {
        tracing::error!(%error, system = %caller.system, "records are not delivered: the audit log is down");
        strip(&mut response, &topics, ResponseError::KafkaStorageError);
        permits.clear();
    }
    // The grant may have ended while the log was written.
    for (resource, permit, _) in &topics {
        if hub.still(permit).is_err() {
            strip_topic(&mut response, resource, ResponseError::TopicAuthorizationFailed);
            permits.retain(|kept| !Arc::ptr_eq(kept, permit));
        }
    }
    let throttle = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
    for (resource, permit, partitions) in &topics {
        if permits.iter().any(|kept| Arc::ptr_eq(kept, permit)) {
            let (records, bytes) = partitions.iter().fold((0, 0), |(records, bytes), (_, projected)| {
                (records + projected.delivered.records(), bytes + projected.records.len() as u64)
            });
            meter::delivered(&resource.name, records, bytes);
        }
    }
    let frame = encode_response(version, correlation_id, response.into())
        .map_err(|error| Closed::new(error.to_string()))?;
    // The frame holds a copy of the records.
    drop(topics);
    if let Some(share) = &mut share {
        share.shrink(frame.len());
    }
    Ok(Recorded::new(Arc::clone(hub), permits, frame, throttle, share))
}

fn delivered(
    caller: &Caller,
    resource: &Resource,
    permit: &ReadPermit,
    partitions: &[(i32, ProjectedPartition)],
) -> Result<Draft, Closed> {
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    let mut ranges = Vec::new();
    let mut schemas = Vec::new();
    for (partition, projected) in partitions {
        hash.update(&projected.records);
        bytes += u64::try_from(projected.records.len()).unwrap_or(u64::MAX);
        ranges.extend(offset_ranges(*partition, projected));
        for id in &projected.schemas {
            if !schemas.contains(id) {
                schemas.push(*id);
            }
        }
    }
    let grant = permit.grant();
    let delivery = Delivery {
        resource: resource.name.clone(),
        topic: topic_id(resource)?,
        grant: grant.id.clone(),
        view: grant.view.digest(),
        mode: Mode::Subscribe,
        schemas,
        items: grant.view.items().iter().map(|item| item.name.clone()).collect(),
        ranges,
        bytes,
        sha256: hash.finalize().into(),
        purpose: grant.purpose.clone(),
    };
    let actor = Actor::system(Some(*permit.organisation()), caller.system.clone(), &caller.certificate);
    Ok(Draft::delivered(actor, delivery).from_source(caller.source))
}

/// One run without gaps is the usual case and needs no bitmap.
fn offset_ranges(partition: i32, projected: &ProjectedPartition) -> Vec<OffsetRange> {
    match projected.delivered.runs() {
        [(first, last)] => OffsetRange::dense(partition, *first, *last).into_iter().collect(),
        _ => OffsetRange::of(partition, projected.delivered.offsets()),
    }
}

/// The entry of a batch that was appended.
pub(crate) fn published(
    caller: &Caller,
    permit: &PublishPermit,
    resource: &Resource,
    partition: i32,
    answer: &PartitionProduceResponse,
    accepted: &Accepted,
) -> Result<Draft, Closed> {
    let last = answer.base_offset.saturating_add(i64::from(accepted.records) - 1);
    let mut subjects = Subjects::new(accepted.year);
    for (index, mac) in &accepted.subjects {
        subjects.push(partition, answer.base_offset.saturating_add(i64::from(*index)), *mac);
    }
    let publication = Publication {
        resource: resource.name.clone(),
        topic: topic_id(resource)?,
        schemas: accepted.schemas.clone(),
        ranges: OffsetRange::dense(partition, answer.base_offset, last).into_iter().collect(),
        subjects,
        bytes: accepted.bytes,
        sha256: accepted.sha256,
    };
    let actor = Actor::system(Some(*permit.organisation()), caller.system.clone(), &caller.certificate);
    Ok(Draft::published(actor, publication).from_source(caller.source))
}

fn topic_id(resource: &Resource) -> Result<TopicId, Closed> {
    resource.topic_id.ok_or_else(|| Closed::new(format!("the topic of `{}` is not made yet", resource.name)))
}

fn strip(response: &mut FetchResponse, topics: &[crate::project::ProjectedTopic], error: ResponseError) {
    for (resource, _, partitions) in topics {
        if !partitions.is_empty() {
            strip_topic(response, resource, error);
        }
    }
}

fn strip_topic(response: &mut FetchResponse, resource: &Resource, error: ResponseError) {
    let of_resource =
        response.responses.iter_mut().filter(|topic| topic.topic.as_str() == resource.name.as_str());
    for partition in of_resource.flat_map(|topic| &mut topic.partitions) {
        partition.error_code = error.code();
        partition.records = Some(bytes::Bytes::new());
        partition.aborted_transactions = None;
    }
}
