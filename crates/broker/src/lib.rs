//! The Kafka side: the Upstream seam, topics, the hub's own producers and consumers.
