//! Moving a directory from one database into another, whole or not at all; and a copy of one in a file.

use std::path::Path;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use crate::backend::Backend;
use crate::log::put_draft;
use crate::open::{begin, version};
use crate::{Store, StoreError};

const ATTEMPT: &str = "copy the directory";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
}

/// Every table with its columns, those that are referred to before those that refer. A test holds it against the
/// database.
const TABLES: &[(&str, &[(&str, Kind)])] = &[
    ("policy", &[("id", Kind::Number), ("version", Kind::Number), ("next_schema_id", Kind::Number)]),
    ("organisations", &[("uscc", Kind::Text), ("name", Kind::Text), ("division", Kind::Text)]),
    ("systems", &[("id", Kind::Text), ("organisation", Kind::Text), ("name", Kind::Text)]),
    (
        "resources",
        &[
            ("name", Kind::Text),
            ("title_zh", Kind::Text),
            ("code", Kind::Text),
            ("provider", Kind::Text),
            ("publishing_system", Kind::Text),
            ("sharing", Kind::Text),
            ("basis", Kind::Text),
            ("key_item", Kind::Text),
            ("subjects", Kind::Text),
            ("row_filters", Kind::Number),
            ("partitions", Kind::Number),
            ("topic_id", Kind::Text),
        ],
    ),
    (
        "schemas",
        &[
            ("id", Kind::Number),
            ("resource", Kind::Text),
            ("version", Kind::Number),
            ("view", Kind::Text),
            ("text", Kind::Text),
        ],
    ),
    (
        "views",
        &[
            ("digest", Kind::Text),
            ("whole", Kind::Number),
            ("items", Kind::Text),
            ("filter", Kind::Text),
            ("scope", Kind::Text),
            ("master_version", Kind::Number),
        ],
    ),
    (
        "grants",
        &[
            ("id", Kind::Text),
            ("system", Kind::Text),
            ("resource", Kind::Text),
            ("view", Kind::Text),
            ("modes", Kind::Text),
            ("purpose", Kind::Text),
            ("basis", Kind::Text),
            ("starts_at", Kind::Number),
            ("ends_at", Kind::Number),
            ("state", Kind::Text),
            ("records_per_second", Kind::Number),
            ("bytes_per_second", Kind::Number),
            ("queries_per_day", Kind::Number),
            ("codec", Kind::Text),
        ],
    ),
    ("revoked_certificates", &[("serial", Kind::Text), ("reason", Kind::Text)]),
    ("outbox", &[("id", Kind::Number), ("draft", Kind::Text)]),
    (
        "checkpoint",
        &[
            ("id", Kind::Number),
            ("tree_size", Kind::Number),
            ("next_offset", Kind::Number),
            ("root", Kind::Text),
            ("note", Kind::Text),
        ],
    ),
    ("key_fingerprints", &[("name", Kind::Text), ("fingerprint", Kind::Text)]),
];

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The policy version, the same in both.
    pub policy_version: u64,
    /// Each table and its rows.
    pub rows: Vec<(&'static str, usize)>,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

impl Store {
    /// Makes a copy in an SQLite file, which must not be there, of one moment, while hubs go on writing.
    ///
    /// # Errors
    /// When the database cannot be read or the file not be made.
    pub async fn copy_to_file(&self, path: &Path) -> Result<(), StoreError> {
        match self.backend {
            Backend::Sqlite => {
                let mut held = self.held(ATTEMPT).await?;
                sqlx::query("VACUUM INTO $1")
                    .bind(path.display().to_string())
                    .execute(held.connection())
                    .await
                    .map_err(StoreError::database(ATTEMPT))?;
                held.give_back();
                Ok(())
            }
            Backend::Postgres => {
                let target = Self::open_file(path).await?;
                let copied = target.take_over(self, None).await;
                target.close().await;
                copied.map(drop)
            }
        }
    }

    /// Puts a directory in use that was restored from a copy: what the original gave out since the copy was made is not
    /// given to anything else (`schema_ids` are passed over), and `draft` says so on the log.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn pass_over(&self, schema_ids: u32, draft: &str) -> Result<(), StoreError> {
        const ATTEMPT: &str = "pass over the schema ids";
        let mut held = self.held(ATTEMPT).await?;
        let mut write = begin(&mut held, self.backend.begin_write(), ATTEMPT).await?;
        sqlx::query(
            "UPDATE policy SET version = version + 1, next_schema_id = next_schema_id + $1 WHERE id = 1",
        )
        .bind(i64::from(schema_ids))
        .execute(&mut *write)
        .await
        .map_err(StoreError::database(ATTEMPT))?;
        put_draft(&mut write, draft, ATTEMPT).await?;
        write.commit().await.map_err(StoreError::database(ATTEMPT))?;
        held.give_back();
        Ok(())
    }

    /// Copies everything from another database into this one, which must be new, in one transaction, and compares it.
    /// Ids of schemas and topics, the checkpoint and the drafts for the audit log stay what they are. `draft` is put
    /// behind them: what is said of the copy on the log. No hub may run on the source.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when this database holds something, or the two have tables of different versions.
    pub async fn copy_from(&self, source: &Self, draft: &str) -> Result<Copied, StoreError> {
        self.take_over(source, Some(draft)).await
    }

    /// As [`Store::copy_from`], from a source that nobody writes to, and without anything said of it: who restores a copy
    /// says so by [`Store::pass_over`].
    ///
    /// # Errors
    /// As [`Store::copy_from`].
    pub async fn copy_all(&self, source: &Self) -> Result<Copied, StoreError> {
        self.take_over(source, None).await
    }

    async fn take_over(&self, source: &Self, draft: Option<&str>) -> Result<Copied, StoreError> {
        let (mut from, mut to) = (source.held(ATTEMPT).await?, self.held(ATTEMPT).await?);
        let how = match source.backend {
            // Nobody writes meanwhile.
            Backend::Sqlite => source.backend.begin_write(),
            Backend::Postgres => source.backend.begin_read(),
        };
        let mut read = begin(&mut from, how, ATTEMPT).await?;
        let mut write = begin(&mut to, self.backend.begin_write(), ATTEMPT).await?;
        let versions = (version(source.backend, &mut read).await?, version(self.backend, &mut write).await?);
        if versions.0 != versions.1 {
            return Err(StoreError::Conflict(format!(
                "the tables of the source have version {}, those of the target {}: bring both up to date first",
                versions.0, versions.1
            )));
        }
        let rows = copy(&mut read, &mut write).await?;
        if let Some(count_on) = self.backend.count_on() {
            run(&mut write, sqlx::query(count_on)).await?;
        }
        if let Some(draft) = draft {
            put_draft(&mut write, draft, ATTEMPT).await?;
        }
        if let Some(notify) = self.backend.notify_policy() {
            run(&mut write, sqlx::query(notify)).await?;
        }
        let policy: i64 = sqlx::query("SELECT version FROM policy WHERE id = 1")
            .fetch_one(&mut *write)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(StoreError::database(ATTEMPT))?;
        read.rollback().await.map_err(StoreError::database(ATTEMPT))?;
        write.commit().await.map_err(StoreError::database(ATTEMPT))?;
        from.give_back();
        to.give_back();
        let policy_version =
            u64::try_from(policy).map_err(|error| StoreError::row("policy version", error))?;
        Ok(Copied { policy_version, rows })
    }
}

