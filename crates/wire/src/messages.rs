//! The message types of the APIs that the hub speaks, as kafka-protocol has them.

pub use kafka_protocol::ResponseError;
pub use kafka_protocol::messages::*;
pub use kafka_protocol::protocol::StrBytes;
