//! Avro: parse, compatibility, item rules, row filter, projection plan.
//!
//! Records are walked in their Avro binary form; no value tree is ever built. apache-avro says whether a schema is
//! valid and is the oracle of the tests; the walk is this crate's own node tree.
//!
//! Architecture invariant: no I/O, no async, no clock, no randomness. No byte of a record can panic: every length is
//! checked against the bytes left, depth and work are bounded.

mod canonical;
mod check;
mod compatible;
mod cursor;
mod decimal;
mod filter;
pub mod frame;
mod json;
mod node;
mod parse;
mod plan;
mod project;
mod pseudonym;
mod rule;
mod schema;
mod skip;
mod text;
mod treat;
mod view;

pub use check::{Breach, Broken, Checked, Checker, UnfitKey};
pub use compatible::{Incompatibility, Incompatible, compatible, removed_items};
pub use cursor::Malformed;
pub use filter::{Filter, FilterError, FilterProblem, NoDefault};
pub use plan::{Plan, PlanError, keeps_key};
pub use pseudonym::PseudonymKey;
pub use schema::{Schema, SchemaError};
pub use treat::Unfit;
pub use view::{ViewError, ViewProblem, check_view};
