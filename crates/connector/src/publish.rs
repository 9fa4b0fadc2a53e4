//! Where changes go. The hub is one place, the tests' recorder another.

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    /// The Avro body; `None` deletes the record.
    pub(crate) after: Option<Vec<u8>>,
    /// Schema id and body of the record before; `None` where it is new.
    pub(crate) before: Option<(u32, Vec<u8>)>,
    /// The place of the row that says so, for messages; deletions have none.
    pub(crate) place: Option<u64>,
}

/// A record of the topic, as recovery reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) key: Vec<u8>,
    /// Schema id and Avro body; `None` is a deletion.
    pub(crate) value: Option<(u32, Vec<u8>)>,
}

/// What all records of one file carry beside their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The header `batch`.
    pub(crate) name: String,
    /// The header `source-time`, RFC 3339.
    pub(crate) source_time: Option<String>,
    pub(crate) schema: u32,
}

/// A record that the hub refused: it is not on the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its place in what was sent.
    pub(crate) position: usize,
    /// The hub's words.
    pub(crate) reason: String,
}

/// The hub cannot be published to or read from. What was under way may or may not be on the topic.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A Kafka request.
    #[error("cannot {attempted} at the hub (`shuniu doctor` looks from here and names the trouble)")]
    Kafka {
        /// What was under way.
        attempted: &'static str,
        /// What the client says.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A registry request.
    #[error("cannot {attempted} in the hub's registry")]
    Registry {
        /// What was under way.
        attempted: &'static str,
        /// What it says.
        #[source]
        source: crate::registry::RegistryError,
    },
    /// A record on the topic that is not in the Confluent wire format or does not decode.
    #[error("record {offset} of partition {partition} does not decode")]
    Damaged {
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// The hub answered nothing for a long time.
    #[error("cannot {attempted} at the hub: no answer within {seconds} s")]
    Silent {
        /// What was under way.
        attempted: &'static str,
        /// How long.
        seconds: u64,
    },
}

/// A place that takes changes and can say what it holds.
pub(crate) trait Publisher: Send {
    /// The id of the connector's schema.
    fn schema_id(&mut self) -> impl Future<Output = Result<u32, PublishError>> + Send;

    /// The text of a schema that the topic's records name.
    fn schema(&mut self, id: u32) -> impl Future<Output = Result<String, PublishError>> + Send;

    /// The end of the log, summed over partitions: it only ever grows.
    fn log_end(&mut self) -> impl Future<Output = Result<i64, PublishError>> + Send;

    /// The next records of the topic from its start; `None` at its end, after which it starts anew.
    fn replay(&mut self) -> impl Future<Output = Result<Option<Vec<Replayed>>, PublishError>> + Send;

    /// Sends the changes and returns once each is durable or refused. After an error any of them may be on the topic.
    fn send(
        &mut self,
        batch: &Batch,
        changes: &[(i64, Change)],
    ) -> impl Future<Output = Result<Vec<Refused>, PublishError>> + Send;
}