async fn copy(
    read: &mut Transaction<'_, Any>,
    write: &mut Transaction<'_, Any>,
) -> Result<Vec<(&'static str, usize)>, StoreError> {
    // The row `policy` first, as by every writer.
    run(write, sqlx::query("UPDATE policy SET version = version WHERE id = 1")).await?;
    let mut copied = Vec::new();
    for (table, columns) in TABLES {
        let there = rows(write, table, columns).await?;
        let new = if *table == "policy" {
            there == [[Value::Number(Some(1)), Value::Number(Some(1)), Value::Number(Some(1))]]
        } else {
            there.is_empty()
        };
        if !new {
            return Err(StoreError::Conflict(format!(
                "the target is in use already: its table `{table}` holds something; name a new database"
            )));
        }
        let given = rows(read, table, columns).await?;
        run(write, sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))).await?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
        let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
        for row in &given {
            let query = sqlx::query(AssertSqlSafe(insert.clone()));
            let query = row.iter().fold(query, |query, value| match value {
                Value::Number(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.clone()),
            });
            run(write, query).await?;
        }
        if rows(write, table, columns).await? != given {
            return Err(StoreError::Conflict(format!(
                "the copy of table `{table}` is not what was read: nothing was copied"
            )));
        }
        copied.push((*table, given.len()));
    }
    Ok(copied)
}

async fn run(
    write: &mut Transaction<'_, Any>,
    query: Query<'_, Any, AnyArguments>,
) -> Result<(), StoreError> {
    query.execute(&mut **write).await.map(drop).map_err(StoreError::database(ATTEMPT))
}

/// All rows, in an order that does not depend on the database.
async fn rows(
    read: &mut Transaction<'_, Any>,
    table: &str,
    columns: &[(&str, Kind)],
) -> Result<Vec<Vec<Value>>, StoreError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let select = AssertSqlSafe(format!("SELECT {} FROM {table}", names.join(", ")));
    let rows = sqlx::query(select).fetch_all(&mut **read).await.map_err(StoreError::database(ATTEMPT))?;
    let mut rows = rows
        .iter()
        .map(|row| columns.iter().enumerate().map(|(place, (_, kind))| value(row, place, *kind)).collect())
        .collect::<Result<Vec<Vec<Value>>, _>>()
        .map_err(StoreError::database(ATTEMPT))?;
    rows.sort();
    Ok(rows)
}

fn value(row: &AnyRow, place: usize, kind: Kind) -> Result<Value, sqlx::Error> {
    Ok(match kind {
        Kind::Number => Value::Number(row.try_get(place)?),
        Kind::Text => Value::Text(row.try_get(place)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_table_and_column_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
        let all = "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                   WHERE m.type = 'table' AND m.name NOT IN ('schema_version', 'sqlite_sequence')";
        let there = sqlx::query(all).fetch_all(&store.pool).await.unwrap();
        let mut there: Vec<(String, String, Kind)> = there
            .iter()
            .map(|row| {
                let kind = if row.get::<String, _>(2) == "TEXT" { Kind::Text } else { Kind::Number };
                (row.get(0), row.get(1), kind)
            })
            .collect();
        let columns = |(table, columns): &(&'static str, &'static [(&'static str, Kind)])| {
            let table = (*table).to_owned();
            columns
                .iter()
                .map(move |(name, kind)| (table.clone(), (*name).to_owned(), *kind))
                .collect::<Vec<_>>()
        };
        let mut listed: Vec<_> = TABLES.iter().flat_map(columns).collect();
        there.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        listed.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        assert_eq!(there, listed);
    }
}
