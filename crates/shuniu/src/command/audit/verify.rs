//! `shuniu audit verify`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::ProgressBar;
use shuniu_archive::{LogReader, TileFolder, VerifiedLog, Which};

use super::super::{Failure, complain, say};
use super::line;
use crate::config::Config;
use crate::figure::{counted, figure};
use crate::{audit, tiles};

#[derive(Debug, Args)]
pub(in crate::command) struct Command {
    /// The folder of tiles.
    #[arg(default_value = "data/audit", conflicts_with = "config")]
    folder: PathBuf,
    /// A configuration that says where the tiles are, for those in an object store; of it `hub.data_folder` and `audit`
    /// are looked at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The public key that you kept; without it the one beside the tiles is believed.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Check one entry's inclusion instead of the whole log: its index or its id.
    #[arg(long, value_name = "ENTRY")]
    entry: Option<String>,
    /// Check that the log still begins as under this earlier checkpoint that you kept.
    #[arg(long, value_name = "CHECKPOINT")]
    since: Option<PathBuf>,
}

/// The tiles hold, but entries are missing or misplaced.
#[derive(Debug, thiserror::Error)]
#[error("{} missing or misplaced", counted(*count as u64, "entry is", "entries are"))]
struct Incomplete {
    count: usize,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let (tiles, place) = match &command.config {
        Some(path) => {
            let config = Config::read(path)?;
            (tiles::open(&config)?, tiles::place(&config))
        }
        None => (Arc::new(TileFolder::open(&command.folder)) as _, command.folder.display().to_string()),
    };
    let log = audit::open(tiles, &place, command.key.as_deref())?;
    if command.key.is_none() {
        say(format_args!("key         {} (the one beside the tiles; --key names your own)", log.key()));
    }
    if let Some(path) = &command.since {
        let earlier = log.verify_growth(&audit::earlier(path)?)?;
        say(format_args!(
            "growth      the log of {} begins with the earlier {}",
            counted(log.checkpoint().size, "entry", "entries"),
            figure(earlier.size)
        ));
    }
    match &command.entry {
        Some(entry) => included(&log, entry),
        None if command.since.is_some() => Ok(()),
        None => whole(&log),
    }
}

fn included(log: &LogReader, entry: &str) -> Result<(), Failure> {
    let which = match entry.parse() {
        Ok(index) => Which::Index(index),
        Err(_) => Which::Id(entry.parse()?),
    };
    let included = log.verify_entry(which)?;
    say(format_args!("entry       {}", line::of(&included.found)));
    say(format_args!("leaf hash   {}", included.hash));
    say(format_args!(
        "inclusion   proved by {} under the checkpoint's root",
        counted(included.proof.len() as u64, "hash", "hashes")
    ));
    say(format_args!("root        {}", log.checkpoint().root));
    Ok(())
}

fn whole(log: &LogReader) -> Result<(), Failure> {
    let bar = ProgressBar::new(log.checkpoint().size);
    let verified = log.verify_log(&mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let VerifiedLog { checkpoint, actions, boots, times, chain_failures } = verified?;
    say(format_args!("log         {}", checkpoint.origin));
    say(format_args!(
        "entries     {}, written by {} of the hub",
        figure(checkpoint.size),
        counted(boots, "run", "runs")
    ));
    if let Some((first, last)) = times {
        say(format_args!("times       {first} to {last}"));
    }
    for (action, count) in &actions {
        say(format_args!("            {:>10} {}", figure(*count), action.as_str()));
    }
    say(format_args!("root        {}", checkpoint.root));
    for failure in &chain_failures {
        complain(failure);
    }
    if chain_failures.is_empty() {
        say("verified    every tile, every entry, every boot's chain");
        Ok(())
    } else {
        Err(Incomplete { count: chain_failures.len() }.into())
    }
}
