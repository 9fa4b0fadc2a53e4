//! What a caller knows of an event: an entry before it has its place in the log.

use serde::{Deserialize, Serialize};
use shuniu_model::{Grant, GrantId, ItemName, Mode, ResourceName, Timestamp, TopicId, ViewDigest};

use crate::encoding::{bounded, hex_option};
use crate::{Action, Actor, OffsetRange, Subjects};

/// Free text is cut here: what a caller sends must not decide how long an entry is.
const TEXT_BYTES_MAX: usize = 1_000;
const SHORT_BYTES_MAX: usize = 300;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done, or is about to be.
    Done,
    /// It was refused; the reason says why.
    Refused,
}

/// Why: a stable code and a sentence without payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Kebab-case, the same code that the caller was told.
    pub code: String,
    /// One sentence; names items and rules, never values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Which of the entries that one event was split over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Counts from 1.
    pub number: u32,
    /// How many.
    pub of: u32,
}

/// Offsets whose records compaction removed before an entry covered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetSpan {
    /// The partition.
    pub partition: i32,
    /// Inclusive.
    pub first: i64,
    /// Inclusive.
    pub last: i64,
}

/// What the writer of an entry knows of an event. Fields stand in the entry in this order; one without content is left
/// out. Never a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Draft {
    /// What happened.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// The network address that the request came from, with port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceName>,
    /// The id of the resource's topic, hex. Offsets mean nothing without it: a topic made anew starts at 0.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub topic: Option<[u8; 16]>,
    /// The grant that it was done under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The digest of the grant's view, hex.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub view: Option<[u8; 32]>,
    /// How the grant was used: a mode of sharing, or for a `granted` entry each mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<String>,
    /// What the entry is about when that is no resource or grant (an organisation, a certificate, an application, a
    /// group, a setting), as `kind id`; for a refusal what was asked for, as the caller wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The ids of the schemas that the records are written with: the writer's for `published`, the projected ones for
    /// deliveries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<u32>,
    /// The items that left or may leave; none listed in a delivery under the whole view, which is every item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemName>,
    /// Which records, by partition and offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<OffsetRange>,
    /// For `recovered`: offsets that hold no record any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compacted: Vec<OffsetSpan>,
    /// How many records the entry's ranges hold; for a refusal, how many equal ones it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes of records, as they were received or as they are sent. Of several parts the first has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of those bytes, hex. Of several parts the first has it.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<[u8; 32]>,
    /// What for, as the grant says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The legal basis, as the grant or application says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// For a grant the end of its term, exclusive, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<i64>,
    /// Why it was refused, or what was done in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When the first of several counted events was, in microseconds since 1970, where that is before the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Who the records and their `before` are about: only in `published`, `queried`, `verified` and `recovered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Subjects>,
    /// Which part, when the event did not fit one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// Records that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Of which resource.
    pub resource: ResourceName,
    /// The topic that they are on.
    pub topic: TopicId,
    /// The writer's schema ids.
    pub schemas: Vec<u32>,
    /// Where they are.
    pub ranges: Vec<OffsetRange>,
    /// Who they and their `before` are about.
    pub subjects: Subjects,
    /// Bytes of the batches as received.
    pub bytes: u64,
    /// SHA-256 of those bytes.
    pub sha256: [u8; 32],
}

/// Records that are about to leave under a grant.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Of which resource.
    pub resource: ResourceName,
    /// The topic that they are from.
    pub topic: TopicId,
    /// Under which grant.
    pub grant: GrantId,
    /// The digest of its view.
    pub view: ViewDigest,
    /// How the grant is used.
    pub mode: Mode,
    /// The projected schema ids.
    pub schemas: Vec<u32>,
    /// The view's items; empty for the whole view.
    pub items: Vec<ItemName>,
    /// The records that leave.
    pub ranges: Vec<OffsetRange>,
    /// Bytes of the batches as sent.
    pub bytes: u64,
    /// SHA-256 of those bytes.
    pub sha256: [u8; 32],
    /// What for, as the grant says.
    pub purpose: String,
}

/// A group's committed progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledgement {
    /// On which resource.
    pub resource: ResourceName,
    /// On which topic.
    pub topic: TopicId,
    /// Under which grant.
    pub grant: GrantId,
    /// The group, as the client names it.
    pub group: String,
    /// From the last acknowledged offset to before the committed one.
    pub ranges: Vec<OffsetRange>,
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, in the caller's words: `fetch population`, `api 71 version 0`.
    pub asked: String,
    /// The stable code that the caller was told.
    pub code: String,
    /// One sentence without payload.
    pub detail: String,
    /// The resource, when the directory knows it.
    pub resource: Option<ResourceName>,
    /// The grant, when there is one that does not suffice.
    pub grant: Option<GrantId>,
}

