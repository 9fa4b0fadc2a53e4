//! Why the store could not do what was asked.

/// Why the store could not do what was asked. A failed write has left nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database gave an error.
    #[error("cannot {attempt}")]
    Database {
        /// What was attempted.
        attempt: &'static str,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// A row is not what this program wrote.
    #[error("the database holds a {what} that is not valid: {detail}")]
    Row {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The connection string cannot be used. It is not shown: it holds a password.
    #[error("the connection string of the database must {rule}")]
    Url {
        /// What holds of a good one.
        rule: &'static str,
    },
    /// The database gave no answer.
    #[error("cannot {attempt}: the database gave no answer within {milliseconds} ms")]
    Silent {
        /// What was attempted.
        attempt: &'static str,
        /// How long it was waited for.
        milliseconds: u128,
    },
    /// The server is a copy that follows another: it may be behind.
    #[error(
        "the database server is a standby, which may be behind: the connection string must lead to the primary"
    )]
    Standby,
    /// The database has no tables yet.
    #[error("the database has no tables yet: run `shuniu migrate` once, with the hub's configuration")]
    NoTables,
    /// The database is of an older program.
    #[error(
        "the database's tables have version {found}, this program needs {known}: stop every hub that uses them, then \
         run `shuniu migrate` of this program, with the hub's configuration"
    )]
    Older {
        /// In the database.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// The database is of a newer program.
    #[error(
        "the database's tables have version {found}, this program knows up to {known}: use the newer program, or restore \
         a backup of before its `shuniu migrate`"
    )]
    Newer {
        /// In the database.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// A write was worked out from a directory that is no longer the one that is there.
    #[error(
        "the directory was changed by somebody else meanwhile, and nothing was written: look at the difference again \
         (`shuniu directory apply --dry-run`)"
    )]
    Changed,
    /// A write names something that is not there, or contradicts what is.
    #[error("{0}")]
    Conflict(String),
}

impl StoreError {
    pub(crate) fn database(attempt: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { attempt, source }
    }

    pub(crate) fn row(what: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Row { what, detail: detail.to_string() }
    }
}
