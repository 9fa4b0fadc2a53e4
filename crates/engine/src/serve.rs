//! One file per kind of request: each turns Kafka's message into calls on logs, topics and groups, and back.

pub(crate) mod admin;
pub(crate) mod configs;
pub(crate) mod delete_records;
pub(crate) mod fetch;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod producer_ids;
