//! Permission as a value: whatever reads, publishes or administers takes one.

use std::sync::Arc;

use shuniu_model::identifier::Uscc;
use shuniu_model::{Grant, Mode, Resource, Timestamp};

use crate::decide::{Action, Principal, decide};
use crate::{Denial, Snapshot};

/// What [`decide`] allows.
#[derive(Debug)]
pub enum Permit {
    /// To read.
    Read(ReadPermit),
    /// To publish.
    Publish(PublishPermit),
    /// To administer.
    Administer(AdministerPermit),
}

/// Permission to read one resource in one mode, under one grant.
#[derive(Debug)]
pub struct ReadPermit {
    pub(crate) principal: Principal,
    pub(crate) organisation: Uscc,
    pub(crate) resource: Arc<Resource>,
    pub(crate) grant: Arc<Grant>,
    pub(crate) mode: Mode,
}

impl ReadPermit {
    /// Who reads.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Its organisation.
    #[must_use]
    pub fn organisation(&self) -> &Uscc {
        &self.organisation
    }

    /// What is read.
    #[must_use]
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The grant it stands on.
    #[must_use]
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// The grant's view.
    #[must_use]
    pub fn view(&self) -> &shuniu_model::View {
        &self.grant.view
    }

    /// Looks again: the same grant, with the same view, must still allow the same.
    pub fn still(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), Denial> {
        let action = Action::Read { resource: &self.resource.name, mode: self.mode };
        match decide(snapshot, &self.principal, action, now)? {
            Permit::Read(again)
                if again.grant.id == self.grant.id
                    && again.grant.view.digest() == self.grant.view.digest() =>
            {
                Ok(())
            }
            // Another grant took its place: what was read under the old one does not leave under the new.
            _ => Err(Denial::revoked(&self.grant.id)),
        }
    }
}

/// Permission to publish one resource.
#[derive(Debug)]
pub struct PublishPermit {
    pub(crate) principal: Principal,
    pub(crate) organisation: Uscc,
    pub(crate) resource: Arc<Resource>,
}

impl PublishPermit {
    /// Who publishes.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Its organisation, the provider.
    #[must_use]
    pub fn organisation(&self) -> &Uscc {
        &self.organisation
    }

    /// What is published.
    #[must_use]
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }
}

/// Permission to administer the hub.
#[derive(Debug)]
pub struct AdministerPermit {
    pub(crate) principal: Principal,
}

impl AdministerPermit {
    /// Who administers.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}
