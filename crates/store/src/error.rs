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
    /// The database is of a newer program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: use the newer program"
    )]
    Newer {
        /// In the database.
        found: i64,
        /// In this program.
        known: i64,
    },
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
