//! The typed requests and responses that cross the seam between the hub and its record store.

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
        }

        impl Response {
            /// The API that the response is of.
            #[must_use]
            pub fn api(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
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
}
