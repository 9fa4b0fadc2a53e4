//! Who asks.

use std::net::SocketAddr;

use shuniu_model::SystemId;
use shuniu_policy::Principal;

/// Who asks, as its certificate proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The system named in the certificate.
    pub system: SystemId,
    /// The certificate's serial number, lower-case hex without leading zeros.
    pub certificate: String,
    /// Where the connection comes from.
    pub source: SocketAddr,
}

impl Caller {
    pub(crate) fn principal(&self) -> Principal {
        Principal { system: self.system.clone(), certificate: self.certificate.clone() }
    }
}
