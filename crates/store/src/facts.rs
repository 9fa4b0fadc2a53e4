//! Loading the facts in force.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use shuniu_model::{
    Grant, GrantState, Limits, Organisation, PseudonymScope, Resource, SchemaVersion, Sharing, System,
    Timestamp, TopicId, View, ViewDigest,
};
use shuniu_policy::{Facts, ProjectedSchema};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::open::begin;
use crate::view::items;
use crate::{Store, StoreError};

const ATTEMPT: &str = "load the directory";

impl Store {
    /// The policy version now: it grows with every policy write.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn policy_version(&self) -> Result<u64, StoreError> {
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let row = sqlx::query("SELECT version FROM policy WHERE id = 1")
                .fetch_one(held.connection())
                .await
                .map_err(StoreError::database(ATTEMPT))?;
            held.give_back();
            number(&row, 0, "policy version")
        })
        .await
    }

    /// All facts, of one moment.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what this program did not write.
    pub async fn facts(&self) -> Result<Facts, StoreError> {
        self.timed(ATTEMPT, async {
            let mut held = self.held(ATTEMPT).await?;
            let mut read = begin(&mut held, self.backend.begin_read(), ATTEMPT).await?;
            let facts = all(&mut read).await?;
            read.commit().await.map_err(StoreError::database(ATTEMPT))?;
            held.give_back();
            Ok(facts)
        })
        .await
    }
}

async fn all(read: &mut Transaction<'_, Any>) -> Result<Facts, StoreError> {
    let version = rows(read, "SELECT version FROM policy WHERE id = 1").await?;
    let version = version.first().ok_or_else(|| StoreError::row("policy version", "it is missing"))?;
    let mut facts = Facts { version: number(version, 0, "policy version")?, ..Facts::default() };
    for row in rows(read, "SELECT uscc, name, division FROM organisations").await? {
        facts.organisations.push(Organisation {
            uscc: parsed(&row, 0, "organisation")?,
            name: text(&row, 1)?,
            division: parsed(&row, 2, "organisation")?,
        });
    }
    for row in rows(read, "SELECT id, organisation, name FROM systems").await? {
        facts.systems.push(System {
            id: parsed(&row, 0, "system")?,
            organisation: parsed(&row, 1, "system")?,
            name: text(&row, 2)?,
        });
    }
    let mut versions = schemas(read, &mut facts).await?;
    let resources = "SELECT name, title_zh, code, provider, publishing_system, sharing, basis, key_item, subjects, \
                         row_filters, partitions, topic_id FROM resources";
    for row in rows(read, resources).await? {
        facts.resources.push(resource(&row, &mut versions)?);
    }
    facts.grants = grants(read).await?;
    for row in rows(read, "SELECT serial FROM revoked_certificates").await? {
        facts.revoked_certificates.push(text(&row, 0)?);
    }
    Ok(facts)
}

/// Source versions by resource, oldest first; projected schemas go into the facts.
async fn schemas(
    read: &mut Transaction<'_, Any>,
    facts: &mut Facts,
) -> Result<HashMap<String, Vec<Arc<SchemaVersion>>>, StoreError> {
    let mut versions: HashMap<String, Vec<Arc<SchemaVersion>>> = HashMap::new();
    let all = "SELECT id, resource, version, view, text FROM schemas ORDER BY resource, version, view";
    for row in rows(read, all).await? {
        let id = number(&row, 0, "schema")?;
        let (resource, version, view, schema) =
            (text(&row, 1)?, number(&row, 2, "schema")?, text(&row, 3)?, text(&row, 4)?);
        let of_resource = versions.entry(resource.clone()).or_default();
        if view.is_empty() {
            of_resource.push(Arc::new(SchemaVersion { id, version, text: schema }));
            continue;
        }
        let writer = of_resource
            .iter()
            .find(|known| known.version == version)
            .ok_or_else(|| StoreError::row("projected schema", "its writer's version is missing"))?
            .id;
        facts.projected.push(ProjectedSchema {
            id,
            resource: parse(&resource, "schema")?,
            view: digest(&view)?,
            writer,
            text: schema,
        });
    }
    Ok(versions)
}

