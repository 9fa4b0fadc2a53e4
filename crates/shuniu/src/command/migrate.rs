//! `shuniu migrate`: the directory's database brought up to this program, or filled from another.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{FlockOperation, flock};
use shuniu_ledger::Draft;
use shuniu_store::{Database, Store};

use super::place::Place;
use super::{Failure, block_on, say};
use crate::config::Config;
use crate::directory;
use crate::figure::figure;
use crate::operator::Operator;

#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    place: Place,
    /// Copy everything from this SQLite directory into the configuration's database, which must be new. No hub may run
    /// on either.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    super::keep_from_others();
    let config = command.place.config()?;
    block_on(migrate(&config, command.from.as_deref()))?
}

/// Holds what a hub holds that keeps its records beside this directory.
fn no_hub_beside(directory: &Path) -> Result<Option<File>, Failure> {
    let lock = directory.parent().unwrap_or(Path::new(".")).join("records/engine.lock");
    if !lock.exists() {
        return Ok(None);
    }
    let file = File::open(&lock).map_err(|error| format!("cannot open `{}`: {error}", lock.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(format!("a hub runs on `{}`: stop it first", directory.display()).into()),
    }
}

async fn migrate(config: &Config, from: Option<&Path>) -> Result<(), Failure> {
    let operator = Operator::of(&config.hub.data_folder)?;
    let database = directory::database(config)?;
    let done = Store::migrate(database.clone()).await?;
    if done.from == done.to {
        say(format_args!("the tables have version {} already", done.to));
    } else {
        say(format_args!("the tables were brought from version {} to {}", done.from, done.to));
    }
    let Some(from) = from else { return Ok(()) };
    if !from.exists() {
        return Err(format!("there is no `{}`", from.display()).into());
    }
    let _lock = no_hub_beside(from)?;
    let source = Store::open(Database::file(from)).await?;
    let target = Store::open(database).await?;
    let detail = format!("copied from {} as {}", from.display(), operator.login());
    let draft = Draft::administered(operator.actor(), "directory", &detail);
    let copied = target.copy_from(&source, &serde_json::to_string(&draft)?).await;
    source.close().await;
    target.close().await;
    let copied = copied?;
    for (table, rows) in &copied.rows {
        say(format_args!("  {:>10} {table}", figure(*rows as u64)));
    }
    let aside = from.with_extension("db.moved");
    std::fs::rename(from, &aside)
        .map_err(|error| format!("the directory is copied, but `{}` stays: {error}", from.display()))?;
    say(format_args!(
        "moved and compared; the policy is at version {}. What was there is now {}",
        copied.policy_version,
        aside.display()
    ));
    Ok(())
}
