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

/// An export that was not made.
#[derive(Debug)]
struct Unwritten {
    file: PathBuf,
    source: Failure,
}

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot export to `{}`", self.file.display())
    }
}

impl std::error::Error for Unwritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let config = command.place.config()?;
    let (log, search) = command.conditions.open(&config, "export")?;
    let failed = |source: Failure| Unwritten { file: command.file.clone(), source };
    let mut out = BufWriter::new(File::create_new(&command.file).map_err(|error| failed(error.into()))?);
    let written = log.export(&search, &mut out).map_err(Failure::from);
    let written = written.and_then(|entries| {
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(entries)
    });
    let entries = written.map_err(|cause| {
        // A part would be taken for the whole, and stand in the way of the next try.
        drop(std::fs::remove_file(&command.file));
        failed(cause)
    })?;
    say(format_args!("{} in {}", counted(entries, "entry", "entries"), command.file.display()));
    Ok(())
}
