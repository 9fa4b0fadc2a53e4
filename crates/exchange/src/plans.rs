//! Compiled once, used for every record: views as readers, schema versions as inspectors.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shuniu_model::{Resource, ResourceName, ViewDigest};
use shuniu_policy::{ReadPermit, Snapshot};
use shuniu_schema::{Checker, Plan, PlanError, PseudonymKey, Schema, SchemaError, UnfitKey};
use shuniu_wire::batch::Scratch;

use crate::check::Inspector;
use crate::keyring::{KeyRing, KeyUnavailable};
use crate::project::{Planned, Reader};
use crate::projections::Projections;

/// Compiled things kept at most; over that the cache starts anew.
const KEPT_MAX: usize = 4_096;
/// Buffers kept for the next projection.
const SCRATCHES_MAX: usize = 8;

/// A view or schema in force that does not compile: it was checked when it was written, so the directory and the
/// program disagree, and nothing is read or published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uncompiled {
    #[error("resource `{0}` has no schema version")]
    NoVersion(ResourceName),
    #[error("version {version} of the schema of `{resource}` cannot be read")]
    Schema {
        resource: ResourceName,
        version: u32,
        #[source]
        source: SchemaError,
    },
    #[error("view {view} of `{resource}` cannot be compiled")]
    Plan {
        resource: ResourceName,
        view: ViewDigest,
        #[source]
        source: PlanError,
    },
    #[error("view {view} has no schema id for version {version} of `{resource}`")]
    NoProjectedId { resource: ResourceName, view: ViewDigest, version: u32 },
    #[error("the key or a subject of `{resource}` does not fit its schema")]
    Key {
        resource: ResourceName,
        #[source]
        source: UnfitKey,
    },
    #[error(transparent)]
    KeyRing(#[from] KeyUnavailable),
}

/// What makes a compiled resource the same: its name, its newest schema id, its key and subjects.
type InspectorKey = (ResourceName, u32, Vec<shuniu_model::ItemName>);

/// The caches.
pub(crate) struct Plans {
    keys: Arc<dyn KeyRing>,
    decompressed_bytes_max: usize,
    readers: Cache<(ResourceName, u32, ViewDigest), Reader>,
    inspectors: Cache<InspectorKey, Inspector>,
    scratches: Arc<Scratches>,
    projections: Arc<Projections>,
    /// Numbers of readers that were not given yet.
    next_reader: AtomicU64,
}

impl Plans {
    pub(crate) fn new(
        keys: Arc<dyn KeyRing>,
        decompressed_bytes_max: usize,
        projections: Arc<Projections>,
    ) -> Self {
        Self {
            projections,
            next_reader: AtomicU64::new(0),
            keys,
            decompressed_bytes_max,
            readers: Cache::default(),
            inspectors: Cache::default(),
            scratches: Arc::new(Scratches::default()),
        }
    }

    /// The reader of a permit's view, for every version of the resource's schema.
    pub(crate) fn reader(&self, snapshot: &Snapshot, permit: &ReadPermit) -> Result<Arc<Reader>, Uncompiled> {
        let resource = permit.resource();
        let latest = resource.versions.last().ok_or_else(|| Uncompiled::NoVersion(resource.name.clone()))?;
        let view = permit.view();
        let key = (resource.name.clone(), latest.id, view.digest());
        self.readers.get_or_make(key, || {
            let schemas = schemas(resource)?;
            let newest = schemas.last().ok_or_else(|| Uncompiled::NoVersion(resource.name.clone()))?;
            // The whole view makes no pseudonyms, so it needs no key.
            let master = if view.is_whole() {
                [0; 32]
            } else {
                self.keys.pseudonym_master(view.pseudonym().master_version)?
            };
            let pseudonym = PseudonymKey::derive(&master, view.pseudonym());
            let mut planned = Vec::with_capacity(schemas.len());
            for (version, schema) in resource.versions.iter().zip(&schemas) {
                let plan =
                    Plan::compile(schema, newest, &resource.key, view, &pseudonym).map_err(|source| {
                        Uncompiled::Plan { resource: resource.name.clone(), view: view.digest(), source }
                    })?;
                let id = if view.is_whole() {
                    version.id
                } else {
                    snapshot
                        .projected(version.id, view.digest())
                        .ok_or_else(|| Uncompiled::NoProjectedId {
                            resource: resource.name.clone(),
                            view: view.digest(),
                            version: version.version,
                        })?
                        .id
                };
                planned.push(Planned { writer: version.id, id, plan });
            }
            // Where records must carry `before` there is nothing to gain from looking whether one does.
            let untouched = view.is_whole() && !resource.before_on_deletions();
            Ok(Reader {
                number: self.next_reader.fetch_add(1, Ordering::Relaxed),
                planned,
                untouched,
                decompressed_bytes_max: self.decompressed_bytes_max,
                scratches: Arc::clone(&self.scratches),
                projections: Arc::clone(&self.projections),
            })
        })
    }

    /// The inspector of a resource's incoming records.
    pub(crate) fn inspector(&self, resource: &Arc<Resource>) -> Result<Arc<Inspector>, Uncompiled> {
        let latest = resource.versions.last().ok_or_else(|| Uncompiled::NoVersion(resource.name.clone()))?;
        let mut items = vec![resource.key.clone()];
        items.extend(resource.subjects.iter().cloned());
        self.inspectors.get_or_make((resource.name.clone(), latest.id, items), || {
            let checkers = resource
                .versions
                .iter()
                .zip(schemas(resource)?)
                .map(|(version, schema)| {
                    let checker = Checker::new(&schema, &resource.key, &resource.subjects)
                        .map_err(|source| Uncompiled::Key { resource: resource.name.clone(), source })?;
                    Ok((version.id, checker))
                })
                .collect::<Result<Vec<_>, Uncompiled>>()?;
            Ok(Inspector::new(resource, checkers, self.decompressed_bytes_max, Arc::clone(&self.scratches)))
        })
    }
}

fn schemas(resource: &Resource) -> Result<Vec<Schema>, Uncompiled> {
    resource
        .versions
        .iter()
        .map(|version| {
            Schema::parse(&version.text).map_err(|source| Uncompiled::Schema {
                resource: resource.name.clone(),
                version: version.version,
                source,
            })
        })
        .collect()
}

/// Made once for each key.
struct Cache<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V> Cache<K, V> {
    fn get_or_make(
        &self,
        key: K,
        make: impl FnOnce() -> Result<V, Uncompiled>,
    ) -> Result<Arc<V>, Uncompiled> {
        if let Some(made) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(made));
        }
        // Made outside of the lock: two callers may make the same, and one is kept.
        let made = Arc::new(make()?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        Ok(Arc::clone(kept.entry(key).or_insert(made)))
    }
}

/// Buffers, used again.
#[derive(Default)]
pub(crate) struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    /// Runs `work` with a buffer.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_default();
        let done = work(&mut scratch);
        scratch.trim();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SCRATCHES_MAX {
            kept.push(scratch);
        }
        done
    }
}
