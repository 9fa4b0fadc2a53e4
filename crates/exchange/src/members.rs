//! Members of groups of the newer kind (KIP-848), whose coordinator subscribes and assigns.
//!
//! The coordinator takes every member for the hub's own: it knows no grants. So it is told names alone, all of them
//! granted, and never a pattern, which it would hold against every topic of the cluster: patterns are resolved here,
//! against what their member may read, again with each heartbeat.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use regex_lite::{Regex, RegexBuilder};
use shuniu_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, ResponseError, StrBytes,
    TopicName,
};

use crate::access::{Access, TopicRef};

/// A pattern's own length, and what it may take once compiled.
const PATTERN_BYTES_MAX: usize = 1 << 10;
const COMPILED_BYTES_MAX: usize = 32 << 10;
/// Members that subscribe by pattern over one connection. Clients have one.
const MEMBERS_MAX: usize = 4;

/// A subscription by pattern that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPattern {
    /// Not a regular expression, or one that takes too much.
    #[error("the subscription's pattern is no regular expression that the hub takes: {0}")]
    Syntax(String),
    /// Too long.
    #[error("the subscription's pattern has over {PATTERN_BYTES_MAX} bytes")]
    Long,
    /// As many as allowed.
    #[error("over {MEMBERS_MAX} members subscribe by pattern over one connection")]
    Many,
}

/// What members have subscribed to by pattern, over one connection. A client says it again when it connects anew.
#[derive(Default)]
pub(crate) struct Patterns(Mutex<HashMap<(GroupId, StrBytes), Subscribed>>);

struct Subscribed {
    pattern: Regex,
    /// What the member named beside the pattern.
    names: BTreeSet<TopicName>,
    /// What the coordinator was told last.
    told: BTreeSet<TopicName>,
}

impl Subscribed {
    fn all(&self, access: &Access) -> BTreeSet<TopicName> {
        let readable = access.readable_topics().into_iter();
        let matching = readable.filter(|name| self.pattern.is_match(name.as_str()));
        matching.chain(self.names.iter().cloned()).collect()
    }
}

impl Patterns {
    /// Puts names in the place of a pattern. One that was told earlier is looked at again: the member may read other
    /// topics now.
    pub(crate) fn resolve(
        &self,
        access: &Access,
        request: &mut ConsumerGroupHeartbeatRequest,
    ) -> Result<(), InvalidPattern> {
        let member = (request.group_id.clone(), request.member_id.clone());
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = members.remove(&member);
        let named: Option<BTreeSet<_>> =
            request.subscribed_topic_names.as_ref().map(|names| names.iter().cloned().collect());
        let (pattern, told, names_before) = match (request.subscribed_topic_regex.take(), earlier) {
            (None, None) => return Ok(()),
            (None, Some(earlier)) => (earlier.pattern, Some(earlier.told), earlier.names),
            (Some(pattern), earlier) => {
                let names = earlier.map(|earlier| earlier.names).unwrap_or_default();
                if pattern.is_empty() {
                    // The member has no pattern any more: what it named is what remains.
                    request.subscribed_topic_names.get_or_insert_with(|| names.into_iter().collect());
                    return Ok(());
                }
                (compiled(&pattern)?, None, names)
            }
        };
        if members.len() >= MEMBERS_MAX {
            return Err(InvalidPattern::Many);
        }
        let names_said = named.is_some();
        let mut subscribed =
            Subscribed { pattern, names: named.unwrap_or(names_before), told: BTreeSet::new() };
        subscribed.told = subscribed.all(access);
        if names_said || told.as_ref() != Some(&subscribed.told) {
            request.subscribed_topic_names = Some(subscribed.told.iter().cloned().collect());
        }
        members.insert(member, subscribed);
        Ok(())
    }

    /// The member leaves.
    pub(crate) fn forget(&self, request: &ConsumerGroupHeartbeatRequest) {
        let member = (request.group_id.clone(), request.member_id.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&member);
    }
}

/// Matches whole names, as Kafka does it.
fn compiled(pattern: &str) -> Result<Regex, InvalidPattern> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(InvalidPattern::Long);
    }
    let compile = |pattern: &str| {
        let compiled = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
        compiled.map_err(|error| InvalidPattern::Syntax(error.to_string()))
    };
    // By itself first: it must not end the group that it is put into.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

/// The topics that a member subscribes to and may not read.
pub(crate) fn unreadable_names(access: &Access, request: &ConsumerGroupHeartbeatRequest) -> Vec<TopicRef> {
    let names = request.subscribed_topic_names.iter().flatten();
    names.map(|name| TopicRef::Name(name.clone())).filter(|topic| access.read(topic).is_err()).collect()
}

/// The topics that a member is assigned and may not read any more.
pub(crate) fn unreadable_ids(access: &Access, response: &ConsumerGroupHeartbeatResponse) -> Vec<TopicRef> {
    let assigned = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    assigned.map(|topic| TopicRef::Id(topic.topic_id)).filter(|topic| access.read(topic).is_err()).collect()
}

/// As Kafka refuses a subscription to a topic that its member may not see.
pub(crate) fn not_granted() -> ConsumerGroupHeartbeatResponse {
    failed(
        ResponseError::TopicAuthorizationFailed,
        "no grant in force allows a topic of the subscription, or there is none of this name".to_owned(),
    )
}

pub(crate) fn invalid_pattern(invalid: &InvalidPattern) -> ConsumerGroupHeartbeatResponse {
    failed(ResponseError::InvalidRegularExpression, invalid.to_string())
}

fn failed(error: ResponseError, message: String) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_cannot_leave_its_place() {
        let legal = compiled("legal-.*|division").unwrap();
        assert!(legal.is_match("legal-person") && legal.is_match("division"));
        assert!(!legal.is_match("divisions") && !legal.is_match("x-legal-person"));
        // librdkafka and Java begin theirs with the anchor, or do not.
        assert!(compiled("^popu.*").unwrap().is_match("population"));
        assert!(matches!(compiled("a)|(?:b"), Err(InvalidPattern::Syntax(_))));
        assert!(matches!(compiled("("), Err(InvalidPattern::Syntax(_))));
    }

    #[test]
    fn p10_a_pattern_that_takes_much_is_refused() {
        assert!(matches!(compiled("(((a{1000}){1000}){1000})"), Err(InvalidPattern::Syntax(_))));
        assert!(matches!(compiled(&"(".repeat(1_000)), Err(InvalidPattern::Syntax(_))));
        assert_eq!(compiled(&"a".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err(), InvalidPattern::Long);
    }
}
