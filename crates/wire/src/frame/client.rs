//! The client side: requests out, responses in. For the hub's own connections to brokers, which it trusts, and tests.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader as KafkaHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::{EncodeError, FrameError};
use crate::call::{Request, Response};
use crate::messages;

/// Writes a request: length, header and body.
///
/// # Errors
/// When the request has something that the version cannot say.
pub fn encode_request(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &Request,
) -> Result<Bytes, EncodeError> {
    let api = request.api();
    let failed = |what: String| EncodeError { api, version, what };
    let mut out = BytesMut::new();
    out.put_i32(0);
    let header = KafkaHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    macro_rules! write {
        ($($name:ident),*) => {
            match request {
                $(Request::$name(body) => write_request(&mut out, version, &header, body),)*
            }
        };
    }
    write!(
        Metadata,
        Produce,
        Fetch,
        ListOffsets,
        OffsetForLeaderEpoch,
        InitProducerId,
        FindCoordinator,
        JoinGroup,
        SyncGroup,
        Heartbeat,
        LeaveGroup,
        OffsetCommit,
        OffsetFetch,
        DescribeCluster,
        DescribeConfigs,
        IncrementalAlterConfigs,
        CreateTopics,
        CreatePartitions
    )
    .map_err(failed)?;
    let length = i32::try_from(out.len() - 4).map_err(|_| failed("over 2 GiB".to_owned()))?;
    if let Some(place) = out.get_mut(..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.freeze())
}

fn write_request<T: Encodable + HeaderVersion>(
    out: &mut BytesMut,
    version: i16,
    header: &KafkaHeader,
    body: &T,
) -> Result<(), String> {
    header.encode(out, T::header_version(version)).map_err(|error| error.to_string())?;
    body.encode(out, version).map_err(|error| error.to_string())
}

/// Reads a response to a request of that API and version, without its length prefix: the correlation id and the body.
///
/// The sender is trusted: a broker of the hub's own cluster.
///
/// # Errors
/// When the bytes are not such a response.
pub fn decode_response(api: ApiKey, version: i16, mut frame: Bytes) -> Result<(i32, Response), FrameError> {
    macro_rules! read {
        ($($name:ident => $response:ident),*) => {
            match api {
                $(ApiKey::$name => read_response::<messages::$response>(version, &mut frame)
                    .map(|(id, body)| (id, Response::$name(body))),)*
                _ => return Err(FrameError::NotServed { key: api as i16, version }),
            }
        };
    }
    let read = read!(
        Metadata => MetadataResponse, Produce => ProduceResponse, Fetch => FetchResponse,
        ListOffsets => ListOffsetsResponse, OffsetForLeaderEpoch => OffsetForLeaderEpochResponse,
        InitProducerId => InitProducerIdResponse, FindCoordinator => FindCoordinatorResponse,
        JoinGroup => JoinGroupResponse, SyncGroup => SyncGroupResponse, Heartbeat => HeartbeatResponse,
        LeaveGroup => LeaveGroupResponse, OffsetCommit => OffsetCommitResponse, OffsetFetch => OffsetFetchResponse,
        DescribeCluster => DescribeClusterResponse, DescribeConfigs => DescribeConfigsResponse,
        IncrementalAlterConfigs => IncrementalAlterConfigsResponse, CreateTopics => CreateTopicsResponse,
        CreatePartitions => CreatePartitionsResponse
    )
    .map_err(|what| FrameError::Field { api: "response", what })?;
    if frame.has_remaining() {
        return Err(FrameError::Trailing { api: "response", bytes: frame.remaining() });
    }
    Ok(read)
}

fn read_response<T: Decodable + HeaderVersion>(version: i16, frame: &mut Bytes) -> Result<(i32, T), String> {
    let header =
        ResponseHeader::decode(frame, T::header_version(version)).map_err(|error| error.to_string())?;
    let body = T::decode(frame, version).map_err(|error| error.to_string())?;
    Ok((header.correlation_id, body))
}
