//! What the two databases do not share.

use std::time::Duration;

/// Whoever follows the policy listens here (PostgreSQL).
pub(crate) const POLICY_CHANNEL: &str = "shuniu_policy";

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// The type of a key that the database counts up by itself and never gives twice.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Self::Postgres => "BIGSERIAL PRIMARY KEY",
        }
    }

    /// What every connection is told first.
    pub(crate) fn connection_settings(self, statement_max: Duration) -> String {
        match self {
            // Readers beside one writer, every commit on disk before it is answered, references held, five seconds of
            // patience with another writer.
            Self::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                             PRAGMA busy_timeout = 5000"
                    .to_owned()
            }
            // What a lost client holds (the row `policy`, the outbox) is free again within half a minute: its
            // transactions end, and a peer that is gone is noticed without waiting for the system's two hours.
            Self::Postgres => {
                let statement = statement_max.as_millis();
                format!(
                    "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
                     SET idle_in_transaction_session_timeout = {statement}; SET tcp_keepalives_idle = 10; \
                     SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
                )
            }
        }
    }

    /// Begins a transaction whose reads are all of one moment.
    pub(crate) fn begin_read(self) -> &'static str {
        match self {
            // With a write-ahead log, SQLite's transactions see one moment.
            Self::Sqlite => "BEGIN",
            // By default each statement would see a moment of its own, and the facts could contradict each other.
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Begins a transaction that writes.
    pub(crate) fn begin_write(self) -> &'static str {
        match self {
            // A transaction that reads first and is overtaken by another writer fails at once when it comes to write;
            // one that takes the lock at its start waits its turn.
            Self::Sqlite => "BEGIN IMMEDIATE",
            // Every writer takes the row `policy` first and waits there for the one before it; then each of its
            // statements sees what that one committed. A stricter level would see the moment before the wait, and fail.
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Tells whoever follows the policy that it changed, once the transaction is committed.
    pub(crate) fn notify_policy(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_notify('shuniu_policy', '')"),
        }
    }

    /// The first statement of the transaction that brings the tables up to date: one program at a time.
    pub(crate) fn migration_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            // Two that make the same table at once would fail. The number is any that nobody else locks: "shuniu".
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(126892483963253)"),
        }
    }

    /// Takes the outbox for this session, if nobody has it: gives true or false.
    pub(crate) fn claim_outbox(self) -> Option<&'static str> {
        match self {
            // One hub uses the file, and in it one task.
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_try_advisory_lock(126892483963254)"),
        }
    }

    /// Gives the outbox back.
    pub(crate) fn release_outbox(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_unlock(126892483963254)"),
        }
    }

    /// Whether the tables are there: counts the table that says their version.
    pub(crate) fn count_version_table(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'",
            Self::Postgres => {
                "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('schema_version')"
            }
        }
    }

    /// Makes the outbox count on from what was put into it by hand.
    pub(crate) fn count_on(self) -> Option<&'static str> {
        match self {
            // An AUTOINCREMENT remembers the highest by itself.
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT setval(pg_get_serial_sequence('outbox', 'id'), coalesce(max(id), 0) + 1, false) FROM outbox",
            ),
        }
    }
}
