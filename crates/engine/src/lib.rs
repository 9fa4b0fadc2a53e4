//! Upstream on local disk, for one machine.
