//! `shuniu audit export`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::super::place::Place;
use super::super::{Failure, say};
use super::conditions::Conditions;
use crate::figure::counted;

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
    let (log, search) = command.conditions.open(&config, "export")?;
    let mut out = BufWriter::new(File::create_new(&command.file)?);
    let entries = log.export(&search, &mut out)?;
    out.flush()?;
    say(format_args!("{} in {}", counted(entries, "entry", "entries"), command.file.display()));
    Ok(())
}
