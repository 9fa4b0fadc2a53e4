//! What was sent last, in a SQLite file of this connector alone, and how a new file differs from it.
//!
//! The crash story: before the first record of a file leaves, the phase `sending` is durable. It goes back to `settled`
//! in the transaction that notes the file as done, after every record is acknowledged or refused. Whoever starts and
//! does not find `settled` cannot know what arrived, and builds `sent` anew from the topic. That is one transaction
//! too, so a crash in it is met by doing it again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::mapping::Likeness;
use crate::publish::{Change, Replayed};
use crate::rows::FileDigest;

mod tables;

/// Rows of one statement: enough to make its overhead small, and below SQLite's limit on parameters.
const ROWS_PER_STATEMENT: usize = 500;

/// The connector's state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite refuses.
    #[error("cannot {attempted} in the connector's state")]
    Database {
        /// What was under way.
        attempted: &'static str,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// The file is a database of something else: a sink's, or a department's own.
    #[error(
        "`{}` holds the table `{table}`, which is none of a connector's state: give `state` a file of its own, which need not \
         be there yet",
        path.display()
    )]
    Shared {
        /// The file.
        path: PathBuf,
        /// One of its tables.
        table: String,
    },
}

fn failed(attempted: &'static str) -> impl Fn(sqlx::Error) -> StateError {
    move |source| StateError::Database { attempted, source }
}

pub(crate) struct State {
    db: SqliteConnection,
}

/// A row waiting to be compared.
pub(crate) struct Staged {
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) likeness: Likeness,
    /// The order in which rows are sent.
    pub(crate) place: u64,
}

/// How the staged rows differ from what was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    pub(crate) inserts: u64,
    pub(crate) updates: u64,
    pub(crate) deletes: u64,
    pub(crate) unchanged: u64,
    /// Records that were live before.
    pub(crate) live: u64,
}

