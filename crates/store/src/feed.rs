//! Following the policy: a connection of its own, on which the database says that the policy changed, and on which it
//! is asked all the same, often, so that silence is never taken for peace.

use std::time::{Duration, Instant};

use shuniu_model::Timestamp;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use crate::backend::{Backend, POLICY_CHANNEL};
use crate::{Store, StoreError};

/// For the database to say where the policy is. Deliveries pause once the policy was not confirmed for 700 ms.
const ANSWER_MAX: Duration = Duration::from_millis(500);
const ATTEMPT: &str = "ask for the policy";

const ASK: &str = "SELECT version, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT), pg_is_in_recovery() \
                   FROM policy WHERE id = 1";

/// Where the policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyState {
    /// It grows with every policy write.
    pub version: u64,
    /// The database's clock while it answered; `None` where it is this machine's (SQLite).
    pub database_time: Option<Timestamp>,
    /// Before the question was sent: what is answered held then or later.
    pub asked_at: Instant,
}

/// Follows the policy's version. A lost connection is made again by the next question.
pub struct PolicyFeed {
    store: Store,
    /// What is heard and asked over (PostgreSQL).
    listener: Option<PgListener>,
    /// For a connection to be had: short after a loss, longer with each attempt, so that a server which is slow but
    /// there is reached in the end and one which hangs is not waited for.
    connect_max: Duration,
}

impl Store {
    /// Follows the policy from now on.
    #[must_use]
    pub fn policy_feed(&self) -> PolicyFeed {
        let connect_max = self.database.settings.connect_max;
        PolicyFeed { store: self.clone(), listener: None, connect_max }
    }
}

impl PolicyFeed {
    /// Asks where the policy is: an answer within half a second over a connection that stands, else an error and a new
    /// connection with the next question.
    ///
    /// # Errors
    /// When the database does not answer, or is a standby, which may be behind.
    pub async fn ask(&mut self) -> Result<PolicyState, StoreError> {
        let silent = StoreError::Silent { attempt: ATTEMPT, milliseconds: ANSWER_MAX.as_millis() };
        if self.store.backend == Backend::Sqlite {
            let asked_at = Instant::now();
            let version = tokio::time::timeout(ANSWER_MAX, self.store.policy_version()).await;
            let version = version.unwrap_or(Err(silent))?;
            return Ok(PolicyState { version, database_time: None, asked_at });
        }
        let mut listener = match self.listener.take() {
            Some(listener) => listener,
            None => self.listen().await?,
        };
        // Whatever goes wrong, the connection is not used again: its next answer could be that to this question.
        let state = tokio::time::timeout(ANSWER_MAX, ask(&mut listener)).await.unwrap_or(Err(silent))?;
        self.listener = Some(listener);
        Ok(state)
    }

    /// Resolves when the policy may have changed, or the connection was lost: ask then. Never, while there is no
    /// connection or the database does not say (SQLite). Given up at any point, it misses nothing.
    pub async fn told(&mut self) {
        let Some(listener) = &mut self.listener else { return std::future::pending().await };
        match listener.try_recv().await {
            // One question answers all of them.
            Ok(Some(_)) => while listener.next_buffered().is_some() {},
            Ok(None) | Err(_) => self.listener = None,
        }
    }

    async fn listen(&mut self) -> Result<PgListener, StoreError> {
        let database = &self.store.database;
        let Some(options) = &database.postgres else {
            return Err(StoreError::Url { rule: "be PostgreSQL's" });
        };
        let patience = self.connect_max;
        self.connect_max = (patience * 2).min(database.settings.connect_max);
        let silent = StoreError::Silent { attempt: ATTEMPT, milliseconds: patience.as_millis() };
        let connected = tokio::time::timeout(patience, listen(options.clone(), patience)).await;
        let listener = connected.unwrap_or(Err(silent))?;
        self.connect_max = ANSWER_MAX.min(database.settings.connect_max);
        Ok(listener)
    }
}

async fn listen(options: PgConnectOptions, patience: Duration) -> Result<PgListener, StoreError> {
    const ATTEMPT: &str = "listen for changes of the policy";
    // The listener wants a pool; each has its own, so that a connection that hangs is in nobody's way.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(patience).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await.map_err(StoreError::database(ATTEMPT))?;
    listener.eager_reconnect(false);
    listener.listen(POLICY_CHANNEL).await.map_err(StoreError::database(ATTEMPT))?;
    Ok(listener)
}

async fn ask(listener: &mut PgListener) -> Result<PolicyState, StoreError> {
    let asked_at = Instant::now();
    let row = sqlx::query(ASK).fetch_one(listener).await.map_err(StoreError::database(ATTEMPT))?;
    let read = || Ok((row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?, row.try_get::<bool, _>(2)?));
    let (version, time, standby) = read().map_err(StoreError::database(ATTEMPT))?;
    if standby {
        return Err(StoreError::Standby);
    }
    let version = u64::try_from(version).map_err(|error| StoreError::row("policy version", error))?;
    Ok(PolicyState { version, database_time: Some(Timestamp::from_micros(time)), asked_at })
}
