//! `shuniu ca`: the certificate authority of a hub and its systems.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use shuniu_model::{SystemId, Timestamp};

use super::place::Place;
use super::{Failure, block_on, note, say};
use crate::ca::{self, Authority, Certificate, Issued, KnownError, Revocation};
use crate::causes::causes;
use crate::clock;
use crate::config::ConfigError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an authority: ca.pem, which everybody trusts, and ca.key, which never leaves the folder.
    Init {
        #[command(flatten)]
        place: Place,
        /// The authority's name.
        #[arg(long, default_value = "Shuniu authority")]
        name: String,
    },
    /// Issue the certificate of a system: systems/ID.pem and systems/ID.key.
    IssueSystem {
        /// The system's id, as the directory has it.
        id: SystemId,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        life: Life,
    },
    /// Issue the hub's certificate: hub.pem and hub.key.
    IssueHub {
        /// A name that clients use for the hub; may be given again.
        #[arg(long = "name")]
        names: Vec<String>,
        /// An address that clients use for the hub; may be given again.
        #[arg(long = "ip")]
        addresses: Vec<IpAddr>,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        life: Life,
    },
    /// Revoke a certificate. A hub that runs resets the connections that stand on it within a second.
    Revoke {
        /// The certificate's file, or its serial number in hex.
        certificate: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        place: Place,
    },
    /// Show a certificate, or all that the authority has issued, and which of them are revoked, since when and why.
    Show {
        /// The certificate's file; without it, all of the authority's, and what is revoked beside them.
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

/// The authority is in the data folder's `ca`.
fn authority(place: &Place) -> Result<PathBuf, ConfigError> {
    Ok(place.data()?.join("ca"))
}

#[derive(Debug, Args)]
pub(super) struct Life {
    /// Days for which the certificate is good.
    #[arg(long, default_value_t = 365)]
    days: u32,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let now = clock::system()();
    match command {
        Command::Init { place, name } => {
            let made = Authority::create(&authority(&place)?, &name, now)?;
            say(format_args!("made {}", made.certificate().display()));
        }
        Command::IssueSystem { id, place, life } => {
            show_issued(&Authority::open(&authority(&place)?)?.issue_system(&id, now, life.days)?);
        }
        Command::IssueHub { names, addresses, place, life } => {
            show_issued(
                &Authority::open(&authority(&place)?)?.issue_hub(&names, &addresses, now, life.days)?,
            );
        }
        Command::Revoke { certificate, reason, place } => {
            let ca::Revoked { serial, earlier } =
                block_on(ca::revoke(&place.config()?, &certificate, &reason))??;
            if earlier {
                say(format_args!("{serial} is revoked already; nothing was changed"));
            } else {
                say(format_args!("revoked {serial}"));
            }
        }
        Command::Show { file: Some(file), place } => show(&Certificate::read(&file)?, &place, now)?,
        Command::Show { file: None, place } => show_all(&place, now)?,
    }
    Ok(())
}

fn show(certificate: &Certificate, place: &Place, now: Timestamp) -> Result<(), Failure> {
    say(format_args!("name    {}", certificate.name));
    say(format_args!("serial  {}", certificate.serial));
    say(format_args!("good    {} to {}", certificate.starts_at, certificate.ends_at));
    match block_on(ca::revocations(&place.config()?, Some(&certificate.serial)))? {
        Ok(revoked) => {
            say(format_args!("state   {}", state(certificate, revoked.get(&certificate.serial), now)))
        }
        // What is in the file is told anywhere, the rest where the hub is.
        Err(error) => note(format_args!("state   {}", causes(&error))),
    }
    Ok(())
}

fn show_all(place: &Place, now: Timestamp) -> Result<(), Failure> {
    let config = place.config()?;
    let issued = ca::issued(&authority(place)?)?;
    let mut revoked = match block_on(ca::revocations(&config, None))? {
        Err(KnownError::NoDirectory { .. }) => BTreeMap::new(),
        revoked => revoked?,
    };
    for (path, certificate) in &issued {
        let revocation = revoked.remove(&certificate.serial);
        let state = state(certificate, revocation.as_ref(), now);
        say(format_args!("{}  {}  {}  {state}", certificate.serial, certificate.name, path.display()));
    }
    for (serial, revocation) in &revoked {
        say(format_args!("{serial}  (no file here)  {}", revoked_since(revocation)));
    }
    Ok(())
}

fn state(certificate: &Certificate, revocation: Option<&Revocation>, now: Timestamp) -> String {
    match revocation {
        Some(revocation) => revoked_since(revocation),
        None if now > certificate.ends_at => format!("ended at {}", certificate.ends_at),
        None if now < certificate.starts_at => format!("not good before {}", certificate.starts_at),
        None => format!("good until {}", certificate.ends_at),
    }
}

fn revoked_since(revocation: &Revocation) -> String {
    match revocation {
        Some((at, reason)) => format!("revoked at {at}: {}", shuniu_model::shown(reason)),
        None => "revoked (when is not in the log yet: a hub that runs writes it there)".to_owned(),
    }
}

fn show_issued(issued: &Issued) {
    say(format_args!("certificate  {}", issued.certificate.display()));
    say(format_args!("key          {}", issued.key.display()));
    say(format_args!("serial       {}", issued.serial));
}