impl State {
    /// Opens the file, made where it does not exist. Another connector that has it open makes this fail.
    pub(crate) async fn open(path: &Path) -> Result<Self, StateError> {
        let open = failed("open the file");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| open(error.into()))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // `sending` must be on the disk before the first record leaves.
            .synchronous(SqliteSynchronous::Full)
            .locking_mode(SqliteLockingMode::Exclusive)
            .pragma("temp_store", "FILE");
        let mut db = SqliteConnection::connect_with(&options).await.map_err(&open)?;
        let others = sqlx::query(tables::OTHERS).fetch_optional(&mut db).await.map_err(&open)?;
        if let Some(row) = others {
            let table = row.try_get(0).map_err(&open)?;
            return Err(StateError::Shared { path: path.to_owned(), table });
        }
        for statement in tables::TABLES {
            sqlx::query(statement).execute(&mut db).await.map_err(&open)?;
        }
        Ok(Self { db })
    }

    /// Whether `sent` is known to be what the topic holds: `settled`, for this resource and this way of comparing.
    pub(crate) async fn is_settled(&mut self, identity: &str) -> Result<bool, StateError> {
        let phase = self.fact("phase").await?;
        let known = self.fact("identity").await?;
        Ok(phase.as_deref() == Some("settled") && known.as_deref() == Some(identity))
    }

    /// Whether `sent` was found on the topic and nothing tells which files it came from.
    pub(crate) async fn is_found(&mut self) -> Result<bool, StateError> {
        Ok(self.fact("found").await?.as_deref() == Some("yes"))
    }

    /// The end of the topic when it was settled, summed over its partitions.
    pub(crate) async fn log_end(&mut self) -> Result<i64, StateError> {
        Ok(self.fact("log-end").await?.and_then(|end| end.parse().ok()).unwrap_or(0))
    }

    async fn fact(&mut self, name: &str) -> Result<Option<String>, StateError> {
        let row = sqlx::query("SELECT value FROM fact WHERE name = $1").bind(name);
        let row = row.fetch_optional(&mut self.db).await.map_err(failed("read a fact"))?;
        row.map(|row| row.try_get(0).map_err(failed("read a fact"))).transpose()
    }

    async fn put_fact(&mut self, name: &str, value: &str) -> Result<(), StateError> {
        sqlx::query(
            "INSERT INTO fact VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut self.db)
        .await
        .map(drop)
        .map_err(failed("write a fact"))
    }

    /// The digests of the files that were sent whole, by path.
    pub(crate) async fn files(&mut self) -> Result<HashMap<String, FileDigest>, StateError> {
        let read = failed("read the files that were sent");
        let rows =
            sqlx::query("SELECT path, digest FROM file").fetch_all(&mut self.db).await.map_err(&read)?;
        let file = |row: &SqliteRow| {
            let digest: Vec<u8> = row.try_get(1)?;
            Ok((row.try_get(0)?, digest.try_into().unwrap_or_default()))
        };
        rows.iter().map(file).collect::<Result<_, sqlx::Error>>().map_err(&read)
    }

    /// Starts to build `sent` anew. Nothing is seen of it before [`State::replayed`].
    pub(crate) async fn replay(&mut self) -> Result<(), StateError> {
        let start = failed("start the recovery");
        self.begin().await?;
        sqlx::query("DELETE FROM sent").execute(&mut self.db).await.map(drop).map_err(&start)
    }

    /// Takes records of the topic in their order, each with its likeness; a record without a value is a deletion.
    pub(crate) async fn replay_records(
        &mut self,
        records: &[(Replayed, Option<Likeness>)],
    ) -> Result<(), StateError> {
        let write = failed("write recovered records");
        for (record, likeness) in records {
            match (&record.value, likeness) {
                (Some((schema, body)), Some(likeness)) => {
                    sqlx::query(tables::PUT_SENT)
                        .bind(&record.key)
                        .bind(i64::from(*schema))
                        .bind(body)
                        .bind(&likeness[..])
                        .execute(&mut self.db)
                        .await
                        .map_err(&write)?;
                }
                _ => {
                    let delete = sqlx::query("DELETE FROM sent WHERE key = $1").bind(&record.key);
                    delete.execute(&mut self.db).await.map_err(&write)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the recovery and gives the number of live records. A topic without any, or another one than records were sent
    /// to, starts the files over.
    pub(crate) async fn replayed(
        &mut self,
        identity: &str,
        log_end: i64,
        is_another: bool,
    ) -> Result<u64, StateError> {
        let live = self.count("SELECT count(*) FROM sent").await?;
        let is_new = self.fact("phase").await?.is_none();
        if (is_new || is_another) && live > 0 {
            self.put_fact("found", "yes").await?;
        }
        if is_another || live == 0 {
            let forget = sqlx::query("DELETE FROM file").execute(&mut self.db).await;
            forget.map_err(failed("forget the files that were sent"))?;
        }
        self.put_fact("phase", "settled").await?;
        self.put_fact("identity", identity).await?;
        self.put_fact("log-end", &log_end.to_string()).await?;
        self.commit().await?;
        Ok(live)
    }

    /// Forgets what is staged and held.
    pub(crate) async fn clear_staged(&mut self) -> Result<(), StateError> {
        for statement in tables::CLEAR {
            sqlx::query(statement).execute(&mut self.db).await.map_err(failed("clear staged rows"))?;
        }
        Ok(())
    }

    /// Stages rows; a later row of the same key takes the earlier one's place.
    pub(crate) async fn stage(&mut self, rows: &[Staged]) -> Result<(), StateError> {
        let write = failed("stage rows");
        self.begin().await?;
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            let sql = tables::with_rows(tables::STAGE, chunk.len(), 4, tables::STAGE_END);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in chunk {
                query = query
                    .bind(&row.key)
                    .bind(&row.body)
                    .bind(&row.likeness[..])
                    .bind(row.place.cast_signed());
            }
            query.execute(&mut self.db).await.map_err(&write)?;
        }
        self.commit().await
    }

    /// The places from `first` on that are staged already under these keys.
    pub(crate) async fn staged_places(
        &mut self,
        first: u64,
        keys: &[&[u8]],
    ) -> Result<HashMap<Vec<u8>, u64>, StateError> {
        let read = failed("read staged rows");
        let mut found = HashMap::new();
        for chunk in keys.chunks(ROWS_PER_STATEMENT) {
            let sql = tables::with_list("SELECT key, place FROM staged WHERE key IN ", chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for key in chunk {
                query = query.bind(*key);
            }
            for row in query.fetch_all(&mut self.db).await.map_err(&read)? {
                let place = row.try_get::<i64, _>(1).map_err(&read)?.cast_unsigned();
                if place >= first {
                    found.insert(row.try_get(0).map_err(&read)?, place);
                }
            }
        }
        Ok(found)
    }

    /// Holds records whose rows were rejected: they are not deleted.
    pub(crate) async fn hold(&mut self, keys: &[Vec<u8>]) -> Result<(), StateError> {
        for key in keys {
            let hold = sqlx::query("INSERT OR IGNORE INTO held VALUES ($1)").bind(key);
            hold.execute(&mut self.db).await.map_err(failed("hold a record"))?;
        }
        Ok(())
    }

    /// Compares what is staged with what was sent, and lays the changes out in the order in which they are sent.
    pub(crate) async fn compare(&mut self, deletes: bool) -> Result<Difference, StateError> {
        let compare = failed("compare");
        self.begin().await?;
        let statements = tables::COMPARE.iter().chain(deletes.then_some(&tables::COMPARE_DELETES));
        for statement in statements {
            sqlx::query(*statement).execute(&mut self.db).await.map_err(&compare)?;
        }
        self.commit().await?;
        let staged = self.count("SELECT count(*) FROM staged").await?;
        let inserts = self.count("SELECT count(*) FROM change WHERE kind = 1").await?;
        let updates = self.count("SELECT count(*) FROM change WHERE kind = 2").await?;
        Ok(Difference {
            inserts,
            updates,
            deletes: self.count("SELECT count(*) FROM change WHERE kind = 3").await?,
            unchanged: staged.saturating_sub(inserts + updates),
            live: self.count("SELECT count(*) FROM sent").await?,
        })
    }

    /// Rows staged, keys counted once.
    pub(crate) async fn staged(&mut self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM staged").await
    }

    /// Staged keys that have a live record.
    pub(crate) async fn staged_live(&mut self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM staged JOIN sent USING (key)").await
    }

    /// Keys held.
    pub(crate) async fn held(&mut self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM held JOIN sent USING (key)").await
    }

    async fn count(&mut self, sql: &'static str) -> Result<u64, StateError> {
        let count = failed("count");
        let row = sqlx::query(sql).fetch_one(&mut self.db).await.map_err(&count)?;
        let number: i64 = row.try_get(0).map_err(&count)?;
        Ok(number.cast_unsigned())
    }

    /// The changes numbered above `after`, at most `count`, each with its number.
    pub(crate) async fn changes(&mut self, after: i64, count: i64) -> Result<Vec<(i64, Change)>, StateError> {
        let read = failed("read changes");
        let rows = sqlx::query(tables::CHANGES).bind(after).bind(count);
        let rows = rows.fetch_all(&mut self.db).await.map_err(&read)?;
        let change = |row: &SqliteRow| {
            let before_schema: Option<i64> = row.try_get("before_schema")?;
            let before: Option<Vec<u8>> = row.try_get("before_body")?;
            let schema = before_schema.and_then(|schema| u32::try_from(schema).ok());
            let place: Option<i64> = row.try_get("place")?;
            Ok((
                row.try_get("n")?,
                Change {
                    key: row.try_get("key")?,
                    after: row.try_get("after_body")?,
                    before: schema.zip(before),
                    place: place.map(i64::cast_unsigned),
                },
            ))
        };
        rows.iter().map(change).collect::<Result<_, sqlx::Error>>().map_err(&read)
    }

    /// Makes it durable that records are about to leave.
    pub(crate) async fn mark_sending(&mut self) -> Result<(), StateError> {
        self.put_fact("phase", "sending").await
    }

    /// Notes changes that the topic holds: `first..=last`, but for the refused ones.
    pub(crate) async fn apply(
        &mut self,
        first: i64,
        last: i64,
        schema: u32,
        refused: &[i64],
    ) -> Result<(), StateError> {
        let write = failed("note what was sent");
        self.begin().await?;
        for number in refused {
            let drop = sqlx::query("DELETE FROM change WHERE n = $1").bind(number);
            drop.execute(&mut self.db).await.map_err(&write)?;
        }
        let put = sqlx::query(tables::APPLY_PUTS).bind(i64::from(schema)).bind(first).bind(last);
        put.execute(&mut self.db).await.map_err(&write)?;
        let delete = sqlx::query(tables::APPLY_DELETES).bind(first).bind(last);
        delete.execute(&mut self.db).await.map_err(&write)?;
        self.commit().await
    }

    /// Settles, and notes the files as done.
    pub(crate) async fn settle(
        &mut self,
        files: &[(String, FileDigest)],
        log_end: i64,
    ) -> Result<(), StateError> {
        let write = failed("settle");
        self.begin().await?;
        for (path, digest) in files {
            sqlx::query(
                "INSERT INTO file VALUES ($1, $2) ON CONFLICT (path) DO UPDATE SET digest = excluded.digest",
            )
            .bind(path)
            .bind(&digest[..])
            .execute(&mut self.db)
            .await
            .map_err(&write)?;
        }
        if !files.is_empty() {
            self.put_fact("found", "no").await?;
        }
        self.put_fact("phase", "settled").await?;
        self.put_fact("log-end", &log_end.to_string()).await?;
        self.commit().await
    }

    async fn begin(&mut self) -> Result<(), StateError> {
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.db)
            .await
            .map(drop)
            .map_err(failed("start a transaction"))
    }

    async fn commit(&mut self) -> Result<(), StateError> {
        sqlx::query("COMMIT").execute(&mut self.db).await.map(drop).map_err(failed("end a transaction"))
    }
}
