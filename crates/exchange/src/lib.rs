//! The use cases: publish, read, apply; the only maker of Projected and Recorded.
