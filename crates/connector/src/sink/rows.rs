//! Rows into the table, in the way that each database takes many at once.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, query::Query};

use super::database::Database;
use super::layout::{Column, ColumnType, Layout};
use crate::avro::Value;

/// Parameters of one statement: below SQLite's 32,766.
const PARAMETERS_MAX: usize = 16_000;

/// A row: its key, and the values of the table's columns.
pub(super) type Row<'a> = (&'a str, Vec<Value<'a>>);

/// What goes into a table.
pub(super) struct Put<'a> {
    pub(super) table: &'a str,
    pub(super) layout: &'a Layout,
    pub(super) rows: &'a [Row<'a>],
    /// The number of the full read that saw the rows last.
    pub(super) generation: i64,
}

impl Database {
    /// What a column is in this database.
    pub(super) fn sql_type(&self, column_type: ColumnType) -> &'static str {
        match (self, column_type) {
            (Self::Postgres(_), column_type) => postgres_type(column_type),
            (Self::Sqlite(_), ColumnType::Bytes) => "BLOB",
            // SQLite has no exact decimals and no dates; their text sorts and compares as they do.
            (
                Self::Sqlite(_),
                ColumnType::Decimal | ColumnType::Date | ColumnType::Instant | ColumnType::Local,
            ) => "TEXT",
            (Self::Sqlite(_), column_type) => postgres_type(column_type),
        }
    }

    /// Inserts rows, or updates them. `is_new` says that none is expected to be there, and is unset where one was.
    pub(super) async fn put(&mut self, put: &Put<'_>, is_new: &mut bool) -> Result<(), sqlx::Error> {
        match self {
            _ if put.rows.is_empty() => Ok(()),
            Self::Sqlite(db) => put_sqlite(db, put).await,
            Self::Postgres(db) if *is_new => {
                sqlx::query("SAVEPOINT new_rows").execute(&mut *db).await?;
                match copy(db, put).await {
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                        *is_new = false;
                        sqlx::query("ROLLBACK TO SAVEPOINT new_rows").execute(&mut *db).await?;
                        put_postgres(db, put).await
                    }
                    copied => copied,
                }
            }
            Self::Postgres(db) => put_postgres(db, put).await,
        }
    }

    /// Deletes rows by their keys.
    pub(super) async fn delete(&mut self, table: &str, keys: &[&str]) -> Result<(), sqlx::Error> {
        match self {
            _ if keys.is_empty() => {}
            Self::Sqlite(db) => {
                for chunk in keys.chunks(PARAMETERS_MAX) {
                    let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
                    let sql = format!("DELETE FROM \"{table}\" WHERE _key IN ({})", places.join(", "));
                    let query = sqlx::query(AssertSqlSafe(sql));
                    let query = chunk.iter().fold(query, |query, key| query.bind((*key).to_owned()));
                    query.execute(&mut *db).await?;
                }
            }
            Self::Postgres(db) => {
                let sql = format!("DELETE FROM \"{table}\" WHERE _key = ANY($1)");
                let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
                sqlx::query(AssertSqlSafe(sql)).bind(keys).execute(db).await?;
            }
        }
        Ok(())
    }
}

fn postgres_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text => "TEXT",
        ColumnType::Integer => "BIGINT",
        ColumnType::Number => "DOUBLE PRECISION",
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Bytes => "BYTEA",
        ColumnType::Decimal => "NUMERIC",
        ColumnType::Date => "DATE",
        ColumnType::Instant => "TIMESTAMPTZ",
        ColumnType::Local => "TIMESTAMP",
    }
}

/// What becomes of a row that is there already.
fn merge_sql(layout: &Layout) -> String {
    let mut sql = "ON CONFLICT (_key) DO UPDATE SET _seen = excluded._seen".to_owned();
    for Column { name, .. } in &layout.columns {
        // Writing to a string does not fail.
        write!(sql, ", \"{name}\" = excluded.\"{name}\"").ok();
    }
    sql
}

/// The table's columns as a list.
fn names(layout: &Layout) -> String {
    let names = layout.columns.iter().map(|column| format!(", \"{}\"", column.name));
    format!("_key, _seen{}", names.collect::<String>())
}

