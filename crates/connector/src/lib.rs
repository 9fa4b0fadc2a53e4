//! Sources and sinks at the departments.
