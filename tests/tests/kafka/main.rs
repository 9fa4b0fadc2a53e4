//! A real Apache Kafka as the hub's record store: the seam first, then the hub on it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod equivalence;
mod faults;
mod hub;
mod members;
mod probe;
mod raw;
mod repeated;
mod replicas;
mod seam;
mod table;
