//! `engine.db`: topics, their settings, committed offsets, producer ids. SQLite, synced at each commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::EngineError;
use crate::epochs::Epochs;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS engine (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS topic (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, partitions BIGINT NOT NULL) \
     WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS setting (topic TEXT NOT NULL REFERENCES topic(name), name TEXT NOT NULL, \
     value TEXT NOT NULL, PRIMARY KEY (topic, name)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS committed (group_id TEXT NOT NULL, topic TEXT NOT NULL, partition BIGINT NOT NULL, \
     record_offset BIGINT NOT NULL, leader_epoch BIGINT NOT NULL, metadata TEXT NOT NULL, \
     PRIMARY KEY (group_id, topic, partition)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS epoch (topic TEXT NOT NULL REFERENCES topic(name), partition BIGINT NOT NULL, \
     epoch BIGINT NOT NULL, start BIGINT NOT NULL, PRIMARY KEY (topic, partition, epoch)) WITHOUT ROWID",
    "INSERT OR IGNORE INTO engine (name, value) VALUES ('format', '1'), ('next_producer_id', '0')",
];

/// The database of one folder.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: SqlitePool,
    path: PathBuf,
}

/// A topic as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct TopicRow {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) settings: BTreeMap<String, String>,
    /// Of the partitions that have any but the first.
    pub(crate) epochs: BTreeMap<i32, Epochs>,
}

impl TopicRow {
    pub(crate) fn epochs_of(&self, partition: i32) -> Epochs {
        self.epochs.get(&partition).cloned().unwrap_or_default()
    }
}

/// A committed offset as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedRow {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

