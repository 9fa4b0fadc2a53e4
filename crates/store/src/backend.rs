//! What the two databases do not share: how a transaction begins.

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    pub(crate) fn of_url(url: &str) -> Self {
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::Postgres }
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
            // Waiting writers go on with what the one before them committed.
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
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
}
