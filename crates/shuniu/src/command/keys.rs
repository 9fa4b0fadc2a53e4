//! `shuniu keys`: the hub's own secret keys.

use clap::Subcommand;

use super::place::Place;
use super::{Failure, say};
use crate::keys::Keys;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a version of the pseudonym master key, which grants then name as `master_version`. Versions that are
    /// there stay as they are.
    NewMaster {
        /// The version.
        // Its id is its own: every command has the option `--version`.
        #[arg(id = "master_version", value_name = "VERSION")]
        version: u32,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let Command::NewMaster { version, place } = command;
    let made = Keys::open(&place.data()?)?.make_pseudonym_master(version)?;
    say(format_args!("version {version} {}", if made { "made" } else { "is there already" }));
    Ok(())
}