impl Database {
    pub(crate) async fn open(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join("engine.db");
        // Before a new one is made in its place.
        if std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
            nothing_left_behind(folder, &path)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What the engine acknowledges must outlive a power cut, so each commit is synced.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        // One connection: writers would only wait for each other, and the order of commits is the order of calls.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let database = Self { pool: pool.map_err(failed("open tables", &path))?, path };
        for statement in SCHEMA {
            sqlx::query(*statement)
                .execute(&database.pool)
                .await
                .map_err(failed("make tables", &database.path))?;
        }
        let format = database.value("format").await.map_err(failed("read the format", &database.path))?;
        if format.as_deref() != Some("1") {
            let what = format!("format {}, and this engine knows 1", format.unwrap_or_default());
            return Err(EngineError::Unintelligible { path: database.path, what });
        }
        let topic = sqlx::query("SELECT name FROM topic LIMIT 1").fetch_optional(&database.pool).await;
        if topic.map_err(failed("read topics", &database.path))?.is_none() {
            nothing_left_behind(folder, &database.path)?;
        }
        Ok(database)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// The id of this cluster, made on first use.
    pub(crate) async fn cluster_id(&self, fresh: &str) -> Result<String, EngineError> {
        let failed = || failed("read the cluster id", &self.path);
        sqlx::query("INSERT OR IGNORE INTO engine (name, value) VALUES ('cluster_id', $1)")
            .bind(fresh)
            .execute(&self.pool)
            .await
            .map_err(failed())?;
        let stored = self.value("cluster_id").await.map_err(failed())?;
        Ok(stored.unwrap_or_default())
    }

    pub(crate) async fn topics(&self) -> Result<Vec<TopicRow>, EngineError> {
        let failed = || failed("read topics", &self.path);
        let rows = sqlx::query("SELECT name, id, partitions FROM topic ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed())?;
        let mut topics = Vec::with_capacity(rows.len());
        for row in rows {
            let name: String = row.try_get(0).map_err(failed())?;
            let id: String = row.try_get(1).map_err(failed())?;
            let partitions: i64 = row.try_get(2).map_err(failed())?;
            let (Ok(id), Ok(partitions)) = (Uuid::parse_str(&id), i32::try_from(partitions)) else {
                let what = format!("topic `{name}` with id `{id}` and {partitions} partitions");
                return Err(EngineError::Unintelligible { path: self.path.clone(), what });
            };
            let (settings, epochs) = (BTreeMap::new(), BTreeMap::new());
            topics.push(TopicRow { name, id, partitions, settings, epochs });
        }
        let settings = sqlx::query("SELECT topic, name, value FROM setting")
            .fetch_all(&self.pool)
            .await
            .map_err(failed())?;
        for row in settings {
            let topic: String = row.try_get(0).map_err(failed())?;
            if let Some(topic) = topics.iter_mut().find(|known| known.name == topic) {
                topic.settings.insert(row.try_get(1).map_err(failed())?, row.try_get(2).map_err(failed())?);
            }
        }
        let epochs =
            sqlx::query("SELECT topic, partition, epoch, start FROM epoch ORDER BY topic, partition, epoch")
                .fetch_all(&self.pool)
                .await
                .map_err(failed())?;
        for row in epochs {
            let topic: String = row.try_get(0).map_err(failed())?;
            if let Some(topic) = topics.iter_mut().find(|known| known.name == topic) {
                let of = topic.epochs.entry(small(row.try_get(1).map_err(failed())?)).or_default();
                of.push(small(row.try_get(2).map_err(failed())?), row.try_get(3).map_err(failed())?);
            }
        }
        Ok(topics)
    }

    /// Begins the next leader epoch of partitions, each at its offset, and passes over `producer_ids`: all or nothing.
    pub(crate) async fn begin_epochs(
        &self,
        starts: &[(&str, i32, i64)],
        producer_ids: i64,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for (topic, partition, start) in starts {
            sqlx::query(
                "INSERT INTO epoch (topic, partition, epoch, start) SELECT $1, $2, COALESCE(MAX(epoch), 0) + 1, $3 \
                 FROM epoch WHERE topic = $1 AND partition = $2",
            )
            .bind(*topic)
            .bind(i64::from(*partition))
            .bind(*start)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "UPDATE engine SET value = CAST(CAST(value AS INTEGER) + $1 AS TEXT) WHERE name = 'next_producer_id'",
        )
        .bind(producer_ids)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    pub(crate) async fn insert_topic(&self, topic: &TopicRow) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO topic (name, id, partitions) VALUES ($1, $2, $3)")
            .bind(topic.name.as_str())
            .bind(topic.id.to_string())
            .bind(i64::from(topic.partitions))
            .execute(&mut *transaction)
            .await?;
        insert_settings(&mut transaction, &topic.name, &topic.settings).await?;
        transaction.commit().await
    }

    pub(crate) async fn set_partitions(&self, topic: &str, partitions: i32) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE topic SET partitions = $1 WHERE name = $2")
            .bind(i64::from(partitions))
            .bind(topic)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    pub(crate) async fn replace_settings(
        &self,
        topic: &str,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("DELETE FROM setting WHERE topic = $1").bind(topic).execute(&mut *transaction).await?;
        insert_settings(&mut transaction, topic, settings).await?;
        transaction.commit().await
    }

    /// Takes `count` producer ids; the first is returned. They are never given out again.
    pub(crate) async fn take_producer_ids(&self, count: i64) -> Result<i64, sqlx::Error> {
        let row = sqlx::query(
            "UPDATE engine SET value = CAST(CAST(value AS INTEGER) + $1 AS TEXT) WHERE name = 'next_producer_id' \
             RETURNING CAST(value AS INTEGER)",
        )
        .bind(count)
        .fetch_one(&self.pool)
        .await?;
        Ok(row.try_get::<i64, _>(0)?.saturating_sub(count))
    }

    pub(crate) async fn committed(&self) -> Result<Vec<CommittedRow>, EngineError> {
        let failed = || failed("read committed offsets", &self.path);
        let rows = sqlx::query(
            "SELECT group_id, topic, partition, record_offset, leader_epoch, metadata FROM committed",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed())?;
        rows.into_iter()
            .map(|row| {
                Ok(CommittedRow {
                    group: row.try_get(0)?,
                    topic: row.try_get(1)?,
                    partition: small(row.try_get(2)?),
                    offset: row.try_get(3)?,
                    leader_epoch: small(row.try_get(4)?),
                    metadata: row.try_get(5)?,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(failed())
    }

    /// Stores all of these or none.
    pub(crate) async fn commit(&self, rows: &[CommittedRow]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for row in rows {
            sqlx::query(
                "INSERT INTO committed (group_id, topic, partition, record_offset, leader_epoch, metadata) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (group_id, topic, partition) DO UPDATE SET \
                 record_offset = excluded.record_offset, leader_epoch = excluded.leader_epoch, \
                 metadata = excluded.metadata",
            )
            .bind(row.group.as_str())
            .bind(row.topic.as_str())
            .bind(i64::from(row.partition))
            .bind(row.offset)
            .bind(i64::from(row.leader_epoch))
            .bind(row.metadata.as_str())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    async fn value(&self, name: &str) -> Result<Option<String>, sqlx::Error> {
        let row = sqlx::query("SELECT value FROM engine WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.try_get(0)).transpose()
    }
}

async fn insert_settings(
    connection: &mut SqliteConnection,
    topic: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), sqlx::Error> {
    for (name, value) in settings {
        sqlx::query("INSERT INTO setting (topic, name, value) VALUES ($1, $2, $3)")
            .bind(topic)
            .bind(name.as_str())
            .bind(value.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Without topics there are no logs, but for empty ones that a crash left while their topic was made.
fn nothing_left_behind(folder: &Path, path: &Path) -> Result<(), EngineError> {
    match log_with_records(&folder.join("topics"))? {
        None => Ok(()),
        Some(log) => Err(EngineError::TablesLost { path: path.to_owned(), log }),
    }
}

fn log_with_records(topics: &Path) -> Result<Option<PathBuf>, EngineError> {
    let failed = |error| EngineError::disk("look through", topics)(error);
    let entries = match std::fs::read_dir(topics) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(failed)?,
    };
    for partition in entries {
        let partition = partition.map_err(failed)?.path();
        if !partition.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&partition).map_err(failed)? {
            let file = file.map_err(failed)?;
            let log = file.path();
            let is_log = log.extension().is_some_and(|it| it == "log");
            if is_log && file.metadata().map_err(failed)?.len() > 0 {
                return Ok(Some(log));
            }
        }
    }
    Ok(None)
}

/// Only i32s are written to these columns.
fn small(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(-1)
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(sqlx::Error) -> EngineError {
    move |source| EngineError::Database { attempt, path: path.to_owned(), source }
}
