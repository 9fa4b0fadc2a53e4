//! `shuniu audit trace`.

use clap::Args;

use super::super::place::Place;
use super::super::{Failure, block_on, say};
use super::{conditions, line};
use crate::audit;
use crate::figure::counted;
use crate::keys::Keys;

#[derive(Debug, Args)]
pub(in crate::command) struct Command {
    /// Whose record: a citizen number, a social credit code, ..
    subject: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    // Who it is about stays out of the entry: it is personal data.
    let config = command.place.config()?;
    let subject = command.subject.as_str();
    let recorded = block_on(audit::record_reading(&config, "trace", "subject (one)", Some(subject)))??;
    let log = recorded.open(&config)?;
    let digests = conditions::digests(&Keys::open(&config.hub.data_folder)?, subject)?;
    let trace = log.trace(&digests)?;
    say(format_args!(
        "{} the subject, at {} on topics{}",
        counted(trace.named.len() as u64, "entry names", "entries name"),
        counted(trace.places.len() as u64, "place", "places"),
        if trace.named.is_empty() { "" } else { ":" }
    ));
    for found in &trace.named {
        say(format_args!("  {}", line::of(found)));
    }
    say(format_args!(
        "{} carried its records{}",
        counted(trace.deliveries.len() as u64, "delivery", "deliveries"),
        if trace.deliveries.is_empty() { "" } else { ":" }
    ));
    for delivery in &trace.deliveries {
        let acknowledged = if delivery.is_acknowledged() { "acknowledged" } else { "not acknowledged" };
        say(format_args!("  {} ({acknowledged})", line::of(&delivery.found)));
    }
    Ok(())
}