fn resource(
    row: &AnyRow,
    versions: &mut HashMap<String, Vec<Arc<SchemaVersion>>>,
) -> Result<Resource, StoreError> {
    const WHAT: &str = "resource";
    let sharing = match text(row, 5)?.as_str() {
        "unconditional" => Sharing::Unconditional,
        "conditional" => Sharing::Conditional,
        "not-shared" => Sharing::NotShared { basis: text(row, 6)? },
        other => return Err(StoreError::row(WHAT, format!("share type `{other}`"))),
    };
    let subjects =
        text(row, 8)?.split_whitespace().map(|item| parse(item, WHAT)).collect::<Result<_, _>>()?;
    let topic_id: Option<String> = row.try_get(11).map_err(StoreError::database(ATTEMPT))?;
    let name = text(row, 0)?;
    Ok(Resource {
        versions: versions.remove(&name).unwrap_or_default(),
        name: parse(&name, WHAT)?,
        title_zh: text(row, 1)?,
        code: text(row, 2)?,
        provider: parsed(row, 3, WHAT)?,
        publishing_system: parsed(row, 4, WHAT)?,
        sharing,
        key: parsed(row, 7, WHAT)?,
        subjects,
        row_filters: number::<i64>(row, 9, WHAT)? != 0,
        partitions: number(row, 10, WHAT)?,
        topic_id: topic_id.map(|id| bytes(&id).map(TopicId)).transpose()?,
    })
}

async fn grants(read: &mut Transaction<'_, Any>) -> Result<Vec<Grant>, StoreError> {
    const WHAT: &str = "grant";
    let mut views = HashMap::new();
    for row in rows(read, "SELECT digest, whole, items, filter, scope, master_version FROM views").await? {
        let view = view(&row)?;
        views.insert(text(&row, 0)?, view);
    }
    let all = "SELECT id, system, resource, view, modes, purpose, basis, starts_at, ends_at, state, \
               records_per_second, bytes_per_second, queries_per_day, codec FROM grants";
    let mut grants = Vec::new();
    for row in rows(read, all).await? {
        let view = text(&row, 3)?;
        let state = match text(&row, 9)?.as_str() {
            "active" => GrantState::Active,
            "suspended" => GrantState::Suspended,
            "revoked" => GrantState::Revoked,
            other => return Err(StoreError::row(WHAT, format!("state `{other}`"))),
        };
        grants.push(Grant {
            id: parsed(&row, 0, WHAT)?,
            system: parsed(&row, 1, WHAT)?,
            resource: parsed(&row, 2, WHAT)?,
            view: views.get(&view).cloned().ok_or_else(|| StoreError::row(WHAT, "its view is missing"))?,
            modes: text(&row, 4)?
                .split_whitespace()
                .map(|mode| parse(mode, WHAT))
                .collect::<Result<_, _>>()?,
            purpose: text(&row, 5)?,
            basis: text(&row, 6)?,
            starts_at: Timestamp::from_micros(number(&row, 7, WHAT)?),
            ends_at: Timestamp::from_micros(number(&row, 8, WHAT)?),
            state,
            limits: Limits {
                records_per_second: limit(&row, 10)?,
                bytes_per_second: limit(&row, 11)?,
                queries_per_day: limit(&row, 12)?,
            },
            codec: parsed(&row, 13, WHAT)?,
        });
    }
    Ok(grants)
}

fn view(row: &AnyRow) -> Result<View, StoreError> {
    const WHAT: &str = "view";
    let view = if number::<i64>(row, 1, WHAT)? != 0 {
        View::whole()
    } else {
        let items = items(&text(row, 2)?).map_err(|detail| StoreError::row(WHAT, detail))?;
        let filter: Option<String> = row.try_get(3).map_err(StoreError::database(ATTEMPT))?;
        let scope = PseudonymScope { scope: text(row, 4)?, master_version: number(row, 5, WHAT)? };
        View::new(items, filter, scope)
    };
    // The digest is the view's name: a row that was altered behind the program's back no longer bears it.
    if view.digest().to_string() == text(row, 0)? {
        return Ok(view);
    }
    Err(StoreError::row(WHAT, "its digest does not fit what it says"))
}

async fn rows(read: &mut Transaction<'_, Any>, query: &'static str) -> Result<Vec<AnyRow>, StoreError> {
    sqlx::query(query).fetch_all(&mut **read).await.map_err(StoreError::database(ATTEMPT))
}

fn text(row: &AnyRow, at: usize) -> Result<String, StoreError> {
    row.try_get(at).map_err(StoreError::database(ATTEMPT))
}

fn number<T: TryFrom<i64>>(row: &AnyRow, at: usize, what: &'static str) -> Result<T, StoreError> {
    let value: i64 = row.try_get(at).map_err(StoreError::database(ATTEMPT))?;
    T::try_from(value).map_err(|_| StoreError::row(what, format!("{value} is out of range")))
}

fn limit(row: &AnyRow, at: usize) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(at).map_err(StoreError::database(ATTEMPT))?;
    value.map(|value| u64::try_from(value).map_err(|error| StoreError::row("limit", error))).transpose()
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    row: &AnyRow,
    at: usize,
    what: &'static str,
) -> Result<T, StoreError> {
    parse(&text(row, at)?, what)
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str, what: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::row(what, error))
}

fn digest(text: &str) -> Result<ViewDigest, StoreError> {
    bytes(text).map(ViewDigest)
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| StoreError::row("hexadecimal id", error))?;
    Ok(bytes)
}
