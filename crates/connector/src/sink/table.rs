//! The table in its database: one SQL text, where SQLite and PostgreSQL differ a word of it.

use std::collections::HashMap;

use shuniu_model::Timestamp;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::SinkError;
use super::layout::{Column, ColumnType, Layout, Reader};
use crate::avro::Value;
use crate::config::Sink;
use crate::kafka::RESTORED_OFFSETS;

/// Parameters of one statement: below SQLite's 32,766.
const PARAMETERS_MAX: usize = 16_000;

/// How many of the three tables there are that every source's state has.
const STATE_TABLES: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('fact', 'file', 'sent')";

const DAY_MICROS: i64 = 86_400_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

pub(super) struct Table {
    db: AnyConnection,
    backend: Backend,
    name: String,
    creates: bool,
    behind_days_max: u32,
}

/// Where a reader starts.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// The number of this full read; rows that it sees carry it.
    pub(super) generation: i64,
    /// A full read is under way: at the end of the log, rows that it did not see go.
    pub(super) sweeps: bool,
    /// Why all is read from the start.
    pub(super) full_read: Option<String>,
    /// The next offset by partition; others are read from the start.
    pub(super) offsets: HashMap<i32, i64>,
    /// Where each partition ended.
    pub(super) ends: HashMap<i32, i64>,
}

/// Records that wait to be written. Of those with one key only the last counts.
#[derive(Default)]
pub(super) struct Pending {
    records: HashMap<String, Option<(u32, Vec<u8>)>>,
    offsets: HashMap<i32, i64>,
    bytes: usize,
}

impl Pending {
    pub(super) fn take(&mut self, partition: i32, offset: i64, key: &str, body: Option<(u32, Vec<u8>)>) {
        self.bytes += key.len() + body.as_ref().map_or(0, |(_, body)| body.len());
        self.records.insert(key.to_owned(), body);
        self.offsets.insert(partition, offset + 1);
    }

