//! The doctor: looks at the hub from a client's side, with the client's own files, and names what is wrong.
//!
//! ```text
//! files -> name -> TCP -> TLS -> Kafka -> advertised brokers -> clock -> each resource: metadata, schema, one fetch
//! ```
//!
//! Architecture invariant: it uses nothing that a department does not have. No data folder, no exception at the doors.

mod address;
mod door;
mod finding;
mod kafka;
mod papers;
mod registry;
mod resource;
mod tls;

use std::path::PathBuf;

use shuniu_model::{Clock, ResourceName};

pub(crate) use address::{Address, RegistryAddress};
pub(crate) use finding::{Finding, Findings};

use finding::Complaint;
use registry::Registry;

/// Whom to ask, and as whom.
pub(crate) struct Client {
    /// The hub's Kafka door.
    pub(crate) hub: Address,
    /// The hub's schema registry.
    pub(crate) registry: RegistryAddress,
    /// The authority that is trusted.
    pub(crate) authority: PathBuf,
    /// The system's certificate.
    pub(crate) certificate: PathBuf,
    /// The system's key.
    pub(crate) key: PathBuf,
    /// What it wants to read.
    pub(crate) resources: Vec<ResourceName>,
}

/// Looks at everything, as far as it gets.
pub(crate) async fn examine(client: &Client, clock: &Clock, findings: &mut Findings<'_>) {
    let papers = papers::check(client, clock(), findings);
    let stream = door::open(&client.hub, papers.as_ref(), clock, findings).await;
    // Without papers both doors can still be knocked at.
    let kafka = match (stream, &papers) {
        (Some(stream), Some(papers)) => kafka::examine(stream, &client.hub, papers, clock, findings).await,
        _ => None,
    };
    let registry = Registry::examine(&client.registry, papers.as_ref(), clock, findings).await;
    if let Some(kafka) = kafka {
        resource::examine(kafka, registry.as_ref(), client, findings).await;
    }
}
