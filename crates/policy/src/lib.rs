//! The decision and its reason.
//!
//! Architecture invariant: pure. No I/O, no clock, no randomness: the facts are a [`Snapshot`], `now` is an argument. A
//! [`Permit`] is made by [`decide`] and nowhere else, and cannot be copied.

mod decide;
mod denial;
mod permit;
mod snapshot;

pub use decide::{Action, Principal, decide};
pub use denial::{Code, Denial};
pub use permit::{AdministerPermit, Permit, PublishPermit, ReadPermit};
pub use snapshot::{Facts, InvalidFacts, ProjectedSchema, Snapshot};