    /// Notes that there is nothing more before this offset.
    pub(super) fn reach(&mut self, partition: i32, end: i64) {
        let next = self.offsets.entry(partition).or_insert(end);
        *next = end.max(*next);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn failed(attempted: &'static str) -> impl Fn(sqlx::Error) -> SinkError {
    move |source| SinkError::Database { attempted, source }
}

/// What the database knows of the table.
struct Known {
    subject: String,
    columns: String,
    generation: i64,
    sweeps: bool,
    caught_up: i64,
}

impl Table {
    pub(super) async fn open(sink: &Sink) -> Result<Self, SinkError> {
        let open = failed("open the table");
        sqlx::any::install_default_drivers();
        let (backend, url) = match sink.database.strip_prefix("sqlite:") {
            Some(file) => {
                if let Some(folder) = std::path::Path::new(file).parent() {
                    std::fs::create_dir_all(folder).map_err(|error| open(error.into()))?;
                }
                (Backend::Sqlite, format!("sqlite:{}?mode=rwc", escaped(file)))
            }
            None => (Backend::Postgres, sink.database.clone()),
        };
        let mut db = AnyConnection::connect(&url).await.map_err(&open)?;
        if let Some(file) = sink.database.strip_prefix("sqlite:") {
            let row = sqlx::query(STATE_TABLES).fetch_one(&mut db).await.map_err(&open)?;
            if row.try_get::<i64, _>(0).map_err(&open)? == 3 {
                return Err(SinkError::State { file: file.to_owned() });
            }
        }
        let settings: &[&'static str] = match backend {
            // One file may hold several tables, each with its own writer.
            Backend::Sqlite => {
                &["PRAGMA busy_timeout = 30000", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"]
            }
            Backend::Postgres => &["SET client_min_messages = warning"],
        };
        let tables = [
            "CREATE TABLE IF NOT EXISTS _shuniu_sink (
                name TEXT PRIMARY KEY, subject TEXT NOT NULL, columns TEXT NOT NULL, generation BIGINT NOT NULL,
                sweeps BIGINT NOT NULL, caught_up BIGINT NOT NULL
            )",
            "CREATE TABLE IF NOT EXISTS _shuniu_offset (
                name TEXT NOT NULL, partition BIGINT NOT NULL, next_offset BIGINT NOT NULL,
                PRIMARY KEY (name, partition)
            )",
        ];
        for statement in settings.iter().chain(&tables) {
            sqlx::query(*statement).execute(&mut db).await.map_err(&open)?;
        }
        let name = sink.table.get_ref().clone();
        Ok(Self { db, backend, name, creates: sink.create, behind_days_max: sink.behind_days_max })
    }

    /// Decides where to read from. A full read that has begun goes on where it was.
    pub(super) async fn start(
        &mut self,
        layout: &Layout,
        subject: &str,
        marks: &[(i32, i64, i64)],
        now: Timestamp,
    ) -> Result<Start, SinkError> {
        let known = self.known().await?;
        let offsets = self.offsets().await?;
        let ends = marks.iter().map(|(partition, _, high)| (*partition, *high)).collect();
        let Some(reason) = self.full_read(known.as_ref(), subject, &offsets, marks, now) else {
            let (generation, sweeps) = known.map_or((1, true), |known| (known.generation, known.sweeps));
            return Ok(Start { generation, sweeps, full_read: None, offsets, ends });
        };
        let generation = known.as_ref().map_or(0, |known| known.generation) + 1;
        self.begin().await?;
        let columns = self.follow_columns(layout, known.as_ref()).await?;
        let forget = sqlx::query("DELETE FROM _shuniu_offset WHERE name = $1").bind(self.name.clone());
        forget.execute(&mut self.db).await.map_err(failed("forget offsets"))?;
        sqlx::query(
            "INSERT INTO _shuniu_sink VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (name) DO UPDATE SET
             subject = excluded.subject, columns = excluded.columns, generation = excluded.generation, sweeps = 1,
             caught_up = excluded.caught_up",
        )
        .bind(self.name.clone())
        .bind(subject.to_owned())
        .bind(columns)
        .bind(generation)
        // A full read that is not over within the days that a deletion stays is begun again.
        .bind(now.as_micros())
        .execute(&mut self.db)
        .await
        .map_err(failed("note a full read"))?;
        self.commit().await?;
        Ok(Start { generation, sweeps: true, full_read: Some(reason), offsets: HashMap::new(), ends })
    }

    /// Why all must be read from the start, where it must.
    fn full_read(
        &self,
        known: Option<&Known>,
        subject: &str,
        offsets: &HashMap<i32, i64>,
        marks: &[(i32, i64, i64)],
        now: Timestamp,
    ) -> Option<String> {
        let Some(known) = known else { return Some("there was no table yet".into()) };
        if known.subject != subject {
            return Some("other columns are delivered than before".into());
        }
        let days = now.as_micros().saturating_sub(known.caught_up) / DAY_MICROS;
        if days >= i64::from(self.behind_days_max) {
            return Some(format!("it is {days} days since the end of the log was reached"));
        }
        let is_beyond = |(partition, next): (&i32, &i64)| {
            marks.iter().find(|(other, _, _)| other == partition).is_none_or(|(_, _, high)| next > high)
        };
        if offsets.iter().any(is_beyond) {
            return Some("the log is shorter than it was".into());
        }
        let jumped = |(partition, next): (&i32, &i64)| {
            marks.iter().any(|(other, _, high)| other == partition && high - next >= RESTORED_OFFSETS)
        };
        offsets.iter().any(jumped).then(|| "the hub was restored from a backup".into())
    }

    async fn known(&mut self) -> Result<Option<Known>, SinkError> {
        let read = failed("read where the table stands");
        let row = sqlx::query(
            "SELECT subject, columns, generation, sweeps, caught_up FROM _shuniu_sink WHERE name = $1",
        )
        .bind(self.name.clone())
        .fetch_optional(&mut self.db)
        .await
        .map_err(&read)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Known {
            subject: row.try_get(0).map_err(&read)?,
            columns: row.try_get(1).map_err(&read)?,
            generation: row.try_get(2).map_err(&read)?,
            sweeps: row.try_get::<i64, _>(3).map_err(&read)? != 0,
            caught_up: row.try_get(4).map_err(&read)?,
        }))
    }

    async fn offsets(&mut self) -> Result<HashMap<i32, i64>, SinkError> {
        let read = failed("read where the table stands");
        let rows = sqlx::query("SELECT partition, next_offset FROM _shuniu_offset WHERE name = $1")
            .bind(self.name.clone())
            .fetch_all(&mut self.db)
            .await
            .map_err(&read)?;
        let mut offsets = HashMap::new();
        for row in rows {
            let partition: i64 = row.try_get(0).map_err(&read)?;
            let next: i64 = row.try_get(1).map_err(&read)?;
            offsets.extend(i32::try_from(partition).map(|partition| (partition, next)));
        }
        Ok(offsets)
    }

    /// Makes the table, or gives it the columns that are delivered now. What is not delivered any more goes: a view
    /// that grew narrower must not leave the rest behind. Gives the columns as they are noted.
    async fn follow_columns(&mut self, layout: &Layout, known: Option<&Known>) -> Result<String, SinkError> {
        let wanted: Vec<String> = layout.columns.iter().map(|column| self.definition(column)).collect();
        let noted = wanted.join(", ");
        if !self.creates {
            return Ok(noted);
        }
        let statements = match known {
            None => vec![format!(
                "CREATE TABLE IF NOT EXISTS \"{}\" (_key TEXT PRIMARY KEY, _seen BIGINT NOT NULL, {noted})",
                self.name
            )],
            Some(known) => {
                let held: Vec<&str> = known.columns.split(", ").filter(|column| !column.is_empty()).collect();
                let gone = held.iter().filter(|column| !wanted.iter().any(|wanted| wanted == *column));
                // A definition starts with the quoted name.
                let gone = gone
                    .filter_map(|column| column.split(' ').next())
                    .map(|name| format!("ALTER TABLE \"{}\" DROP COLUMN {name}", self.name));
                let new = wanted.iter().filter(|column| !held.contains(&column.as_str()));
                let new = new.map(|column| format!("ALTER TABLE \"{}\" ADD COLUMN {column}", self.name));
                gone.chain(new).collect()
            }
        };
        for statement in statements {
            let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut self.db).await;
            done.map_err(failed("give the table its columns"))?;
        }
        Ok(noted)
    }

    fn definition(&self, column: &Column) -> String {
        format!("\"{}\" {}", column.name, self.sql_type(column.column_type))
    }

    fn sql_type(&self, column_type: ColumnType) -> &'static str {
        match (column_type, self.backend) {
            (ColumnType::Text, _) => "TEXT",
            (ColumnType::Integer, _) => "BIGINT",
            (ColumnType::Number, _) => "DOUBLE PRECISION",
            (ColumnType::Boolean, _) => "BOOLEAN",
            (ColumnType::Bytes, Backend::Sqlite) => "BLOB",
            (ColumnType::Bytes, Backend::Postgres) => "BYTEA",
            // SQLite has no exact decimals and no dates; their text sorts and compares as they do.
            (
                ColumnType::Decimal | ColumnType::Date | ColumnType::Instant | ColumnType::Local,
                Backend::Sqlite,
            ) => "TEXT",
            (ColumnType::Decimal, Backend::Postgres) => "NUMERIC",
            (ColumnType::Date, Backend::Postgres) => "DATE",
            (ColumnType::Instant, Backend::Postgres) => "TIMESTAMPTZ",
            (ColumnType::Local, Backend::Postgres) => "TIMESTAMP",
        }
    }

    /// Writes records and offsets in one transaction; gives how many rows were written and deleted.
    pub(super) async fn write(
        &mut self,
        layout: &Layout,
        readers: &HashMap<u32, Reader>,
        pending: &Pending,
        generation: i64,
        caught_up: Option<Timestamp>,
    ) -> Result<(u64, u64), SinkError> {
        let mut puts = Vec::new();
        let mut deletes = Vec::new();
        for (key, body) in &pending.records {
            match body {
                Some((schema, body)) => {
                    let reader = readers.get(schema);
                    let values = reader.map(|reader| reader.values(layout, body)).transpose()?;
                    puts.push((key.as_str(), values.unwrap_or_default()));
                }
                None => deletes.push(key.as_str()),
            }
        }
        self.begin().await?;
        self.put(layout, &puts, generation).await?;
        for chunk in deletes.chunks(PARAMETERS_MAX) {
            let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
            let sql = format!("DELETE FROM \"{}\" WHERE _key IN ({})", self.name, places.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for key in chunk {
                query = query.bind((*key).to_owned());
            }
            query.execute(&mut self.db).await.map_err(failed("delete rows"))?;
        }
        for (partition, next) in &pending.offsets {
            sqlx::query(
                "INSERT INTO _shuniu_offset VALUES ($1, $2, $3)
                 ON CONFLICT (name, partition) DO UPDATE SET next_offset = excluded.next_offset",
            )
            .bind(self.name.clone())
            .bind(i64::from(*partition))
            .bind(*next)
            .execute(&mut self.db)
            .await
            .map_err(failed("note offsets"))?;
        }
        if let Some(now) = caught_up {
            sqlx::query("UPDATE _shuniu_sink SET caught_up = $2 WHERE name = $1")
                .bind(self.name.clone())
                .bind(now.as_micros())
                .execute(&mut self.db)
                .await
                .map_err(failed("note the end of the log"))?;
        }
        self.commit().await?;
        Ok((puts.len() as u64, deletes.len() as u64))
    }

    async fn put(
        &mut self,
        layout: &Layout,
        rows: &[(&str, Vec<Value<'_>>)],
        generation: i64,
    ) -> Result<(), SinkError> {
        let width = layout.columns.len() + 2;
        for chunk in rows.chunks((PARAMETERS_MAX / width).clamp(1, 500)) {
            let sql = self.put_sql(layout, chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (key, values) in chunk {
                query = query.bind((*key).to_owned()).bind(generation);
                for (column, value) in layout.columns.iter().zip(values) {
                    query = bind(query, column.column_type, value);
                }
            }
            query.execute(&mut self.db).await.map_err(failed("write rows"))?;
        }
        Ok(())
    }

    fn put_sql(&self, layout: &Layout, rows: usize) -> String {
        let width = layout.columns.len() + 2;
        let names: Vec<String> = layout.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let place = |column: &Column, place: usize| match (column.column_type, self.backend) {
            // Parameters are texts; PostgreSQL wants to be told what they become.
            (
                ColumnType::Decimal | ColumnType::Date | ColumnType::Instant | ColumnType::Local,
                Backend::Postgres,
            ) => {
                format!("CAST(${place} AS {})", self.sql_type(column.column_type))
            }
            _ => format!("${place}"),
        };
        let values: Vec<String> = (0..rows)
            .map(|row| {
                let first = row * width + 1;
                let columns = layout.columns.iter().zip(first + 2..);
                let columns: Vec<String> = columns.map(|(column, at)| place(column, at)).collect();
                format!("(${first}, ${}, {})", first + 1, columns.join(", "))
            })
            .collect();
        let updates: Vec<String> = names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        format!(
            "INSERT INTO \"{}\" (_key, _seen, {}) VALUES {} ON CONFLICT (_key) DO UPDATE SET _seen = excluded._seen, {}",
            self.name,
            names.join(", "),
            values.join(", "),
            updates.join(", ")
        )
    }

    /// Deletes the rows that a full read did not see; gives how many.
    pub(super) async fn sweep(&mut self, generation: i64) -> Result<u64, SinkError> {
        let sweep = failed("sweep rows that were not seen");
        self.begin().await?;
        let sql = format!("DELETE FROM \"{}\" WHERE _seen < $1", self.name);
        let swept =
            sqlx::query(AssertSqlSafe(sql)).bind(generation).execute(&mut self.db).await.map_err(&sweep)?;
        let done = sqlx::query("UPDATE _shuniu_sink SET sweeps = 0 WHERE name = $1").bind(self.name.clone());
        done.execute(&mut self.db).await.map_err(&sweep)?;
        self.commit().await?;
        Ok(swept.rows_affected())
    }

    /// One column of texts.
    #[cfg(test)]
    pub(super) async fn texts(&mut self, sql: &'static str) -> Vec<String> {
        let rows = sqlx::query(sql).fetch_all(&mut self.db).await.unwrap();
        rows.iter().map(|row| row.try_get(0).unwrap()).collect()
    }

    async fn begin(&mut self) -> Result<(), SinkError> {
        let begin = match self.backend {
            Backend::Sqlite => "BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN",
        };
        sqlx::query(begin).execute(&mut self.db).await.map(drop).map_err(failed("start a transaction"))
    }

    async fn commit(&mut self) -> Result<(), SinkError> {
        sqlx::query("COMMIT").execute(&mut self.db).await.map(drop).map_err(failed("end a transaction"))
    }
}

fn bind<'q>(
    query: Query<'q, Any, AnyArguments>,
    column_type: ColumnType,
    value: &Value<'_>,
) -> Query<'q, Any, AnyArguments> {
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
        ) => query.bind(value.to_text()),
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
