//! The table: where it stands, what columns it has, and its changes, each in one transaction with the offsets.

use std::collections::HashMap;
use std::sync::Arc;

use shuniu_model::Timestamp;

use super::SinkError;
use super::database::{Bind, Database};
use super::layout::{Column, Layout, Reader};
use super::rows::{Put, Row};
use crate::config::Sink;
use crate::kafka::RESTORED_OFFSETS;

/// How many of the three tables there are that every source's state has.
const STATE_TABLES: &str =
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('fact', 'file', 'sent')";

const DAY_MICROS: i64 = 86_400_000_000;

pub(super) struct Table {
    db: Database,
    name: String,
    creates: bool,
    behind_days_max: u32,
    /// The first full read is under way, and brought no row a second time yet.
    is_new: bool,
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
        let mut db = Database::open(&sink.database).await.map_err(&open)?;
        if let Some(file) = sink.database.strip_prefix("sqlite:") {
            let found = db.rows(STATE_TABLES, &[]).await.map_err(&open)?;
            if found.first().map_or(Ok(0), |row| row.integer(0)).map_err(&open)? == 3 {
                return Err(SinkError::State { file: file.to_owned() });
            }
        }
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
        for statement in tables {
            db.execute(statement, &[]).await.map_err(&open)?;
        }
        let name = sink.table.get_ref().clone();
        Ok(Self { db, name, creates: sink.create, behind_days_max: sink.behind_days_max, is_new: false })
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
            self.is_new = sweeps && generation == 1;
            return Ok(Start { generation, sweeps, full_read: None, offsets, ends });
        };
        let generation = known.as_ref().map_or(0, |known| known.generation) + 1;
        self.begin().await?;
        let columns = self.follow_columns(layout, known.as_ref()).await?;
        let name = Bind::Text(&self.name);
        let forget = self.db.execute("DELETE FROM _shuniu_offset WHERE name = $1", &[name]).await;
        forget.map_err(failed("forget offsets"))?;
        let note = "INSERT INTO _shuniu_sink VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (name) DO UPDATE SET
             subject = excluded.subject, columns = excluded.columns, generation = excluded.generation, sweeps = 1,
             caught_up = excluded.caught_up";
        // A full read that is not over within the days that a deletion stays is begun again.
        let (begun, number) = (Bind::Integer(now.as_micros()), Bind::Integer(generation));
        let noted =
            self.db.execute(note, &[name, Bind::Text(subject), Bind::Text(&columns), number, begun]).await;
        noted.map_err(failed("note a full read"))?;
        self.commit().await?;
        self.is_new = generation == 1;
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
        let sql = "SELECT subject, columns, generation, sweeps, caught_up FROM _shuniu_sink WHERE name = $1";
        let rows = self.db.rows(sql, &[Bind::Text(&self.name)]).await.map_err(&read)?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Known {
            subject: row.text(0).map_err(&read)?,
            columns: row.text(1).map_err(&read)?,
            generation: row.integer(2).map_err(&read)?,
            sweeps: row.integer(3).map_err(&read)? != 0,
            caught_up: row.integer(4).map_err(&read)?,
        }))
    }

    async fn offsets(&mut self) -> Result<HashMap<i32, i64>, SinkError> {
        let read = failed("read where the table stands");
        let sql = "SELECT partition, next_offset FROM _shuniu_offset WHERE name = $1";
        let rows = self.db.rows(sql, &[Bind::Text(&self.name)]).await.map_err(&read)?;
        let mut offsets = HashMap::new();
        for row in rows {
            let (partition, next) = (row.integer(0).map_err(&read)?, row.integer(1).map_err(&read)?);
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
            let done = self.db.execute(&statement, &[]).await;
            done.map_err(failed("give the table its columns"))?;
        }
        Ok(noted)
    }

    fn definition(&self, column: &Column) -> String {
        format!("\"{}\" {}", column.name, self.db.sql_type(column.column_type))
    }

    /// Writes records and offsets in one transaction; gives how many rows were written and deleted.
    pub(super) async fn write(
        &mut self,
        layout: &Layout,
        readers: &HashMap<u32, Arc<Reader>>,
        pending: &Pending,
        generation: i64,
        caught_up: Option<Timestamp>,
    ) -> Result<(u64, u64), SinkError> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        let mut deletes = Vec::new();
        for (key, body) in &pending.records {
            match body {
                Some((schema, body)) => {
                    let reader = readers.get(schema);
                    let values = reader.map(|reader| reader.values(layout, body)).transpose()?;
                    rows.push((key.as_str(), values.unwrap_or_default()));
                }
                None => deletes.push(key.as_str()),
            }
        }
        // Neighbours in the key's index one after the other.
        rows.sort_unstable_by_key(|(key, _)| *key);
        self.begin().await?;
        let put = Put { table: &self.name, layout, rows: &rows, generation };
        self.db.put(&put, &mut self.is_new).await.map_err(failed("write rows"))?;
        self.db.delete(&self.name, &deletes).await.map_err(failed("delete rows"))?;
        let name = Bind::Text(&self.name);
        let note = "INSERT INTO _shuniu_offset VALUES ($1, $2, $3)
                    ON CONFLICT (name, partition) DO UPDATE SET next_offset = excluded.next_offset";
        for (partition, next) in &pending.offsets {
            let binds = [name, Bind::Integer(i64::from(*partition)), Bind::Integer(*next)];
            self.db.execute(note, &binds).await.map_err(failed("note offsets"))?;
        }
        if let Some(now) = caught_up {
            let note = "UPDATE _shuniu_sink SET caught_up = $2 WHERE name = $1";
            let noted = self.db.execute(note, &[name, Bind::Integer(now.as_micros())]).await;
            noted.map_err(failed("note the end of the log"))?;
        }
        self.commit().await?;
        Ok((rows.len() as u64, deletes.len() as u64))
    }

    /// Deletes the rows that a full read did not see; gives how many.
    pub(super) async fn sweep(&mut self, generation: i64) -> Result<u64, SinkError> {
        let sweep = failed("sweep rows that were not seen");
        self.is_new = false;
        self.begin().await?;
        let sql = format!("DELETE FROM \"{}\" WHERE _seen < $1", self.name);
        let swept = self.db.execute(&sql, &[Bind::Integer(generation)]).await.map_err(&sweep)?;
        let done = "UPDATE _shuniu_sink SET sweeps = 0 WHERE name = $1";
        self.db.execute(done, &[Bind::Text(&self.name)]).await.map_err(&sweep)?;
        self.commit().await?;
        Ok(swept)
    }

    /// One column of texts.
    #[cfg(test)]
    pub(super) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows = self.db.rows(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap()).collect()
    }

    async fn begin(&mut self) -> Result<(), SinkError> {
        self.db.begin().await.map_err(failed("start a transaction"))
    }

    async fn commit(&mut self) -> Result<(), SinkError> {
        self.db.execute("COMMIT", &[]).await.map(drop).map_err(failed("end a transaction"))
    }
}
