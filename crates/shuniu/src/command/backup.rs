//! `shuniu backup`.

use std::path::PathBuf;

use clap::Args;

use super::place::Place;
use super::{Failure, block_on, say};
use crate::backup::{self, Manifest, Plan};
use crate::clock;
use crate::config::RecordStore;
use crate::figure::{counted, figure};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The backup: a new folder, which is there when it is whole. It holds secrets and everybody's records.
    folder: PathBuf,
    /// Check this backup instead: each file against the manifest, and the audit log from its tiles.
    #[arg(long, conflicts_with_all = ["without_keys", "config", "data"])]
    check: bool,
    /// For `--check`: the log's public key that you kept; without it the one in the backup is believed.
    #[arg(long, value_name = "FILE", requires = "check")]
    key: Option<PathBuf>,
    /// Leave secret files out: keys, passwords, private keys of certificates. Keep them elsewhere; a hub does not start
    /// without them.
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    super::keep_from_others();
    if command.check {
        let manifest = block_on(backup::check(&command.folder, command.key.clone()))??;
        tell(&manifest);
        say("checked     every file, and every entry of the audit log");
        return Ok(());
    }
    let config = command.place.config()?;
    let plan = Plan {
        config: &config,
        config_file: command.place.config_file(),
        folder: &command.folder,
        without_keys: command.without_keys,
    };
    let manifest = block_on(plan.make(&clock::system()))??;
    tell(&manifest);
    say(format_args!("backup      {}", command.folder.display()));
    Ok(())
}

pub(super) fn tell(manifest: &Manifest) {
    say(format_args!("made at     {}, by shuniu {}", manifest.made_at, manifest.program));
    say(format_args!("files       {}, {} bytes", figure(manifest.files() as u64), figure(manifest.bytes())));
    let entries = counted(manifest.tree_size, "entry", "entries");
    say(format_args!("audit log   {entries} under the checkpoint, root {}", manifest.root));
    match manifest.partitions.len() {
        0 if manifest.records == RecordStore::Kafka => {
            say("records     on the Apache Kafka cluster, not in the backup")
        }
        count => say(format_args!("records     {}", counted(count as u64, "partition", "partitions"))),
    }
    for path in &manifest.left_out {
        say(format_args!("left out    {path}: keep it elsewhere"));
    }
    for path in &manifest.outside {
        say(format_args!("not in it   {path}, outside of the data folder: keep it elsewhere"));
    }
}
