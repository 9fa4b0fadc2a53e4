//! The engine through its seam, as the hub uses it.

#[path = "engine/basics.rs"]
mod basics;
#[path = "engine/support.rs"]
mod support;
