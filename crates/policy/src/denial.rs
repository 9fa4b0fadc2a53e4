//! Why not: a stable code, a sentence and a next step.

use std::fmt;

use shuniu_model::{GrantId, Mode, ResourceName, SystemId, Timestamp};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal),* $(,)?) => {
        /// A denial's stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it stands in answers, entries and documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The certificate is revoked.
    CertificateRevoked => "certificate-revoked",
    /// The directory has no such system.
    UnknownSystem => "unknown-system",
    /// The directory has no such resource.
    UnknownResource => "unknown-resource",
    /// The system holds no grant on the resource.
    NoGrant => "no-grant",
    /// The grant's term has not begun.
    GrantNotStarted => "grant-not-started",
    /// The grant's term is over.
    GrantExpired => "grant-expired",
    /// The grant is suspended.
    GrantSuspended => "grant-suspended",
    /// The grant is revoked.
    GrantRevoked => "grant-revoked",
    /// The grant is not for this mode.
    ModeNotGranted => "mode-not-granted",
    /// The resource is not shared.
    ResourceNotShared => "resource-not-shared",
    /// The system is not the one that publishes the resource.
    NotThePublishingSystem => "not-the-publishing-system",
    /// The system may not administer.
    NotAnAdministrator => "not-an-administrator",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an action is denied. Shown as its sentence and next step; it never tells of a grant that is not the asker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    code: Code,
    sentence: String,
    next_step: &'static str,
}

impl Denial {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What the asker can do about it.
    #[must_use]
    pub fn next_step(&self) -> &str {
        self.next_step
    }

    /// The directory has no resource of that name, or no topic of that id.
    #[must_use]
    pub fn unknown_resource(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self {
            code: Code::UnknownResource,
            sentence: format!("the directory has no resource `{name}`"),
            next_step: "look the name up in the resource directory",
        }
    }

    pub(crate) fn certificate_revoked(system: &SystemId) -> Self {
        Self {
            code: Code::CertificateRevoked,
            sentence: format!("the certificate shown for system `{system}` is revoked"),
            next_step: "ask the hub's operator for a new certificate",
        }
    }

    pub(crate) fn unknown_system(system: &SystemId) -> Self {
        Self {
            code: Code::UnknownSystem,
            sentence: format!("the directory has no system `{system}`"),
            next_step: "ask the hub's operator to enter the system in the directory",
        }
    }

    pub(crate) fn no_grant(system: &SystemId, resource: &ResourceName) -> Self {
        Self {
            code: Code::NoGrant,
            sentence: format!("system `{system}` holds no grant on resource `{resource}`"),
            next_step: "apply for the resource",
        }
    }

    pub(crate) fn not_started(grant: &GrantId, starts_at: Timestamp) -> Self {
        Self {
            code: Code::GrantNotStarted,
            sentence: format!("grant `{grant}` is in force only from {starts_at}"),
            next_step: "wait until the term begins",
        }
    }

    pub(crate) fn expired(grant: &GrantId, ends_at: Timestamp) -> Self {
        Self {
            code: Code::GrantExpired,
            sentence: format!("grant `{grant}` ended at {ends_at}"),
            next_step: "apply for a renewal",
        }
    }

    pub(crate) fn suspended(grant: &GrantId) -> Self {
        Self {
            code: Code::GrantSuspended,
            sentence: format!("grant `{grant}` is suspended"),
            next_step: "ask the provider why, and when it goes on",
        }
    }

    pub(crate) fn revoked(grant: &GrantId) -> Self {
        Self {
            code: Code::GrantRevoked,
            sentence: format!("grant `{grant}` is revoked"),
            next_step: "apply again if the purpose still stands",
        }
    }

    pub(crate) fn mode(grant: &GrantId, mode: Mode) -> Self {
        Self {
            code: Code::ModeNotGranted,
            sentence: format!("grant `{grant}` is not for mode `{}`", mode.as_str()),
            next_step: "use a mode that the grant names, or apply for this one",
        }
    }

    pub(crate) fn not_shared(resource: &ResourceName) -> Self {
        Self {
            code: Code::ResourceNotShared,
            sentence: format!("resource `{resource}` is not shared"),
            next_step: "read its legal basis in the resource directory",
        }
    }

    pub(crate) fn not_publishing(system: &SystemId, resource: &ResourceName) -> Self {
        Self {
            code: Code::NotThePublishingSystem,
            sentence: format!("system `{system}` is not the publishing system of resource `{resource}`"),
            next_step: "publish from the system that the directory names",
        }
    }

    pub(crate) fn not_administrator(system: &SystemId) -> Self {
        Self {
            code: Code::NotAnAdministrator,
            sentence: format!("system `{system}` may not administer the hub"),
            next_step: "ask one of the hub's administrators",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.sentence, self.code, self.next_step)
    }
}

impl std::error::Error for Denial {}
