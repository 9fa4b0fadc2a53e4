//! The use cases: publish, read, apply; the only maker of [`Recorded`].
//!
//! Architecture invariant: knows no HTTP and no sockets. Doors parse, call a method here, render. No record byte
//! leaves except out of a [`Recorded`], and a [`Recorded`] is made only after its audit entry is durable.

mod access;
mod acknowledged;
pub mod apply;
mod budget;
mod caller;
mod check;
mod covered;
mod door_meter;
mod exchange;
mod group;
mod handshakes;
mod headers;
mod hub;
mod keyring;
mod limits;
mod members;
mod metadata;
mod meter;
mod offsets;
mod plans;
mod policy_watch;
mod project;
mod projections;
mod publish;
mod read;
mod record;
mod recorded;
mod recover;
mod refused;
mod registry;
mod repeated;
mod session;
mod strangers;
mod trust;

pub use budget::{Budget, Share, WholeBudget};
pub use caller::{Caller, UnknownCaller};
pub use covered::Covered;
pub use door_meter::{DoorMeter, OpenConnection};
pub use exchange::{Exchange, Parts};
pub use handshakes::{Handshake, Handshakes};
pub use hub::Settings;
pub use keyring::{KeyRing, KeyUnavailable};
pub use policy_watch::{FixedPolicy, PolicyError, PolicyWatch, Stale};
pub use publish::Submitted;
pub use recorded::{Recorded, Withdrawn};
pub use recover::{Ends, RecoverError};
pub use registry::{RegisteredSchema, Registry, RegistryRefused};
pub use session::{Addresses, Closed, Session};
pub use shuniu_archive::TRACED;
pub use shuniu_broker::NodeId;
pub use strangers::Strangers;
pub use trust::{Trust, Trusted};
