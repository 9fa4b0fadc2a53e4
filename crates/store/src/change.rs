//! Policy writes.

use shuniu_model::{
    Grant, GrantId, GrantState, Mode, Organisation, Resource, ResourceName, Sharing, System, TopicId, View,
    ViewDigest,
};
use sqlx::{Any, Row, Transaction};

use crate::backend::Backend;
use crate::log::put_draft;
use crate::open::{Held, begin};
use crate::view::items_text;
use crate::{Store, StoreError};

/// One change to the directory. A list of them is one transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds an organisation, or replaces its name and division.
    Organisation(Organisation),
    /// Adds a system, or replaces its name and organisation.
    System(System),
    /// Adds a resource, or replaces what it says. Its `versions` and `topic_id` are not written by this.
    Resource(Resource),
    /// Registers the next version of a resource's schema; it gets the next schema id.
    SchemaVersion {
        /// The resource.
        resource: ResourceName,
        /// Counts from 1.
        version: u32,
        /// The Avro schema as JSON text.
        text: String,
    },
    /// Registers what a view leaves of a version; it gets the next schema id. Registered twice, it stays as it was.
    Projected {
        /// The resource.
        resource: ResourceName,
        /// The writer's version.
        version: u32,
        /// The view.
        view: ViewDigest,
        /// The projected Avro schema as JSON text.
        text: String,
    },
    /// Adds a grant and its view.
    Grant(Grant),
    /// Changes a grant's state.
    GrantState {
        /// The grant.
        id: GrantId,
        /// What it becomes.
        state: GrantState,
    },
    /// Changes what a grant says apart from its view, system and resource.
    GrantTerms(Grant),
    /// A certificate is good no longer.
    RevokeCertificate {
        /// Lower-case hex without leading zeros.
        serial: String,
        /// Why.
        reason: String,
    },
    /// A resource's topic was made.
    Topic {
        /// The resource.
        resource: ResourceName,
        /// Its id.
        id: TopicId,
    },
}

impl Store {
    /// Makes the changes, with their audit drafts (JSON text), in one transaction. Returns the new policy version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a change names something that is not there or contradicts what is; nothing of the
    /// list is then done.
    pub async fn write(&self, changes: &[Change], drafts: &[String]) -> Result<u64, StoreError> {
        self.write_if(None, changes, drafts).await
    }

    /// Makes the changes like [`Store::write`], if the policy version still is the one that they were worked out from.
    ///
    /// # Errors
    /// [`StoreError::Changed`] as well when the directory changed since; nothing is then done.
    pub async fn write_after(
        &self,
        version: u64,
        changes: &[Change],
        drafts: &[String],
    ) -> Result<u64, StoreError> {
        self.write_if(Some(version), changes, drafts).await
    }

    async fn write_if(
        &self,
        expected: Option<u64>,
        changes: &[Change],
        drafts: &[String],
    ) -> Result<u64, StoreError> {
        const ATTEMPT: &str = "write to the directory";
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let written = write_if(self.backend, &mut held, expected, changes, drafts).await;
            held.give_back();
            written
        })
        .await
    }
}

async fn write_if(
    backend: Backend,
    held: &mut Held,
    expected: Option<u64>,
    changes: &[Change],
    drafts: &[String],
) -> Result<u64, StoreError> {
    const ATTEMPT: &str = "write to the directory";
    let mut write = begin(held, backend.begin_write(), ATTEMPT).await?;
    // First, so that this row's lock is the commit order.
    let version: i64 = sqlx::query("UPDATE policy SET version = version + 1 WHERE id = 1 RETURNING version")
        .fetch_one(&mut *write)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(StoreError::database(ATTEMPT))?;
    let version = u64::try_from(version).map_err(|error| StoreError::row("policy version", error))?;
    if expected.is_some_and(|expected| expected + 1 != version) {
        return Err(StoreError::Changed);
    }
    for change in changes {
        apply(&mut write, change).await?;
    }
    for draft in drafts {
        put_draft(&mut write, draft, "write to the audit outbox").await?;
    }
    // It is heard once the transaction is committed, and not before.
    if let Some(notify) = backend.notify_policy() {
        sqlx::query(notify).execute(&mut *write).await.map_err(StoreError::database(ATTEMPT))?;
    }
    write.commit().await.map_err(StoreError::database(ATTEMPT))?;
    Ok(version)
}

