//! The decision and its reason.
