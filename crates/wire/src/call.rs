//! The typed requests and responses that cross the seam between the hub and its record store.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::messages;

pub use messages::ApiKey;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident, $response:ident)),* $(,)?) => {
        /// A request to the record store. Closed: what is not listed here is never asked of it.
        #[derive(Debug, Clone)]
        pub enum Request {
            $($(#[$doc])* $name(messages::$request),)*
        }

        /// The answer to the [`Request`] of the same name.
        #[derive(Debug, Clone)]
        pub enum Response {
            $($(#[$doc])* $name(messages::$response),)*
        }

        impl Request {
            /// The API that the request is of.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Writes header and body.
            pub(crate) fn write(
                &self,
                out: &mut BytesMut,
                version: i16,
                correlation_id: i32,
                client_id: &str,
            ) -> Result<(), String> {
                let header = RequestHeader::default()
                    .with_request_api_key(self.api() as i16)
                    .with_request_api_version(version)
                    .with_correlation_id(correlation_id)
                    .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
                match self {
                    $(Self::$name(body) => write(out, version, &header, body),)*
                }
            }
        }

        impl Response {
            /// The API that the response is of.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Writes header and body.
            pub(crate) fn write(
                &self,
                out: &mut BytesMut,
                version: i16,
                correlation_id: i32,
            ) -> Result<(), String> {
                let header = ResponseHeader::default().with_correlation_id(correlation_id);
                match self {
                    $(Self::$name(body) => write_response(out, version, &header, body),)*
                }
            }

            /// Reads a body; `None` when the API is not in the table.
            pub(crate) fn read(api: ApiKey, version: i16, body: &mut Bytes) -> Option<Result<Self, String>> {
                Some(match api {
                    $(ApiKey::$name => messages::$response::decode(body, version)
                        .map(Self::$name)
                        .map_err(|error| error.to_string()),)*
                    _ => return None,
                })
            }

            /// The version of the header of a response.
            pub(crate) fn header_version(api: ApiKey, version: i16) -> Option<i16> {
                Some(match api {
                    $(ApiKey::$name => messages::$response::header_version(version),)*
                    _ => return None,
                })
            }
        }

        $(
            impl From<messages::$request> for Request {
                fn from(request: messages::$request) -> Self {
                    Self::$name(request)
                }
            }

            impl From<messages::$response> for Response {
                fn from(response: messages::$response) -> Self {
                    Self::$name(response)
                }
            }

            impl TryFrom<Response> for messages::$response {
                type Error = Response;
                fn try_from(response: Response) -> Result<Self, Response> {
                    match response {
                        Response::$name(response) => Ok(response),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

fn write<T: Encodable + HeaderVersion>(
    out: &mut BytesMut,
    version: i16,
    header: &RequestHeader,
    body: &T,
) -> Result<(), String> {
    header.encode(out, T::header_version(version)).map_err(|error| error.to_string())?;
    write_body(out, version, body)
}

fn write_response<T: Encodable + HeaderVersion>(
    out: &mut BytesMut,
    version: i16,
    header: &ResponseHeader,
    body: &T,
) -> Result<(), String> {
    header.encode(out, T::header_version(version)).map_err(|error| error.to_string())?;
    write_body(out, version, body)
}

fn write_body<T: Encodable>(out: &mut BytesMut, version: i16, body: &T) -> Result<(), String> {
    out.reserve(body.compute_size(version).map_err(|error| error.to_string())?);
    body.encode(out, version).map_err(|error| error.to_string())
}

calls! {
    /// Topics, partitions, leaders.
    Metadata(MetadataRequest, MetadataResponse),
    /// Record batches in.
    Produce(ProduceRequest, ProduceResponse),
    /// Record batches out.
    Fetch(FetchRequest, FetchResponse),
    /// Offsets by time.
    ListOffsets(ListOffsetsRequest, ListOffsetsResponse),
    /// The end offset of a leader epoch.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse),
    /// A producer id for an idempotent producer.
    InitProducerId(InitProducerIdRequest, InitProducerIdResponse),
    /// Where a group's coordinator is.
    FindCoordinator(FindCoordinatorRequest, FindCoordinatorResponse),
    /// A member joins its group.
    JoinGroup(JoinGroupRequest, JoinGroupResponse),
    /// The leader's assignment, and each member's share of it.
    SyncGroup(SyncGroupRequest, SyncGroupResponse),
    /// A member is alive.
    Heartbeat(HeartbeatRequest, HeartbeatResponse),
    /// Members leave their group.
    LeaveGroup(LeaveGroupRequest, LeaveGroupResponse),
    /// A group's progress in.
    OffsetCommit(OffsetCommitRequest, OffsetCommitResponse),
    /// A group's progress out.
    OffsetFetch(OffsetFetchRequest, OffsetFetchResponse),
    /// A member of a group of the newer kind (KIP-848): joins, stays and leaves.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse),
    /// The cluster's brokers.
    DescribeCluster(DescribeClusterRequest, DescribeClusterResponse),
    /// Topic settings out.
    DescribeConfigs(DescribeConfigsRequest, DescribeConfigsResponse),
    /// Topic settings in. The hub's own, never a client's.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse),
    /// New topics. The hub's own, never a client's.
    CreateTopics(CreateTopicsRequest, CreateTopicsResponse),
    /// More partitions. The hub's own, never a client's.
    CreatePartitions(CreatePartitionsRequest, CreatePartitionsResponse),
    /// Records that are no longer needed go. The hub's own, never a client's.
    DeleteRecords(DeleteRecordsRequest, DeleteRecordsResponse),
}