/// An application for a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// For which resource.
    pub resource: ResourceName,
    /// For which items.
    pub items: Vec<ItemName>,
    /// What for.
    pub purpose: String,
    /// On which legal basis.
    pub basis: String,
}

impl Draft {
    /// Records came in.
    #[must_use]
    pub fn published(actor: Actor, publication: Publication) -> Self {
        Self {
            resource: Some(publication.resource),
            topic: Some(publication.topic.0),
            schemas: publication.schemas,
            count: Some(records(&publication.ranges)),
            ranges: publication.ranges,
            subjects: (!publication.subjects.is_empty()).then_some(publication.subjects),
            bytes: Some(publication.bytes),
            sha256: Some(publication.sha256),
            ..Self::blank(Action::Published, actor)
        }
    }

    /// Records are about to leave.
    #[must_use]
    pub fn delivered(actor: Actor, delivery: Delivery) -> Self {
        Self::delivery(Action::Delivered, actor, delivery)
    }

    /// One record is about to leave, found by its key.
    #[must_use]
    pub fn queried(actor: Actor, delivery: Delivery, subjects: Option<Subjects>) -> Self {
        Self { subjects, ..Self::delivery(Action::Queried, actor, delivery) }
    }

    /// Claims about one record are about to be answered.
    #[must_use]
    pub fn verified(actor: Actor, delivery: Delivery, subjects: Option<Subjects>) -> Self {
        Self { subjects, ..Self::delivery(Action::Verified, actor, delivery) }
    }

    /// A group committed its progress.
    #[must_use]
    pub fn acknowledged(actor: Actor, acknowledgement: Acknowledgement) -> Self {
        Self {
            resource: Some(acknowledgement.resource),
            topic: Some(acknowledgement.topic.0),
            grant: Some(acknowledgement.grant),
            target: Some(bounded(format!("group {}", acknowledgement.group), SHORT_BYTES_MAX)),
            count: Some(records(&acknowledgement.ranges)),
            ranges: acknowledgement.ranges,
            ..Self::blank(Action::Acknowledged, actor)
        }
    }

    /// A request was refused.
    #[must_use]
    pub fn refused(actor: Actor, refusal: Refusal) -> Self {
        Self {
            outcome: Outcome::Refused,
            resource: refusal.resource,
            grant: refusal.grant,
            target: Some(bounded(refusal.asked, SHORT_BYTES_MAX)),
            count: Some(1),
            reason: Some(reason(refusal.code, refusal.detail)),
            ..Self::blank(Action::Refused, actor)
        }
    }

    /// An application was made.
    #[must_use]
    pub fn applied(actor: Actor, application: Application) -> Self {
        Self {
            resource: Some(application.resource),
            items: application.items,
            target: Some(bounded(format!("application {}", application.id), SHORT_BYTES_MAX)),
            purpose: Some(bounded(application.purpose, TEXT_BYTES_MAX)),
            basis: Some(bounded(application.basis, TEXT_BYTES_MAX)),
            ..Self::blank(Action::Applied, actor)
        }
    }

    /// An application was answered: done for yes, refused for no.
    #[must_use]
    pub fn answered(
        actor: Actor,
        application: &str,
        resource: ResourceName,
        yes: bool,
        detail: &str,
    ) -> Self {
        Self {
            outcome: if yes { Outcome::Done } else { Outcome::Refused },
            resource: Some(resource),
            target: Some(bounded(format!("application {application}"), SHORT_BYTES_MAX)),
            reason: Some(reason("answered", detail)),
            ..Self::blank(Action::Answered, actor)
        }
    }

    /// A grant was written.
    #[must_use]
    pub fn granted(actor: Actor, grant: &Grant) -> Self {
        Self {
            resource: Some(grant.resource.clone()),
            grant: Some(grant.id.clone()),
            view: Some(grant.view.digest().0),
            modes: grant.modes.iter().map(|mode| mode.as_str().to_owned()).collect(),
            target: Some(format!("system {}", grant.system)),
            items: grant.view.items().iter().map(|item| item.name.clone()).collect(),
            purpose: Some(bounded(grant.purpose.as_str(), TEXT_BYTES_MAX)),
            basis: Some(bounded(grant.basis.as_str(), TEXT_BYTES_MAX)),
            ends_at: Some(grant.ends_at.as_micros()),
            ..Self::blank(Action::Granted, actor)
        }
    }

