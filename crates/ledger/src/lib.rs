//! The audit log's format: leaf, tile, checkpoint, proof, verification.
