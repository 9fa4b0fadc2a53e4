//! The engine through its seam, as the hub uses it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and its numbers are small"
)]

#[path = "engine/admin.rs"]
mod admin;
#[path = "engine/backup.rs"]
mod backup;
#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/churn.rs"]
mod churn;
#[path = "engine/compaction.rs"]
mod compaction;
#[path = "engine/crash.rs"]
mod crash;
#[path = "engine/damage.rs"]
mod damage;
#[path = "engine/groups.rs"]
mod groups;
#[path = "engine/member.rs"]
mod member;
#[path = "engine/support.rs"]
mod support;