async fn put_sqlite(db: &mut SqliteConnection, put: &Put<'_>) -> Result<(), sqlx::Error> {
    let Put { table, layout, rows, generation } = *put;
    let merge = merge_sql(layout);
    let width = layout.columns.len() + 2;
    for chunk in rows.chunks((PARAMETERS_MAX / width).clamp(1, 500)) {
        let row = |row: usize| {
            let places: Vec<String> = (1..=width).map(|at| format!("${}", row * width + at)).collect();
            format!("({})", places.join(", "))
        };
        let values: Vec<String> = (0..chunk.len()).map(row).collect();
        let sql = format!("INSERT INTO \"{table}\" ({}) VALUES {} {merge}", names(layout), values.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, values) in chunk {
            query = query.bind((*key).to_owned()).bind(generation);
            for (column, value) in layout.columns.iter().zip(values) {
                query = bind(query, column.column_type, value);
            }
        }
        query.execute(&mut *db).await?;
    }
    Ok(())
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    column_type: ColumnType,
    value: &Value<'_>,
) -> Query<'q, Sqlite, SqliteArguments> {
    match (column_type, value) {
        (ColumnType::Integer, Value::Integer(value)) => query.bind(*value),
        (ColumnType::Integer, _) => query.bind(None::<i64>),
        (ColumnType::Number, Value::Number(value)) => query.bind(*value),
        // The default of a double may be written without a point.
        #[expect(clippy::cast_precision_loss, reason = "a double's default is a double")]
        (ColumnType::Number, Value::Integer(value)) => query.bind(*value as f64),
        (ColumnType::Number, _) => query.bind(None::<f64>),
        (ColumnType::Boolean, Value::Boolean(value)) => query.bind(*value),
        (ColumnType::Boolean, _) => query.bind(None::<bool>),
        (ColumnType::Bytes, Value::Bytes(value)) => query.bind(value.to_vec()),
        (ColumnType::Bytes, _) => query.bind(None::<Vec<u8>>),
        (
            ColumnType::Text
            | ColumnType::Decimal
            | ColumnType::Date
            | ColumnType::Instant
            | ColumnType::Local,
            value,
        ) => query.bind(value.to_text().map(Cow::into_owned)),
    }
}

/// The value as PostgreSQL reads its column's type from a text.
fn text<'a>(column_type: ColumnType, value: &'a Value<'_>) -> Option<Cow<'a, str>> {
    let fits = match column_type {
        ColumnType::Integer => matches!(value, Value::Integer(_)),
        ColumnType::Number => matches!(value, Value::Number(_) | Value::Integer(_)),
        ColumnType::Boolean => matches!(value, Value::Boolean(_)),
        ColumnType::Bytes => matches!(value, Value::Bytes(_)),
        ColumnType::Text
        | ColumnType::Decimal
        | ColumnType::Date
        | ColumnType::Instant
        | ColumnType::Local => true,
    };
    let text = fits.then(|| value.to_text()).flatten()?;
    Some(if column_type == ColumnType::Bytes { Cow::Owned(format!("\\x{text}")) } else { text })
}

/// Rows that were not there, by COPY.
async fn copy(db: &mut PgConnection, put: &Put<'_>) -> Result<(), sqlx::Error> {
    /// Sent at a time.
    const CHUNK_BYTES: usize = 1 << 16;
    let Put { table, layout, rows, generation } = *put;
    let mut copy = db.copy_in_raw(&format!("COPY \"{table}\" ({}) FROM STDIN", names(layout))).await?;
    let seen = generation.to_string();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES * 2);
    for (key, values) in rows {
        put_field(key, &mut chunk);
        chunk.push(b'\t');
        chunk.extend_from_slice(seen.as_bytes());
        for (column, value) in layout.columns.iter().zip(values) {
            chunk.push(b'\t');
            match text(column.column_type, value) {
                Some(text) => put_field(&text, &mut chunk),
                None => chunk.extend_from_slice(b"\\N"),
            }
        }
        chunk.push(b'\n');
        if chunk.len() >= CHUNK_BYTES {
            copy.send(chunk.as_slice()).await?;
            chunk.clear();
        }
    }
    copy.send(chunk.as_slice()).await?;
    copy.finish().await.map(drop)
}

/// A field in COPY's text format.
fn put_field(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        let escaped = match byte {
            b'\\' => b'\\',
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            plain => {
                out.push(plain);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
}

/// Rows that may be there: one statement, with an array for each column.
async fn put_postgres(db: &mut PgConnection, put: &Put<'_>) -> Result<(), sqlx::Error> {
    let Put { table, layout, rows, generation } = *put;
    let merge = merge_sql(layout);
    let columns = || layout.columns.iter().enumerate();
    let arrays: String = columns().map(|(at, _)| format!(", ${}::text[]", at + 3)).collect();
    let texts: String = columns().map(|(at, _)| format!(", c{at}")).collect();
    let cast =
        |(at, column): (usize, &Column)| format!(", CAST(c{at} AS {})", postgres_type(column.column_type));
    let casts: String = columns().map(cast).collect();
    let sql = format!(
        "INSERT INTO \"{table}\" ({}) SELECT k, $2{casts} FROM unnest($1::text[]{arrays}) AS rows(k{texts}) {merge}",
        names(layout)
    );
    let keys: Vec<String> = rows.iter().map(|(key, _)| (*key).to_owned()).collect();
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(keys).bind(generation);
    for (at, column) in columns() {
        let values: Vec<Option<String>> = rows
            .iter()
            .map(|(_, values)| Some(text(column.column_type, values.get(at)?)?.into_owned()))
            .collect();
        query = query.bind(values);
    }
    query.execute(db).await.map(drop)
}
