//! What the end-to-end tests share: a hub in a folder of its own, run as the program it is, and clients of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test support: what goes wrong ends the test"
)]

mod bucket;
mod disk;
mod hub;
mod kafka;
mod kept;
mod kroxylicious;
pub mod machine;
mod network;
mod person;
mod postgres;
mod publisher;
mod raw;
pub mod register;
mod relay;
mod replicas;
mod watched;

pub use bucket::Objects;
pub use disk::SmallDisk;
pub use hub::{Hub, repository, run_on};
pub use kafka::{KAFKA, KAFKA_3, Kafka};
pub use kroxylicious::Kroxylicious;
pub use person::{citizen, person};
pub use postgres::Postgres;
pub use publisher::{Publisher, Taken, drain};
pub use raw::Raw;
pub use relay::{Link, Way};
pub use replicas::{Replica, Replicas};
pub use watched::{Asked, Watched};