async fn apply(write: &mut Transaction<'_, Any>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Organisation(it) => {
            run(
                write,
                sqlx::query(
                    "INSERT INTO organisations (uscc, name, division) VALUES ($1, $2, $3) \
                     ON CONFLICT (uscc) DO UPDATE SET name = excluded.name, division = excluded.division",
                )
                .bind(it.uscc.to_string())
                .bind(it.name.clone())
                .bind(it.division.to_string()),
                "write an organisation",
            )
            .await
        }
        Change::System(it) => {
            run(
                write,
                sqlx::query(
                    "INSERT INTO systems (id, organisation, name) VALUES ($1, $2, $3) \
                     ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, name = excluded.name",
                )
                .bind(it.id.to_string())
                .bind(it.organisation.to_string())
                .bind(it.name.clone()),
                "write a system",
            )
            .await
        }
        Change::Resource(it) => resource(write, it).await,
        Change::SchemaVersion { resource, version, text } => schema(write, resource, *version, "", text).await,
        Change::Projected { resource, version, view, text } => {
            schema(write, resource, *version, &view.to_string(), text).await
        }
        Change::Grant(it) => grant(write, it).await,
        Change::GrantState { id, state } => {
            found(
                write,
                sqlx::query("UPDATE grants SET state = $1 WHERE id = $2").bind(state_text(*state)).bind(id.to_string()),
                "change a grant",
                || format!("there is no grant `{id}`"),
            )
            .await
        }
        Change::GrantTerms(it) => grant_terms(write, it).await,
        Change::RevokeCertificate { serial, reason } => {
            run(
                write,
                sqlx::query(
                    "INSERT INTO revoked_certificates (serial, reason) VALUES ($1, $2) ON CONFLICT (serial) DO NOTHING",
                )
                .bind(serial.clone())
                .bind(reason.clone()),
                "revoke a certificate",
            )
            .await
        }
        Change::Topic { resource, id } => {
            found(
                write,
                sqlx::query("UPDATE resources SET topic_id = $1 WHERE name = $2")
                    .bind(id.to_string())
                    .bind(resource.to_string()),
                "write a topic's id",
                || format!("there is no resource `{resource}`"),
            )
            .await
        }
    }
}

type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

async fn run(
    write: &mut Transaction<'_, Any>,
    query: Query<'_>,
    attempt: &'static str,
) -> Result<(), StoreError> {
    query.execute(&mut **write).await.map(drop).map_err(|source| conflict(attempt, source))
}

/// A broken reference or a second active grant is the caller's mistake, not the database's failure.
fn conflict(attempt: &'static str, source: sqlx::Error) -> StoreError {
    match &source {
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => StoreError::Conflict(format!(
            "cannot {attempt}: it names something that the directory does not have"
        )),
        sqlx::Error::Database(error) if error.is_unique_violation() => StoreError::Conflict(format!(
            "cannot {attempt}: there is one already (a system holds at most one grant on a resource that is not revoked)"
        )),
        _ => StoreError::Database { attempt, source },
    }
}

async fn found(
    write: &mut Transaction<'_, Any>,
    query: Query<'_>,
    attempt: &'static str,
    missing: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    let done = query.execute(&mut **write).await.map_err(|source| conflict(attempt, source))?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict(missing())) }
}

async fn resource(write: &mut Transaction<'_, Any>, it: &Resource) -> Result<(), StoreError> {
    let (sharing, basis) = match &it.sharing {
        Sharing::Unconditional => ("unconditional", ""),
        Sharing::Conditional => ("conditional", ""),
        Sharing::NotShared { basis } => ("not-shared", basis.as_str()),
    };
    let subjects: Vec<&str> = it.subjects.iter().map(shuniu_model::ItemName::as_str).collect();
    run(
        write,
        sqlx::query(
            "INSERT INTO resources (name, title_zh, code, provider, publishing_system, sharing, basis, key_item, \
             subjects, row_filters, partitions) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (name) DO UPDATE SET title_zh = excluded.title_zh, code = excluded.code, \
             provider = excluded.provider, publishing_system = excluded.publishing_system, \
             sharing = excluded.sharing, basis = excluded.basis, key_item = excluded.key_item, \
             subjects = excluded.subjects, row_filters = excluded.row_filters, partitions = excluded.partitions",
        )
        .bind(it.name.to_string())
        .bind(it.title_zh.clone())
        .bind(it.code.clone())
        .bind(it.provider.to_string())
        .bind(it.publishing_system.to_string())
        .bind(sharing)
        .bind(basis.to_owned())
        .bind(it.key.to_string())
        .bind(subjects.join(" "))
        .bind(i64::from(it.row_filters))
        .bind(i64::from(it.partitions)),
        "write a resource",
    )
    .await
}

