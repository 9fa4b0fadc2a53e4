//! The immutable set of facts in force, indexed for the decision.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shuniu_model::identifier::Uscc;
use shuniu_model::{
    Codec, Grant, GrantId, GrantState, Limits, Mode, Organisation, Resource, ResourceName, System, SystemId,
    Timestamp, TopicId, View, ViewDigest,
};

/// A schema of projected records, registered when a version or a grant was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectedSchema {
    /// The schema id that projected records carry.
    pub id: u32,
    /// The resource.
    pub resource: ResourceName,
    /// The view.
    pub view: ViewDigest,
    /// The id of the writer's schema version that is projected.
    pub writer: u32,
    /// The Avro schema as JSON text.
    pub text: String,
}

/// What the directory holds, as it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The policy version that these facts are of.
    pub version: u64,
    /// Every organisation.
    pub organisations: Vec<Organisation>,
    /// Every system.
    pub systems: Vec<System>,
    /// Every resource.
    pub resources: Vec<Resource>,
    /// Every grant, in whatever state.
    pub grants: Vec<Grant>,
    /// Serial numbers of revoked certificates, lower-case hex without leading zeros.
    pub revoked_certificates: Vec<String>,
    /// Every projected schema.
    pub projected: Vec<ProjectedSchema>,
}

impl Facts {
    /// Whether these are the same facts but for what the hub itself notes when it makes a topic: the topic's id, and the
    /// version that grows with it. The order in which they were loaded does not count.
    #[must_use]
    pub fn same_but_for_topics(&self, other: &Self) -> bool {
        self.clone().without_topics() == other.clone().without_topics()
    }

    fn without_topics(mut self) -> Self {
        self.version = 0;
        self.organisations.sort_by_key(|it| it.uscc);
        self.systems.sort_by(|one, other| one.id.cmp(&other.id));
        for resource in &mut self.resources {
            resource.topic_id = None;
        }
        self.resources.sort_by(|one, other| one.name.cmp(&other.name));
        self.grants.sort_by(|one, other| one.id.cmp(&other.id));
        self.revoked_certificates.sort();
        self.projected.sort_by_key(|it| it.id);
        self
    }
}

/// Facts that contradict each other. The hub does not run on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFacts {
    /// Something names an organisation that is not there.
    #[error("{subject} names organisation {organisation}, which the directory does not have")]
    Organisation {
        /// What names it.
        subject: String,
        /// What it names.
        organisation: Uscc,
    },
    /// Something names a system that is not there.
    #[error("{subject} names system `{system}`, which the directory does not have")]
    System {
        /// What names it.
        subject: String,
        /// What it names.
        system: SystemId,
    },
    /// A grant names a resource that is not there.
    #[error("grant `{grant}` names resource `{resource}`, which the directory does not have")]
    Resource {
        /// The grant.
        grant: GrantId,
        /// What it names.
        resource: ResourceName,
    },
    /// A system holds two active grants on one resource.
    #[error("grants `{one}` and `{two}` are both active for one system on one resource")]
    TwoGrants {
        /// The one.
        one: GrantId,
        /// The other.
        two: GrantId,
    },
}

/// The immutable set of facts in force.
#[derive(Debug)]
pub struct Snapshot {
    version: u64,
    organisations: HashMap<Uscc, Arc<Organisation>>,
    systems: HashMap<SystemId, Arc<System>>,
    resources: HashMap<ResourceName, Arc<Resource>>,
    topics: HashMap<TopicId, Arc<Resource>>,
    grants: HashMap<SystemId, HashMap<ResourceName, Arc<Grant>>>,
    recovery: HashMap<ResourceName, Arc<Grant>>,
    revoked: HashSet<String>,
    projected: HashMap<(u32, ViewDigest), Arc<ProjectedSchema>>,
    schemas: HashMap<u32, ResourceName>,
}

