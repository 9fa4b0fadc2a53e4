//! `shuniu audit export`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::super::place::Place;
use super::super::{Failure, block_on, say};
use super::conditions::Conditions;
use crate::audit;
use crate::figure::counted;
use crate::keys::Keys;

#[derive(Debug, Args)]
pub(in crate::command) struct Command {
    /// The file that is written; one that exists stays as it is.
    file: PathBuf,
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let config = command.place.config()?;
    command.conditions.check(&config)?;
    let recorded = block_on(audit::record_reading(&config, "export", &command.conditions.in_words()))??;
    let log = recorded.open(&config)?;
    let search = command.conditions.search(&Keys::open(&config.hub.data_folder)?, &config.hub.time_zone)?;
    let mut out = BufWriter::new(File::create_new(&command.file)?);
    let entries = log.export(&search, &mut out)?;
    out.flush()?;
    say(format_args!("{} in {}", counted(entries, "entry", "entries"), command.file.display()));
    Ok(())
}
