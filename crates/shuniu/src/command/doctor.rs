//! `shuniu doctor`: what is wrong, seen from a client's side.

use std::path::PathBuf;

use clap::Args;
use shuniu_model::ResourceName;

use super::{Failure, block_on, say};
use crate::clock;
use crate::doctor::{self, Address, Client, Finding, Findings, RegistryAddress};

/// Looks at files, name, network, TLS, clock, Kafka, grants and schemas. Exit code 1 when there is trouble.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The hub's Kafka door.
    #[arg(long, value_name = "HOST:PORT")]
    hub: Address,
    /// The schema registry [default: https://HOST:9443/registry].
    #[arg(long, value_name = "URL")]
    registry: Option<RegistryAddress>,
    /// The authority that issued the hub's certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The system's certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A resource that the system should be able to read; may be given again. One batch of it is read, which the hub
    /// records in its audit log.
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<ResourceName>,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let Command { hub, registry, ca, certificate, key, resources } = command;
    let registry = registry.unwrap_or_else(|| RegistryAddress::of_hub(&hub));
    let client = Client { hub, registry, authority: ca, certificate, key, resources };
    let mut tell = |finding: &Finding| say(finding);
    let mut findings = Findings::new(&mut tell);
    block_on(doctor::examine(&client, &clock::system(), &mut findings))?;
    match (findings.troubles(), findings.warnings()) {
        (0, 0) => say("all is well"),
        (0, warnings) => say(format_args!("it works; warnings: {warnings}")),
        (troubles, _) => return Err(format!("trouble was found: {troubles}").into()),
    }
    Ok(())
}