impl Snapshot {
    /// Indexes facts.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn new(facts: Facts) -> Result<Self, InvalidFacts> {
        let mut snapshot = Self {
            version: facts.version,
            organisations: facts.organisations.into_iter().map(|it| (it.uscc, Arc::new(it))).collect(),
            systems: HashMap::new(),
            resources: HashMap::new(),
            topics: HashMap::new(),
            grants: HashMap::new(),
            recovery: HashMap::new(),
            revoked: facts.revoked_certificates.into_iter().collect(),
            projected: HashMap::new(),
            schemas: HashMap::new(),
        };
        for system in facts.systems {
            snapshot.organisation_known(&system.organisation, || format!("system `{}`", system.id))?;
            snapshot.systems.insert(system.id.clone(), Arc::new(system));
        }
        for resource in facts.resources {
            snapshot.add_resource(resource)?;
        }
        for grant in facts.grants {
            snapshot.add_grant(grant)?;
        }
        for schema in facts.projected {
            snapshot.schemas.insert(schema.id, schema.resource.clone());
            snapshot.projected.insert((schema.writer, schema.view), Arc::new(schema));
        }
        Ok(snapshot)
    }

    /// The policy version of the facts.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An organisation.
    #[must_use]
    pub fn organisation(&self, uscc: &Uscc) -> Option<&Arc<Organisation>> {
        self.organisations.get(uscc)
    }

    /// A system.
    #[must_use]
    pub fn system(&self, id: &SystemId) -> Option<&Arc<System>> {
        self.systems.get(id)
    }

    /// A resource by its name.
    #[must_use]
    pub fn resource(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }

    /// A resource by its topic's id.
    #[must_use]
    pub fn resource_by_topic(&self, topic: TopicId) -> Option<&Arc<Resource>> {
        self.topics.get(&topic)
    }

    /// Every resource, in no order.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The grant that a system holds on a resource: the active one, else the one that ended last.
    #[must_use]
    pub fn grant(&self, system: &SystemId, resource: &ResourceName) -> Option<&Arc<Grant>> {
        self.grants.get(system)?.get(resource)
    }

    /// Whether a certificate is revoked.
    #[must_use]
    pub fn is_revoked(&self, certificate: &str) -> bool {
        self.revoked.contains(certificate)
    }

    /// The schema of what a view leaves of a writer's schema.
    #[must_use]
    pub fn projected(&self, writer: u32, view: ViewDigest) -> Option<&Arc<ProjectedSchema>> {
        self.projected.get(&(writer, view))
    }

    /// The resource that a schema id, source or projected, belongs to.
    #[must_use]
    pub fn schema_resource(&self, id: u32) -> Option<&Arc<Resource>> {
        self.resources.get(self.schemas.get(&id)?)
    }

    /// The publishing system's built-in grant on its own resource.
    pub(crate) fn recovery(&self, resource: &ResourceName) -> Option<&Arc<Grant>> {
        self.recovery.get(resource)
    }

    fn organisation_known(
        &self,
        organisation: &Uscc,
        subject: impl Fn() -> String,
    ) -> Result<(), InvalidFacts> {
        if self.organisations.contains_key(organisation) {
            return Ok(());
        }
        Err(InvalidFacts::Organisation { subject: subject(), organisation: *organisation })
    }

    fn system_known(&self, system: &SystemId, subject: impl Fn() -> String) -> Result<(), InvalidFacts> {
        if self.systems.contains_key(system) {
            return Ok(());
        }
        Err(InvalidFacts::System { subject: subject(), system: system.clone() })
    }

    fn add_resource(&mut self, resource: Resource) -> Result<(), InvalidFacts> {
        let subject = || format!("resource `{}`", resource.name);
        self.organisation_known(&resource.provider, subject)?;
        self.system_known(&resource.publishing_system, subject)?;
        for version in &resource.versions {
            self.schemas.insert(version.id, resource.name.clone());
        }
        // A name too long for a grant's id leaves the resource without recovery, never with somebody else's.
        let id = GrantId::parse(&format!("recovery-{}-{}", resource.publishing_system, resource.name));
        if let Ok(id) = id {
            let grant = recovery_grant(id, &resource);
            self.recovery.insert(resource.name.clone(), Arc::new(grant));
        }
        let resource = Arc::new(resource);
        if let Some(topic) = resource.topic_id {
            self.topics.insert(topic, Arc::clone(&resource));
        }
        self.resources.insert(resource.name.clone(), resource);
        Ok(())
    }

    fn add_grant(&mut self, grant: Grant) -> Result<(), InvalidFacts> {
        self.system_known(&grant.system, || format!("grant `{}`", grant.id))?;
        if !self.resources.contains_key(&grant.resource) {
            return Err(InvalidFacts::Resource { grant: grant.id, resource: grant.resource });
        }
        let held = self.grants.entry(grant.system.clone()).or_default();
        match held.get(&grant.resource) {
            Some(other) if other.state != GrantState::Revoked && grant.state != GrantState::Revoked => {
                Err(InvalidFacts::TwoGrants { one: other.id.clone(), two: grant.id })
            }
            // Of two, the one not revoked counts; of two revoked, the later.
            Some(other)
                if grant.state == GrantState::Revoked
                    && (other.state != GrantState::Revoked || other.ends_at >= grant.ends_at) =>
            {
                Ok(())
            }
            _ => {
                held.insert(grant.resource.clone(), Arc::new(grant));
                Ok(())
            }
        }
    }
}

fn recovery_grant(id: GrantId, resource: &Resource) -> Grant {
    Grant {
        id,
        system: resource.publishing_system.clone(),
        resource: resource.name.clone(),
        view: View::whole(),
        modes: vec![Mode::Subscribe],
        purpose: "recovery".to_owned(),
        basis: "the provider's own data".to_owned(),
        starts_at: Timestamp::from_micros(i64::MIN),
        ends_at: Timestamp::from_micros(i64::MAX),
        state: GrantState::Active,
        limits: Limits::default(),
        codec: Codec::default(),
    }
}
