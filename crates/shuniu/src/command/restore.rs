//! `shuniu restore`.

use std::path::PathBuf;

use clap::Args;

use super::audit::line;
use super::{Failure, block_on, say};
use crate::backup::Restore;
use crate::clock;
use crate::figure::{counted, figure};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The backup. It is checked first.
    folder: PathBuf,
    /// The data folder: empty, or not there yet.
    #[arg(long, value_name = "FOLDER")]
    into: PathBuf,
    /// A configuration in place of the backup's own, for another database or object store; its `hub.data_folder` is not
    /// looked at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Newer tiles of the audit log, as far as they go: the folder `audit` of the lost data folder, or an auditor's copy.
    /// Without them, entries after the backup are lost. An object store's are taken without being named.
    #[arg(long, value_name = "FOLDER")]
    audit: Option<PathBuf>,
    /// Use the directory in PostgreSQL as it is: the database was not lost.
    #[arg(long)]
    keep_directory: bool,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    super::keep_from_others();
    let restore = Restore {
        folder: &command.folder,
        into: &command.into,
        config: command.config.as_deref(),
        audit: command.audit.as_deref(),
        keep_directory: command.keep_directory,
    };
    let restored = block_on(restore.run(&clock::system()))??;
    super::backup::tell(&restored.manifest);
    match restored.log_size {
        Some(size) if restored.newer => {
            say(format_args!("audit log   goes on behind all {} entries that were kept", figure(size)));
        }
        Some(size) => say(format_args!(
            "audit log   goes on behind {}. Later entries are lost: tell your auditors. Whoever holds a later checkpoint \
             sees by `shuniu audit verify --since` that the log no longer begins with it",
            counted(size, "entry", "entries")
        )),
        None => {
            say("audit log   goes on where the cluster's topic shuniu.audit is, once the hub has started")
        }
    }
    for found in &restored.changes {
        say(format_args!("changed     {}", line::of(found)));
    }
    if !restored.changes.is_empty() {
        say(format_args!(
            "directory   is of the time of the backup, and the {} above may not be in it. Do again what is not, revocations \
             first, before the hub starts",
            counted(restored.changes.len() as u64, "change", "changes")
        ));
    }
    if let Some(place) = &restored.other_place {
        say(format_args!(
            "hub.toml    says hub.data_folder = \"{}\": change it to where the data is now",
            place.display()
        ));
    }
    say(format_args!("restored    {}, with hub.toml in it", command.into.display()));
    Ok(())
}
