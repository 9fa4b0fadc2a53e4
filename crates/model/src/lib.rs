//! Names, identifiers and facts, valid by construction.
//!
//! Architecture invariant: no I/O, no async, no clock, no randomness. A value that exists is valid: fields that
//! could be wrong are private and have one constructor.

mod fact;
mod grant;
pub mod identifier;
mod name;
mod shown;
mod time;
mod view;

pub use fact::{Item, ItemType, Organisation, Resource, SchemaVersion, Sharing, System};
pub use grant::{Codec, Grant, GrantState, Limits, Mode};
pub use name::{GrantId, InvalidName, ItemName, ResourceName, SystemId, TopicId};
pub use shown::{is_deceiving, shown};
pub use time::{Clock, Timestamp};
pub use view::{Generalisation, MaskRule, PseudonymScope, Treatment, View, ViewDigest, ViewItem};
