//! Opening a database and bringing it up to this program's tables.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor, Row};

use crate::StoreError;
use crate::backend::Backend;

/// One migration for each version of the tables, oldest first: SQLite's text and PostgreSQL's.
const MIGRATIONS: &[(&str, &str)] = &[(include_str!("sql/sqlite.sql"), include_str!("sql/postgres.sql"))];

const CONNECTIONS_MAX: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite: readers beside one writer, every commit on disk before it is answered, references held, five seconds of
/// patience with another writer.
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                               PRAGMA busy_timeout = 5000";

/// The directory's database.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: AnyPool,
    pub(crate) backend: Backend,
}

impl Store {
    /// Opens the SQLite database in that file, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or is of a newer program.
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Self::open(&format!("sqlite://{}?mode=rwc", path.display())).await
    }

    /// Opens the database at a `sqlite:` or `postgres:` URL and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be opened, or is of a newer program.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        // sqlx keeps its drivers for the process and refuses to be told twice.
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let backend = Backend::of_url(url);
        let options: AnyConnectOptions =
            url.parse().map_err(StoreError::database("read the database's URL"))?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if backend == Backend::Sqlite {
                        connection.execute(SQLITE_SETTINGS).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(StoreError::database("open the database"))?;
        let store = Self { pool, backend };
        store.migrate().await?;
        Ok(store)
    }

    /// Closes every connection; what was committed stays.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        const ATTEMPT: &str = "bring the database's tables up to date";
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let mut write =
            self.pool.begin_with(self.backend.begin_write()).await.map_err(StoreError::database(ATTEMPT))?;
        if let Some(lock) = self.backend.migration_lock() {
            write.execute(lock).await.map_err(StoreError::database(ATTEMPT))?;
        }
        write
            .execute(
                "CREATE TABLE IF NOT EXISTS schema_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)",
            )
            .await
            .map_err(StoreError::database(ATTEMPT))?;
        write
            .execute("INSERT INTO schema_version (id, version) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET version = schema_version.version")
            .await
            .map_err(StoreError::database(ATTEMPT))?;
        let found: i64 = write
            .fetch_one("SELECT version FROM schema_version WHERE id = 1")
            .await
            .and_then(|row| row.try_get(0))
            .map_err(StoreError::database(ATTEMPT))?;
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        for (sqlite, postgres) in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            let text = match self.backend {
                Backend::Sqlite => sqlite,
                Backend::Postgres => postgres,
            };
            for statement in text.split(";\n").filter(|part| !part.trim().is_empty()) {
                write.execute(statement).await.map_err(StoreError::database(ATTEMPT))?;
            }
        }
        sqlx::query("UPDATE schema_version SET version = $1 WHERE id = 1")
            .bind(known)
            .execute(&mut *write)
            .await
            .map_err(StoreError::database(ATTEMPT))?;
        write.commit().await.map_err(StoreError::database(ATTEMPT))
    }
}
