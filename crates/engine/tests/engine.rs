//! The engine through its seam, as the hub uses it.

#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/churn.rs"]
mod churn;
#[path = "engine/groups.rs"]
mod groups;
#[path = "engine/member.rs"]
mod member;
#[path = "engine/support.rs"]
mod support;
