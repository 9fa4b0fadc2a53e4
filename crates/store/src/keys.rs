//! Which keys the hubs of this directory use: a fingerprint of each, so that two hubs never use two.

use sqlx::Row;

use crate::open::{Held, begin};
use crate::{Store, StoreError};

const ATTEMPT: &str = "compare the hub's keys";

impl Store {
    /// The names and fingerprints of the keys that hubs of this directory use.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_fingerprints(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let rows = fingerprints(&mut held).await?;
            held.give_back();
            Ok(rows)
        })
        .await
    }

    /// Enters a key's fingerprint unless there is one of that name; the fingerprint that is there now. Of two hubs that
    /// enter different ones at once, one is told the other's.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_key(&self, name: &str, fingerprint: &str) -> Result<String, StoreError> {
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let mut write = begin(&mut held, self.backend.begin_write(), ATTEMPT).await?;
            sqlx::query(
                "INSERT INTO key_fingerprints (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            )
            .bind(name.to_owned())
            .bind(fingerprint.to_owned())
            .execute(&mut *write)
            .await
            .map_err(StoreError::database(ATTEMPT))?;
            let kept: String = sqlx::query("SELECT fingerprint FROM key_fingerprints WHERE name = $1")
                .bind(name.to_owned())
                .fetch_one(&mut *write)
                .await
                .and_then(|row| row.try_get(0))
                .map_err(StoreError::database(ATTEMPT))?;
            write.commit().await.map_err(StoreError::database(ATTEMPT))?;
            held.give_back();
            Ok(kept)
        })
        .await
    }
}

async fn fingerprints(held: &mut Held) -> Result<Vec<(String, String)>, StoreError> {
    let rows = sqlx::query("SELECT name, fingerprint FROM key_fingerprints ORDER BY name")
        .fetch_all(held.connection())
        .await
        .map_err(StoreError::database(ATTEMPT))?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(StoreError::database(ATTEMPT))
}
