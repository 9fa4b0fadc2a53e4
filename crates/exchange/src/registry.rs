//! Schemas as one caller may see them, in the terms of the Confluent Schema Registry.

use std::sync::Arc;
use std::time::Duration;

use shuniu_model::{Resource, ResourceName};
use shuniu_schema::Schema;

use crate::access::{Access, TopicRef, topic_name};
use crate::caller::Caller;
use crate::exchange::Exchange;
use crate::meter;
use crate::policy_watch::Stale;

/// A registered schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// `<resource>-value`.
    pub subject: String,
    /// The id that framed values carry.
    pub id: u32,
    /// The version within the subject.
    pub version: u32,
    /// The Avro schema as JSON text.
    pub text: String,
}

/// Why a caller gets no schemas now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistryRefused {
    /// The policy cannot be confirmed.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// It asks too often.
    #[error("the system asks for schemas more often than it may: ask again in {} s, and keep what you have read", whole_seconds(*.0))]
    Throttled(Duration),
}

impl RegistryRefused {
    /// After how many seconds to ask again, where that is known.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Stale(_) => None,
            Self::Throttled(wait) => Some(whole_seconds(*wait)),
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(1)
}

/// The registry for one caller: a publishing system sees its source schemas, a consumer those of its view.
pub struct Registry {
    access: Access,
}

impl Exchange {
    /// The registry as a caller sees it now.
    ///
    /// # Errors
    /// When the policy cannot be confirmed, or the caller asks too often.
    pub async fn registry(&self, caller: &Caller) -> Result<Registry, RegistryRefused> {
        let hub = self.hub();
        hub.limits.asked(&caller.system, hub.policy.now()).map_err(|wait| {
            meter::throttled("registry");
            RegistryRefused::Throttled(wait)
        })?;
        Ok(Registry { access: self.hub().access(caller).await? })
    }
}

impl Registry {
    /// The subjects that the caller may see, sorted.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<String> = self
            .access
            .snapshot
            .resources()
            .filter(|resource| !self.versions_of(resource).is_empty())
            .map(|resource| format!("{}-value", resource.name))
            .collect();
        subjects.sort();
        subjects
    }

    /// Every version of a subject, oldest first; empty when there is none that the caller may see.
    #[must_use]
    pub fn versions(&self, subject: &str) -> Vec<RegisteredSchema> {
        let name = subject.strip_suffix("-value").and_then(|name| ResourceName::parse(name).ok());
        let resource = name.and_then(|name| self.access.snapshot.resource(&name).cloned());
        resource.map(|resource| self.versions_of(&resource)).unwrap_or_default()
    }

    /// The schema of that id, if the caller may see it.
    #[must_use]
    pub fn schema(&self, id: u32) -> Option<RegisteredSchema> {
        let resource = self.access.snapshot.schema_resource(id)?;
        self.versions_of(resource).into_iter().find(|schema| schema.id == id)
    }

    /// The version of a subject that says the same as `text`.
    #[must_use]
    pub fn lookup(&self, subject: &str, text: &str) -> Option<RegisteredSchema> {
        self.versions(subject).into_iter().rev().find(|known| {
            known.text == text || Schema::parse(&known.text).is_ok_and(|schema| schema.same_as(text))
        })
    }

    fn versions_of(&self, resource: &Arc<Resource>) -> Vec<RegisteredSchema> {
        let topic = TopicRef::Name(topic_name(&resource.name));
        let subject = format!("{}-value", resource.name);
        let source = || {
            resource
                .versions
                .iter()
                .map(|version| RegisteredSchema {
                    subject: subject.clone(),
                    id: version.id,
                    version: version.version,
                    text: version.text.clone(),
                })
                .collect()
        };
        if self.access.publish(&topic).is_ok() {
            return source();
        }
        let Ok((_, permit)) = self.access.read(&topic) else { return Vec::new() };
        if permit.view().is_whole() {
            return source();
        }
        let view = permit.view().digest();
        resource
            .versions
            .iter()
            .filter_map(|version| {
                let projected = self.access.snapshot.projected(version.id, view)?;
                Some(RegisteredSchema {
                    subject: subject.clone(),
                    id: projected.id,
                    version: version.version,
                    text: projected.text.clone(),
                })
            })
            .collect()
    }
}
