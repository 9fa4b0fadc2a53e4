//! What a consumer holds: its own SQLite file, read as anybody would read it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// A consumer's file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask `{path}`: {question}")]
pub struct SinkError {
    path: PathBuf,
    question: String,
    #[source]
    source: sqlx::Error,
}

/// A consumer's SQLite file.
pub(super) struct Sink {
    path: PathBuf,
    connection: SqliteConnection,
}

impl Sink {
    /// Opens the file for reading only.
    pub(super) async fn open(path: &Path) -> Result<Self, SinkError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let connection = SqliteConnection::connect_with(&options).await;
        let connection = connection.map_err(|source| SinkError {
            path: path.to_owned(),
            question: "open".to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// The one number that a question answers.
    pub(super) async fn number(&mut self, question: &'static str) -> Result<u64, SinkError> {
        let row = sqlx::query(question).fetch_one(&mut self.connection).await;
        let number =
            row.and_then(|row| row.try_get::<i64, _>(0)).map_err(|source| self.failed(question, source))?;
        Ok(u64::try_from(number).unwrap_or_default())
    }

    /// The rows of a table.
    pub(super) async fn rows(&mut self, table: &str) -> Result<u64, SinkError> {
        let question = format!("SELECT count(*) FROM \"{table}\"");
        self.count(question, None).await
    }

    /// The people whose item has the value.
    pub(super) async fn where_is(&mut self, item: &'static str, value: &str) -> Result<u64, SinkError> {
        self.count(format!("SELECT count(*) FROM population WHERE {item} = $1"), Some(value)).await
    }

    /// The people whose item has another value, or none.
    pub(super) async fn where_not(&mut self, item: &'static str, value: &str) -> Result<u64, SinkError> {
        self.count(format!("SELECT count(*) FROM population WHERE {item} IS NOT $1"), Some(value)).await
    }

    /// The columns of a table, one after the other, parted by blanks; the connector's own start with `_`.
    pub(super) async fn items(&mut self, table: &'static str) -> Result<String, SinkError> {
        let question = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
        let rows = sqlx::query(AssertSqlSafe(question.clone())).fetch_all(&mut self.connection).await;
        let names: Result<Vec<String>, _> =
            rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        let names = names.map_err(|source| self.failed(&question, source))?;
        Ok(names.into_iter().filter(|name| !name.starts_with('_')).collect::<Vec<_>>().join(" "))
    }

    async fn count(&mut self, question: String, value: Option<&str>) -> Result<u64, SinkError> {
        let mut query = sqlx::query(AssertSqlSafe(question.clone()));
        if let Some(value) = value {
            query = query.bind(value.to_owned());
        }
        let row = query.fetch_one(&mut self.connection).await;
        let number =
            row.and_then(|row| row.try_get::<i64, _>(0)).map_err(|source| self.failed(&question, source))?;
        Ok(u64::try_from(number).unwrap_or_default())
    }

    fn failed(&self, question: &str, source: sqlx::Error) -> SinkError {
        SinkError { path: self.path.clone(), question: question.to_owned(), source }
    }
}
