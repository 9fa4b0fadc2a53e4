//! What the hub speaks to brokers of its own cluster, and which version of it.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::leave_group_request::MemberIdentity;

use super::served::{Served, row};
use super::{FrameError, framed};
use crate::call::Request;

/// The versions that the hub can speak, for Apache Kafka 3.9 and 4. A Fetch below 13 and a Produce below 13 name
/// topics, later ones take topic ids.
pub const SPOKEN: &[Served] = &[
    row(ApiKey::Produce, 9, 13),
    row(ApiKey::Fetch, 12, 17),
    row(ApiKey::ListOffsets, 6, 8),
    row(ApiKey::Metadata, 10, 12),
    row(ApiKey::OffsetCommit, 8, 9),
    row(ApiKey::OffsetFetch, 8, 9),
    row(ApiKey::FindCoordinator, 4, 5),
    row(ApiKey::JoinGroup, 6, 9),
    row(ApiKey::Heartbeat, 4, 4),
    row(ApiKey::LeaveGroup, 4, 5),
    row(ApiKey::SyncGroup, 4, 5),
    row(ApiKey::InitProducerId, 3, 4),
    row(ApiKey::OffsetForLeaderEpoch, 4, 4),
    row(ApiKey::DescribeConfigs, 4, 4),
    row(ApiKey::DescribeCluster, 0, 1),
    row(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    row(ApiKey::IncrementalAlterConfigs, 1, 1),
    row(ApiKey::CreateTopics, 6, 7),
    row(ApiKey::CreatePartitions, 2, 3),
    row(ApiKey::DeleteRecords, 2, 2),
];

/// The last version of Fetch and of Produce that names topics.
const BY_NAME_MAX: i16 = 12;
/// From 5 on a SyncGroup must say what the group speaks.
const SYNC_UNSAID_MAX: i16 = 4;
/// Kafka has about a hundred APIs; an answer that claims more than this is none.
const APIS_MAX: i32 = 1_000;

/// A request that a broker and the hub have no common version of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{api:?}: the hub speaks versions {} to {}, the broker {}", spoken.0, spoken.1, said(*.served))]
pub struct NotSpoken {
    /// The API.
    pub api: ApiKey,
    spoken: (i16, i16),
    served: Option<(i16, i16)>,
}

fn said(served: Option<(i16, i16)>) -> String {
    served.map_or_else(|| "none".to_owned(), |(min, max)| format!("{min} to {max}"))
}

/// What a broker serves, as it says itself.
#[derive(Debug, Clone, Default)]
pub struct BrokerApis(HashMap<i16, (i16, i16)>);

/// Asks a broker for its APIs, in the form that every version of Kafka understands.
#[must_use]
pub fn api_versions_request(correlation_id: i32, client_id: &str) -> Bytes {
    let client_id: String = client_id.chars().take(100).collect();
    let framed = framed(|out: &mut BytesMut| {
        out.put_i16(ApiKey::ApiVersions as i16);
        out.put_i16(0);
        out.put_i32(correlation_id);
        let length = i16::try_from(client_id.len()).map_err(|error| error.to_string())?;
        out.put_i16(length);
        out.put_slice(client_id.as_bytes());
        Ok(())
    });
    // A hundred characters have at most 400 bytes.
    framed.unwrap_or_default()
}

impl BrokerApis {
    /// Reads the answer to [`api_versions_request`], without its length prefix: the correlation id and the APIs.
    ///
    /// # Errors
    /// When the bytes are no such answer, or the broker refused to say.
    pub fn read(mut frame: Bytes) -> Result<(i32, Self), FrameError> {
        const API: &str = "ApiVersions";
        let cut = |field| move |_| FrameError::Cut { api: API, field };
        let correlation_id = frame.try_get_i32().map_err(cut("correlation_id"))?;
        let error = frame.try_get_i16().map_err(cut("error_code"))?;
        if error != 0 {
            return Err(FrameError::Field { api: API, what: format!("the broker answered error {error}") });
        }
        let count = frame.try_get_i32().map_err(cut("api_keys"))?;
        if !(0..=APIS_MAX).contains(&count) {
            return Err(FrameError::Count { api: API, field: "api_keys", claimed: count.into() });
        }
        let mut apis = HashMap::new();
        for _ in 0..count {
            let mut next = || frame.try_get_i16().map_err(cut("api_keys"));
            let (key, min, max) = (next()?, next()?, next()?);
            apis.insert(key, (min, max));
        }
        if !frame.is_empty() {
            return Err(FrameError::Trailing { api: API, bytes: frame.len() });
        }
        Ok((correlation_id, Self(apis)))
    }

    /// Whether the broker serves the newest version that the hub speaks of an API. Kafka 3.9 announces
    /// ConsumerGroupHeartbeat 0 and refuses it unless it is switched on; from 4 on there is 1.
    #[must_use]
    pub fn has(&self, api: ApiKey) -> bool {
        let spoken = SPOKEN.iter().find(|row| row.api == api);
        let served = self.0.get(&(api as i16));
        spoken.zip(served).is_some_and(|(spoken, (min, max))| (*min..=*max).contains(&spoken.max))
    }

    /// The version to ask in, and the request in that version's form.
    ///
    /// # Errors
    /// When there is no version that both sides know.
    pub fn fit(&self, request: Request) -> Result<(i16, Request), NotSpoken> {
        let api = request.api();
        let spoken = SPOKEN.iter().find(|row| row.api == api).map_or((0, -1), |row| (row.min, row.max));
        let served = self.0.get(&(api as i16)).copied();
        let not_spoken = NotSpoken { api, spoken, served };
        let (min, max) = served.ok_or_else(|| not_spoken.clone())?;
        let version = spoken.1.min(max).min(version_max(&request));
        if version < spoken.0 || version < min {
            return Err(not_spoken);
        }
        Ok((version, fitted(request)))
    }
}

/// The highest version that can say what the request says.
fn version_max(request: &Request) -> i16 {
    let unnamed = match request {
        Request::Produce(request) => request.topic_data.iter().any(|topic| topic.topic_id.is_nil()),
        Request::Fetch(request) => request.topics.iter().any(|topic| topic.topic_id.is_nil()),
        Request::SyncGroup(request) if request.protocol_type.is_none() || request.protocol_name.is_none() => {
            return SYNC_UNSAID_MAX;
        }
        // Whoever joins without a member id is to be given one, which was so in version 0 alone.
        Request::ConsumerGroupHeartbeat(request) if request.member_id.is_empty() => return 0,
        _ => false,
    };
    if unnamed { BY_NAME_MAX } else { i16::MAX }
}

/// A client may have asked in an older version; what later ones say in other words is put into those.
fn fitted(mut request: Request) -> Request {
    match &mut request {
        Request::FindCoordinator(body) if body.coordinator_keys.is_empty() => {
            body.coordinator_keys = vec![std::mem::take(&mut body.key)];
        }
        Request::LeaveGroup(body) if body.members.is_empty() => {
            let member = MemberIdentity::default().with_member_id(std::mem::take(&mut body.member_id));
            body.members = vec![member];
        }
        Request::JoinGroup(body) if body.rebalance_timeout_ms < 0 => {
            // Version 0 has one time for both.
            body.rebalance_timeout_ms = body.session_timeout_ms;
        }
        Request::OffsetCommit(body) => body.retention_time_ms = -1,
        Request::Fetch(body) => {
            // No sessions: each request says everything that it wants.
            body.replica_id = (-1).into();
            body.session_id = 0;
            body.session_epoch = -1;
            body.forgotten_topics_data.clear();
        }
        _ => {}
    }
    request
}
