//! Directory, grants, outbox and audit index in SQL.
