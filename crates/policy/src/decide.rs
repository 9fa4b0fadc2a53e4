//! The decision.

use std::sync::Arc;

use shuniu_model::{Grant, GrantState, Mode, Resource, ResourceName, Sharing, System, SystemId, Timestamp};

use crate::{Denial, Permit, PublishPermit, ReadPermit, Snapshot};

/// Who asks: a system, with the certificate that it showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The system.
    pub system: SystemId,
    /// The certificate's serial number, lower-case hex without leading zeros.
    pub certificate: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// To read a resource.
    Read {
        /// The resource.
        resource: &'a ResourceName,
        /// How.
        mode: Mode,
    },
    /// To publish a resource.
    Publish {
        /// The resource.
        resource: &'a ResourceName,
    },
    /// To administer the hub. No system may.
    Administer,
}

/// Whether a principal may do something now, by the facts of a snapshot.
///
/// # Errors
/// The [`Denial`] says why not, and what to do.
pub fn decide(
    snapshot: &Snapshot,
    principal: &Principal,
    action: Action<'_>,
    now: Timestamp,
) -> Result<Permit, Denial> {
    if snapshot.is_revoked(&principal.certificate) {
        return Err(Denial::certificate_revoked(&principal.system));
    }
    let system =
        snapshot.system(&principal.system).ok_or_else(|| Denial::unknown_system(&principal.system))?;
    match action {
        Action::Read { resource, mode } => {
            let resource = known(snapshot, resource)?;
            let grant = grant(snapshot, system, resource, mode, now)?;
            Ok(Permit::Read(ReadPermit {
                principal: principal.clone(),
                organisation: system.organisation,
                resource: Arc::clone(resource),
                grant: Arc::clone(grant),
                mode,
            }))
        }
        Action::Publish { resource } => {
            let resource = known(snapshot, resource)?;
            if !publishes(system, resource) {
                return Err(Denial::not_publishing(&system.id, &resource.name));
            }
            Ok(Permit::Publish(PublishPermit {
                principal: principal.clone(),
                organisation: system.organisation,
                resource: Arc::clone(resource),
            }))
        }
        Action::Administer => Err(Denial::not_administrator(&system.id)),
    }
}

/// A system that has moved to another organisation publishes for the provider no longer.
fn publishes(system: &System, resource: &Resource) -> bool {
    resource.publishing_system == system.id && resource.provider == system.organisation
}

fn known<'a>(snapshot: &'a Snapshot, name: &ResourceName) -> Result<&'a Arc<Resource>, Denial> {
    snapshot.resource(name).ok_or_else(|| Denial::unknown_resource(name.as_str()))
}

/// The grant that allows this reading now.
fn grant<'a>(
    snapshot: &'a Snapshot,
    system: &System,
    resource: &Resource,
    mode: Mode,
    now: Timestamp,
) -> Result<&'a Arc<Grant>, Denial> {
    // The publishing system reads its own topic back to rebuild what it last sent, whatever grant it held besides: a
    // revoked one must not keep it from sending again.
    if mode == Mode::Subscribe && publishes(system, resource) {
        return snapshot.recovery(&resource.name).ok_or_else(|| Denial::no_grant(&system.id, &resource.name));
    }
    let grant = snapshot
        .grant(&system.id, &resource.name)
        .ok_or_else(|| Denial::no_grant(&system.id, &resource.name))?;
    match grant.state {
        GrantState::Revoked => return Err(Denial::revoked(&grant.id)),
        GrantState::Suspended => return Err(Denial::suspended(&grant.id)),
        GrantState::Active => {}
    }
    if now < grant.starts_at {
        return Err(Denial::not_started(&grant.id, grant.starts_at));
    }
    if now >= grant.ends_at {
        return Err(Denial::expired(&grant.id, grant.ends_at));
    }
    if matches!(resource.sharing, Sharing::NotShared { .. }) {
        return Err(Denial::not_shared(&resource.name));
    }
    if !grant.modes.contains(&mode) {
        return Err(Denial::mode(&grant.id, mode));
    }
    Ok(grant)
}