    /// A fact of the directory was changed. `target` is `kind id` (`organisation 91320105780688132K`), `detail` says
    /// what became of it.
    #[must_use]
    pub fn changed(actor: Actor, target: &str, detail: &str) -> Self {
        Self::note(Action::Changed, actor, target, "changed", detail)
    }

    /// A grant was revoked.
    #[must_use]
    pub fn revoked_grant(actor: Actor, grant: GrantId, resource: ResourceName, detail: &str) -> Self {
        Self {
            resource: Some(resource),
            grant: Some(grant),
            reason: Some(reason("grant-revoked", detail)),
            ..Self::blank(Action::Revoked, actor)
        }
    }

    /// A certificate was revoked, by serial number (lower-case hex).
    #[must_use]
    pub fn revoked_certificate(actor: Actor, serial: &str, detail: &str) -> Self {
        Self::note(Action::Revoked, actor, &format!("certificate {serial}"), "certificate-revoked", detail)
    }

    /// An officer signed in.
    #[must_use]
    pub fn signed_in(actor: Actor, detail: &str) -> Self {
        Self { reason: Some(reason("signed-in", detail)), ..Self::blank(Action::SignedIn, actor) }
    }

    /// The hub itself was administered.
    #[must_use]
    pub fn administered(actor: Actor, target: &str, detail: &str) -> Self {
        Self::note(Action::Administered, actor, target, "administered", detail)
    }

    /// The log is about to be read. `command` is `search` or `export`, `query` its conditions in words.
    #[must_use]
    pub fn audit_read(actor: Actor, command: &str, query: &str) -> Self {
        Self::note(Action::AuditRead, actor, &format!("audit {command}"), "audit-read", query)
    }

    /// Records were found that no entry covers. `compacted` are offsets in between that hold none any more.
    #[must_use]
    pub fn recovered(publication: Publication, compacted: Vec<OffsetSpan>) -> Self {
        Self { action: Action::Recovered, compacted, ..Self::published(Actor::hub(), publication) }
    }

    /// With the network address that the request came from.
    #[must_use]
    pub fn from_source(mut self, source: std::net::SocketAddr) -> Self {
        self.source = Some(source.to_string());
        self
    }

    /// With the time of the first event that it counts.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since.as_micros());
        self
    }

    fn delivery(action: Action, actor: Actor, delivery: Delivery) -> Self {
        Self {
            resource: Some(delivery.resource),
            topic: Some(delivery.topic.0),
            grant: Some(delivery.grant),
            view: Some(delivery.view.0),
            modes: vec![delivery.mode.as_str().to_owned()],
            schemas: delivery.schemas,
            items: delivery.items,
            count: Some(records(&delivery.ranges)),
            ranges: delivery.ranges,
            bytes: Some(delivery.bytes),
            sha256: Some(delivery.sha256),
            purpose: Some(bounded(delivery.purpose, TEXT_BYTES_MAX)),
            ..Self::blank(action, actor)
        }
    }

    fn note(action: Action, actor: Actor, target: &str, code: &str, detail: &str) -> Self {
        Self {
            target: Some(bounded(target, SHORT_BYTES_MAX)),
            reason: Some(reason(code, detail)),
            ..Self::blank(action, actor)
        }
    }

    fn blank(action: Action, actor: Actor) -> Self {
        Self {
            action,
            outcome: Outcome::Done,
            actor,
            source: None,
            resource: None,
            topic: None,
            grant: None,
            view: None,
            modes: Vec::new(),
            target: None,
            schemas: Vec::new(),
            items: Vec::new(),
            ranges: Vec::new(),
            compacted: Vec::new(),
            count: None,
            bytes: None,
            sha256: None,
            purpose: None,
            basis: None,
            ends_at: None,
            reason: None,
            since: None,
            subjects: None,
            part: None,
        }
    }
}

fn reason(code: impl Into<String>, detail: impl Into<String>) -> Reason {
    Reason { code: bounded(code, SHORT_BYTES_MAX), detail: bounded(detail, TEXT_BYTES_MAX) }
}

pub(crate) fn records(ranges: &[OffsetRange]) -> u64 {
    ranges.iter().map(OffsetRange::records).fold(0, u64::saturating_add)
}