/// Registers a schema under the next id. Ids are never given twice: the counter only grows.
async fn schema(
    write: &mut Transaction<'_, Any>,
    resource: &ResourceName,
    version: u32,
    view: &str,
    text: &str,
) -> Result<(), StoreError> {
    const ATTEMPT: &str = "register a schema";
    let there = sqlx::query("SELECT text FROM schemas WHERE resource = $1 AND version = $2 AND view = $3")
        .bind(resource.to_string())
        .bind(i64::from(version))
        .bind(view.to_owned())
        .fetch_optional(&mut **write)
        .await
        .map_err(StoreError::database(ATTEMPT))?;
    if let Some(row) = there {
        let known: String = row.try_get(0).map_err(StoreError::database(ATTEMPT))?;
        if known == text {
            return Ok(());
        }
        return Err(StoreError::Conflict(format!(
            "version {version} of the schema of `{resource}` is registered with another text: a changed schema is a new version"
        )));
    }
    let id: i64 = sqlx::query(
        "UPDATE policy SET next_schema_id = next_schema_id + 1 WHERE id = 1 RETURNING next_schema_id - 1",
    )
    .fetch_one(&mut **write)
    .await
    .and_then(|row| row.try_get(0))
    .map_err(StoreError::database(ATTEMPT))?;
    run(
        write,
        sqlx::query("INSERT INTO schemas (id, resource, version, view, text) VALUES ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(resource.to_string())
            .bind(i64::from(version))
            .bind(view.to_owned())
            .bind(text.to_owned()),
        ATTEMPT,
    )
    .await
}

async fn grant(write: &mut Transaction<'_, Any>, it: &Grant) -> Result<(), StoreError> {
    view(write, &it.view).await?;
    run(
        write,
        sqlx::query(
            "INSERT INTO grants (id, system, resource, view, modes, purpose, basis, starts_at, ends_at, state, \
             records_per_second, bytes_per_second, queries_per_day, codec) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(it.id.to_string())
        .bind(it.system.to_string())
        .bind(it.resource.to_string())
        .bind(it.view.digest().to_string())
        .bind(modes_text(&it.modes))
        .bind(it.purpose.clone())
        .bind(it.basis.clone())
        .bind(it.starts_at.as_micros())
        .bind(it.ends_at.as_micros())
        .bind(state_text(it.state))
        .bind(limit(it.limits.records_per_second))
        .bind(limit(it.limits.bytes_per_second))
        .bind(limit(it.limits.queries_per_day))
        .bind(it.codec.as_str()),
        "write a grant",
    )
    .await
}

async fn grant_terms(write: &mut Transaction<'_, Any>, it: &Grant) -> Result<(), StoreError> {
    found(
        write,
        sqlx::query(
            "UPDATE grants SET modes = $1, purpose = $2, basis = $3, starts_at = $4, ends_at = $5, state = $6, \
             records_per_second = $7, bytes_per_second = $8, queries_per_day = $9, codec = $10 WHERE id = $11",
        )
        .bind(modes_text(&it.modes))
        .bind(it.purpose.clone())
        .bind(it.basis.clone())
        .bind(it.starts_at.as_micros())
        .bind(it.ends_at.as_micros())
        .bind(state_text(it.state))
        .bind(limit(it.limits.records_per_second))
        .bind(limit(it.limits.bytes_per_second))
        .bind(limit(it.limits.queries_per_day))
        .bind(it.codec.as_str())
        .bind(it.id.to_string()),
        "change a grant",
        || format!("there is no grant `{}`", it.id),
    )
    .await
}

async fn view(write: &mut Transaction<'_, Any>, it: &View) -> Result<(), StoreError> {
    run(
        write,
        sqlx::query(
            "INSERT INTO views (digest, whole, items, filter, scope, master_version) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(it.digest().to_string())
        .bind(i64::from(it.is_whole()))
        .bind(items_text(it))
        .bind(it.filter().map(str::to_owned))
        .bind(it.pseudonym().scope.clone())
        .bind(i64::from(it.pseudonym().master_version)),
        "write a view",
    )
    .await
}

fn state_text(state: GrantState) -> &'static str {
    match state {
        GrantState::Active => "active",
        GrantState::Suspended => "suspended",
        GrantState::Revoked => "revoked",
    }
}

fn modes_text(modes: &[Mode]) -> String {
    modes.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(" ")
}

fn limit(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}
