//! Audit tiles in a folder, sequencing and the log's write path.
