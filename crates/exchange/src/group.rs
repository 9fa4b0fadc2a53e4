//! Consumer groups: the group id of one system is never another's, and a committed offset belongs to the view that it
//! was committed under.
//!
//! Upstream, a group is named `<system>.<group>`; a system id has no `.`, so the name splits in one way only. The
//! metadata of a committed offset is `<view digest>:<the client's metadata>`: under another view the offset is
//! answered as "none", because it says nothing about what this view has delivered.

use shuniu_model::{SystemId, ViewDigest};
use shuniu_wire::Request;
use shuniu_wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetFetchResponse, StrBytes,
};

/// Kafka's bound on a group id is the topic's (249); the prefix takes up to 49 of it.
const GROUP_ID_BYTES_MAX: usize = 200;

/// A group id that cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group id has 1 to {GROUP_ID_BYTES_MAX} bytes")]
pub(crate) struct InvalidGroupId;

/// The names of one system's groups, inside and outside.
pub(crate) struct Groups<'a> {
    system: &'a SystemId,
}

impl<'a> Groups<'a> {
    pub(crate) fn of(system: &'a SystemId) -> Self {
        Self { system }
    }

    /// The group's name upstream.
    pub(crate) fn inside(&self, group: &str) -> Result<StrBytes, InvalidGroupId> {
        if group.is_empty() || group.len() > GROUP_ID_BYTES_MAX {
            return Err(InvalidGroupId);
        }
        Ok(StrBytes::from_string(format!("{}.{group}", self.system)))
    }

    /// The group's name as the client knows it. What is not this system's stays as it is, and is never asked for.
    pub(crate) fn outside(&self, group: &str) -> StrBytes {
        let own = group.strip_prefix(self.system.as_str()).and_then(|rest| rest.strip_prefix('.'));
        StrBytes::from_string(own.unwrap_or(group).to_owned())
    }

    /// Prefixes the group id of a membership or offset request.
    pub(crate) fn prefix(&self, request: &mut Request) -> Result<(), InvalidGroupId> {
        let one = |id: &mut GroupId| -> Result<(), InvalidGroupId> {
            id.0 = self.inside(&id.0)?;
            Ok(())
        };
        match request {
            Request::JoinGroup(request) => one(&mut request.group_id),
            Request::SyncGroup(request) => one(&mut request.group_id),
            Request::Heartbeat(request) => one(&mut request.group_id),
            Request::LeaveGroup(request) => one(&mut request.group_id),
            Request::OffsetCommit(request) => one(&mut request.group_id),
            Request::ConsumerGroupHeartbeat(request) => one(&mut request.group_id),
            Request::OffsetFetch(request) => {
                if request.groups.is_empty() {
                    return one(&mut request.group_id);
                }
                request.groups.iter_mut().try_for_each(|group| one(&mut group.group_id))
            }
            Request::FindCoordinator(request) => self.prefix_coordinator(request),
            // No other request names a group.
            _ => Ok(()),
        }
    }

    fn prefix_coordinator(&self, request: &mut FindCoordinatorRequest) -> Result<(), InvalidGroupId> {
        if request.coordinator_keys.is_empty() {
            request.key = self.inside(&request.key)?;
        }
        for key in &mut request.coordinator_keys {
            *key = self.inside(key)?;
        }
        Ok(())
    }

    /// Gives the coordinators back under the names that the client asked for.
    pub(crate) fn strip_coordinators(&self, response: &mut FindCoordinatorResponse) {
        for coordinator in &mut response.coordinators {
            coordinator.key = self.outside(&coordinator.key);
        }
    }

    /// Names a group in a message as the client knows it.
    pub(crate) fn strip_message(&self, group: &GroupId, message: &mut Option<StrBytes>) {
        if let Some(text) = message {
            *text = StrBytes::from_string(text.replace(group.as_str(), &self.outside(group)));
        }
    }

    /// Gives the groups back under the names that the client asked for.
    pub(crate) fn strip_offsets(&self, response: &mut OffsetFetchResponse) {
        for group in &mut response.groups {
            group.group_id = GroupId(self.outside(&group.group_id.0));
        }
    }
}

/// The metadata that is stored with a committed offset.
pub(crate) fn stamp(view: ViewDigest, metadata: Option<&str>) -> StrBytes {
    StrBytes::from_string(format!("{view}:{}", metadata.unwrap_or_default()))
}

/// The client's metadata, if the offset was committed under this view.
pub(crate) fn unstamp(view: ViewDigest, stored: Option<&str>) -> Option<StrBytes> {
    let (digest, metadata) = stored?.split_once(':')?;
    (digest == view.to_string()).then(|| StrBytes::from_string(metadata.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_group_id_in_two_systems_is_two_groups() {
        let (hall, bank) = (SystemId::parse("hall").unwrap(), SystemId::parse("bank").unwrap());
        let (one, two) = (Groups::of(&hall).inside("g").unwrap(), Groups::of(&bank).inside("g").unwrap());
        assert_ne!(one, two);
        assert_eq!(Groups::of(&hall).outside(&one).as_str(), "g");
        // A group id that imitates another system's prefix stays inside the asker's own.
        assert_eq!(Groups::of(&hall).inside("bank.g").unwrap().as_str(), "hall.bank.g");
    }

    #[test]
    fn an_offset_committed_under_another_view_is_none() {
        let (old, new) = (ViewDigest([1; 32]), ViewDigest([2; 32]));
        let stored = stamp(old, Some("note: 7"));
        assert_eq!(unstamp(old, Some(&stored)).unwrap().as_str(), "note: 7");
        assert_eq!(unstamp(new, Some(&stored)), None);
        assert_eq!(unstamp(old, None), None);
        assert_eq!(unstamp(old, Some("")), None);
    }

    #[test]
    fn a_group_id_is_bounded() {
        let hall = SystemId::parse("hall").unwrap();
        assert!(Groups::of(&hall).inside("").is_err());
        assert!(Groups::of(&hall).inside(&"g".repeat(201)).is_err());
    }
}
