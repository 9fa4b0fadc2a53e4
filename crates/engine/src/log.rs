//! One partition's log: segments, their index, producers, appending, reading, compaction, retention.

pub(crate) mod append;
mod behind;
pub(crate) mod compact;
pub(crate) mod index;
pub(crate) mod loss;
pub(crate) mod mark;
pub(crate) mod open;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod read;
pub(crate) mod retain;
pub(crate) mod segment;
pub(crate) mod time;

#[cfg(test)]
mod tests;
