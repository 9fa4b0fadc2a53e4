//! The database that holds the table: SQLite or PostgreSQL, which most statements need not tell apart.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// A connection of its own.
pub(super) enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// What stands for a `$1`.
#[derive(Clone, Copy)]
pub(super) enum Bind<'a> {
    Text(&'a str),
    Integer(i64),
}

/// A row of texts and integers.
pub(super) enum Found {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A query of either database with what is bound to it.
macro_rules! query {
    ($sql:expr, $binds:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for bind in $binds {
            query = match bind {
                Bind::Text(text) => query.bind((*text).to_owned()),
                Bind::Integer(integer) => query.bind(*integer),
            };
        }
        query
    }};
}

impl Database {
    /// `sqlite:FILE`, which is made with its folder, or `postgres://..`.
    pub(super) async fn open(address: &str) -> Result<Self, sqlx::Error> {
        let mut database = match address.strip_prefix("sqlite:") {
            Some(file) => {
                if let Some(folder) = std::path::Path::new(file).parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let url = format!("sqlite:{}?mode=rwc", escaped(file));
                Self::Sqlite(SqliteConnection::connect(&url).await?)
            }
            None => Self::Postgres(PgConnection::connect(address).await?),
        };
        let settings: &[&str] = match database {
            // One file may hold several tables, each with its own writer.
            Self::Sqlite(_) => {
                &["PRAGMA busy_timeout = 30000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"]
            }
            Self::Postgres(_) => &["SET client_min_messages = warning"],
        };
        for statement in settings {
            database.execute(statement, &[]).await?;
        }
        Ok(database)
    }

    /// Gives how many rows the statement changed.
    pub(super) async fn execute(&mut self, sql: &str, binds: &[Bind<'_>]) -> Result<u64, sqlx::Error> {
        let sql = sql.to_owned();
        Ok(match self {
            Self::Sqlite(db) => query!(sql, binds).execute(db).await?.rows_affected(),
            Self::Postgres(db) => query!(sql, binds).execute(db).await?.rows_affected(),
        })
    }

    pub(super) async fn rows(&mut self, sql: &str, binds: &[Bind<'_>]) -> Result<Vec<Found>, sqlx::Error> {
        let sql = sql.to_owned();
        Ok(match self {
            Self::Sqlite(db) => {
                query!(sql, binds).fetch_all(db).await?.into_iter().map(Found::Sqlite).collect()
            }
            Self::Postgres(db) => {
                query!(sql, binds).fetch_all(db).await?.into_iter().map(Found::Postgres).collect()
            }
        })
    }

    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        };
        self.execute(begin, &[]).await.map(drop)
    }
}

impl Found {
    pub(super) fn text(&self, column: usize) -> Result<String, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn integer(&self, column: usize) -> Result<i64, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// A file name as part of a database address.
fn escaped(file: &str) -> String {
    file.chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '?' => "%3F".to_owned(),
            '#' => "%23".to_owned(),
            ' ' => "%20".to_owned(),
            c => c.to_string(),
        })
        .collect()
}
