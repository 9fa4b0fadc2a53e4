//! `shuniu audit search`.

use clap::Args;

use super::super::place::Place;
use super::super::{Failure, note, say};
use super::conditions::Conditions;
use super::line;

#[derive(Debug, Args)]
pub(in crate::command) struct Command {
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    place: Place,
    /// Show the first so many.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    limit: usize,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let config = command.place.config()?;
    let (log, search) = command.conditions.open(&config, "search")?;
    let mut is_empty = true;
    for (shown, found) in log.search(&search).enumerate() {
        is_empty = false;
        if shown == command.limit {
            say(format_args!("only the first {shown} are shown; --limit shows more"));
            break;
        }
        say(line::of(&found?));
    }
    if is_empty {
        note("no entry of the log is like that");
    }
    Ok(())
}
