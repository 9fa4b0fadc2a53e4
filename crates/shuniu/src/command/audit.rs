//! `shuniu audit`: verify, search, export and trace the audit log.

mod conditions;
mod export;
pub(super) mod line;
mod search;
mod trace;
mod verify;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the log from its tiles and public key alone; with exit code 0 it is whole and unchanged.
    Verify(verify::Command),
    /// Show entries. That they were looked at becomes an entry itself.
    Search(search::Command),
    /// Write entries as JSON, one a line. That they were looked at becomes an entry itself.
    Export(export::Command),
    /// Show which deliveries carried the record of a person or organisation. That becomes an entry itself.
    Trace(trace::Command),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify(command) => verify::run(&command),
        Command::Search(command) => search::run(command),
        Command::Export(command) => export::run(command),
        Command::Trace(command) => trace::run(&command),
    }
}
