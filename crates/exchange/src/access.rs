//! What one caller may do with a topic at this moment.

use std::fmt;
use std::sync::Arc;

use shuniu_model::{Mode, Resource, ResourceName, Timestamp, TopicId};
use shuniu_policy::{Action, Denial, Permit, Principal, PublishPermit, ReadPermit, Snapshot, decide};
use shuniu_wire::messages::{StrBytes, TopicName};

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicRef {
    /// By name.
    Name(TopicName),
    /// By topic id.
    Id(uuid::Uuid),
}

impl TopicRef {
    /// Requests carry both fields; the one that the version lacks is empty.
    pub(crate) fn of(name: &TopicName, id: uuid::Uuid) -> Self {
        if name.is_empty() { Self::Id(id) } else { Self::Name(name.clone()) }
    }

    /// As [`TopicRef::of`], where the name that the version lacks is null.
    pub(crate) fn of_nullable(name: Option<&TopicName>, id: uuid::Uuid) -> Self {
        name.map_or(Self::Id(id), |name| Self::Name(name.clone()))
    }
}

impl fmt::Display for TopicRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.chars().take(249).collect::<String>()),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// The policy of one moment, for one caller.
pub(crate) struct Access {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) principal: Principal,
    pub(crate) now: Timestamp,
}

impl Access {
    /// The resource that the request names, if the directory has it and its topic exists.
    pub(crate) fn resource(&self, topic: &TopicRef) -> Option<Arc<Resource>> {
        match topic {
            TopicRef::Name(name) => {
                let name = ResourceName::parse(name.as_str()).ok()?;
                self.snapshot.resource(&name).cloned()
            }
            TopicRef::Id(id) => self.snapshot.resource_by_topic(TopicId(*id.as_bytes())).cloned(),
        }
    }

    /// The permit to read a topic through a Kafka client.
    pub(crate) fn read(&self, topic: &TopicRef) -> Result<(Arc<Resource>, ReadPermit), Box<Denial>> {
        let resource = self.resource(topic).ok_or_else(|| Box::new(unknown(topic)))?;
        let action = Action::Read { resource: &resource.name, mode: Mode::Subscribe };
        match decide(&self.snapshot, &self.principal, action, self.now) {
            Ok(Permit::Read(permit)) => Ok((resource, permit)),
            Ok(_) => Err(Box::new(unknown(topic))),
            Err(denial) => Err(Box::new(denial)),
        }
    }

    /// The permit to publish to a topic.
    pub(crate) fn publish(&self, topic: &TopicRef) -> Result<(Arc<Resource>, PublishPermit), Box<Denial>> {
        let resource = self.resource(topic).ok_or_else(|| Box::new(unknown(topic)))?;
        match decide(&self.snapshot, &self.principal, Action::Publish { resource: &resource.name }, self.now)
        {
            Ok(Permit::Publish(permit)) => Ok((resource, permit)),
            Ok(_) => Err(Box::new(unknown(topic))),
            Err(denial) => Err(Box::new(denial)),
        }
    }

    /// The topic's name, if the caller may read or publish it.
    pub(crate) fn visible(&self, topic: &TopicRef) -> Option<TopicName> {
        let resource = self.resource(topic)?;
        let seen = self.read(topic).is_ok() || self.publish(topic).is_ok();
        seen.then(|| topic_name(&resource.name))
    }

    /// Every topic that the caller may read or publish.
    pub(crate) fn visible_topics(&self) -> Vec<TopicName> {
        self.snapshot
            .resources()
            .map(|resource| TopicRef::Name(topic_name(&resource.name)))
            .filter_map(|topic| self.visible(&topic))
            .collect()
    }

    /// Every topic that the caller may read.
    pub(crate) fn readable_topics(&self) -> Vec<TopicName> {
        let names = self.snapshot.resources().map(|resource| topic_name(&resource.name));
        names.filter(|name| self.read(&TopicRef::Name(name.clone())).is_ok()).collect()
    }

    /// Whether the caller publishes anything at all.
    pub(crate) fn publishes(&self) -> bool {
        self.snapshot.resources().any(|resource| resource.publishing_system == self.principal.system)
    }
}

fn unknown(topic: &TopicRef) -> Denial {
    Denial::unknown_resource(&topic.to_string())
}

/// The id of a resource's topic, by the directory: a topic that somebody has made anew under its name is another one.
/// Nil while the topic is not made.
pub(crate) fn topic_id(resource: &Resource) -> uuid::Uuid {
    resource.topic_id.map(|id| uuid::Uuid::from_bytes(id.0)).unwrap_or_default()
}

/// A resource's topic.
pub(crate) fn topic_name(resource: &ResourceName) -> TopicName {
    TopicName(StrBytes::from_string(resource.as_str().to_owned()))
}
