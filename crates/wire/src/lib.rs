//! Kafka frames, record batches and the closed API table.
