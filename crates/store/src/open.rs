//! Opening a database, and bringing it up to this program's tables.

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor, Row, Transaction};

use crate::StoreError;
use crate::backend::Backend;
use crate::database::Database;

/// One migration for each version of the tables, oldest first. `{counter}` is the one word that differs between the
/// databases.
const MIGRATIONS: &[&str] = &[include_str!("sql/tables.sql")];

const CREATE_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)";

/// The directory's database. Cloned freely.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: AnyPool,
    pub(crate) backend: Backend,
    pub(crate) database: Arc<Database>,
}

/// What bringing a database up to date did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version that its tables had; 0 without any.
    pub from: i64,
    /// The version that they have now.
    pub to: i64,
}

/// A connection out of the pool. Unless it is given back, it is closed: whoever gave up in the middle of a statement
/// leaves a connection that nobody else can use.
pub(crate) struct Held {
    connection: PoolConnection<Any>,
    whole: bool,
}

impl Held {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }

    pub(crate) fn give_back(mut self) {
        self.whole = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.whole {
            self.connection.close_on_drop();
        }
    }
}

impl Store {
    /// Opens the SQLite database in that file, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or its tables are not this program's.
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        Self::open(Database::file(path)).await
    }

    /// Opens a database whose tables are this program's. A new SQLite file gets them; everything else is the work of
    /// [`Store::migrate`], which a person asks for.
    ///
    /// # Errors
    /// When it cannot be opened, or its tables are older or newer than this program's.
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        let store = Self::connect(database).await?;
        let known = known();
        let mut held = store.held("look at the database's tables").await?;
        let mut found = version(store.backend, held.connection()).await?;
        held.give_back();
        if found == 0 && store.backend == Backend::Sqlite {
            found = store.bring_up().await?.to;
        }
        if found == known {
            return Ok(store);
        }
        store.close().await;
        Err(match found {
            0 => StoreError::NoTables,
            found if found < known => StoreError::Older { found, known },
            found => StoreError::Newer { found, known },
        })
    }

    /// Makes a database's tables this program's, in one transaction.
    ///
    /// # Errors
    /// When it cannot be opened, or is of a newer program; nothing is changed then.
    pub async fn migrate(database: Database) -> Result<Migrated, StoreError> {
        let store = Self::connect(database).await?;
        let migrated = store.bring_up().await;
        store.close().await;
        migrated
    }

    /// Closes every connection; what was committed stays.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn connect(database: Database) -> Result<Self, StoreError> {
        // sqlx keeps its drivers for the process and refuses to be told twice.
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let (backend, settings) = (database.backend, database.settings);
        let refused = |source| StoreError::Database { attempt: "open the database", source };
        let options: AnyConnectOptions =
            database.url.parse().map_err(|_| StoreError::Url { rule: "be a URL" })?;
        let told = backend.connection_settings(settings.statement_max);
        if backend == Backend::Sqlite {
            // The pool tries again and again and at the end says only that it had no time, where the disk is full, for example.
            let mut first = AnyConnection::connect_with(&options).await.map_err(refused)?;
            first.execute(AssertSqlSafe(told.clone())).await.map_err(refused)?;
            first.close().await.map_err(refused)?;
        }
        let pool = AnyPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(settings.connect_max)
            .after_connect(move |connection, _| {
                let told = told.clone();
                Box::pin(async move { connection.execute(AssertSqlSafe(told)).await.map(drop) })
            })
            .connect_with(options)
            .await
            .map_err(refused)?;
        Ok(Self { pool, backend, database: Arc::new(database) })
    }

    /// A connection out of the pool.
    pub(crate) async fn held(&self, attempt: &'static str) -> Result<Held, StoreError> {
        let connection = self.pool.acquire().await.map_err(StoreError::database(attempt))?;
        Ok(Held { connection, whole: false })
    }

    /// Runs an operation, and gives up once it has taken longer than connecting and its slowest statement may: a server
    /// that hangs says nothing, and its own limits do not bind then.
    pub(crate) async fn timed<T>(
        &self,
        attempt: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let settings = &self.database.settings;
        let patience = settings.connect_max + settings.statement_max + Duration::from_secs(1);
        tokio::time::timeout(patience, work)
            .await
            .unwrap_or(Err(StoreError::Silent { attempt, milliseconds: patience.as_millis() }))
    }

    async fn bring_up(&self) -> Result<Migrated, StoreError> {
        const ATTEMPT: &str = "bring the database's tables up to date";
        let known = known();
        let mut held = self.held(ATTEMPT).await?;
        let mut write = begin(&mut held, self.backend.begin_write(), ATTEMPT).await?;
        if self.backend == Backend::Postgres {
            // A large table takes its time; whoever waits for the lock waits for that.
            for unbounded in ["SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = 0"] {
                write.execute(unbounded).await.map_err(StoreError::database(ATTEMPT))?;
            }
        }
        if let Some(lock) = self.backend.migration_lock() {
            write.execute(lock).await.map_err(StoreError::database(ATTEMPT))?;
        }
        let found = version(self.backend, &mut write).await?;
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        write.execute(CREATE_VERSION).await.map_err(StoreError::database(ATTEMPT))?;
        for text in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            let text = text.replace("{counter}", self.backend.counter());
            for statement in text.split(";\n").filter(|part| !part.trim().is_empty()) {
                let statement = AssertSqlSafe(statement.to_owned());
                write.execute(statement).await.map_err(StoreError::database(ATTEMPT))?;
            }
        }
        sqlx::query(
            "INSERT INTO schema_version (id, version) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET version = excluded.version",
        )
        .bind(known)
        .execute(&mut *write)
        .await
        .map_err(StoreError::database(ATTEMPT))?;
        write.commit().await.map_err(StoreError::database(ATTEMPT))?;
        held.give_back();
        Ok(Migrated { from: found, to: known })
    }
}

/// Begins a transaction on a held connection.
pub(crate) async fn begin<'h>(
    held: &'h mut Held,
    how: &'static str,
    attempt: &'static str,
) -> Result<Transaction<'h, Any>, StoreError> {
    held.connection().begin_with(how).await.map_err(StoreError::database(attempt))
}

/// The version of this program's tables.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The version of the tables there; 0 without any.
pub(crate) async fn version(backend: Backend, connection: &mut AnyConnection) -> Result<i64, StoreError> {
    const ATTEMPT: &str = "look at the database's tables";
    let there: i64 = connection
        .fetch_one(backend.count_version_table())
        .await
        .and_then(|row| row.try_get(0))
        .map_err(StoreError::database(ATTEMPT))?;
    if there == 0 {
        return Ok(0);
    }
    let row = connection
        .fetch_optional("SELECT version FROM schema_version WHERE id = 1")
        .await
        .map_err(StoreError::database(ATTEMPT))?;
    row.map_or(Ok(0), |row| row.try_get(0)).map_err(StoreError::database(ATTEMPT))
}
