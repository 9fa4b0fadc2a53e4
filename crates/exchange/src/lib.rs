//! The use cases: publish, read, apply; the only maker of [`Projected`] and [`Recorded`].
//!
//! Architecture invariant: knows no HTTP and no sockets. Doors parse, call a method here, render. No record byte
//! leaves except out of a [`Recorded`], and a [`Recorded`] is made only after its audit entry is durable.

mod exchange;
mod recorded;
mod session;

pub use exchange::{Caller, Exchange};
pub use recorded::{Recorded, Withdrawn};
pub use session::{Closed, Session};
pub use shuniu_broker::NodeId;
