//! `shuniu directory`: organisations, systems, resources and grants from one file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use shuniu_archive::read_text_bounded;
use shuniu_exchange::apply::{Context, DirectoryFile};
use shuniu_store::Store;

use super::place::Place;
use super::{Failure, block_on, say};
use crate::clock;
use crate::config::Config;
use crate::directory;
use crate::figure::counted;
use crate::keys::Keys;
use crate::operator::Operator;
use crate::serve::Records;
use crate::topics;

/// A directory file: some ten thousands of grants.
const FILE_BYTES_MAX: u64 = 16 << 20;
const SCHEMA_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the directory what the file says, in one transaction. A hub that runs follows within a second.
    Apply {
        /// The directory file.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// The time zone in which a bare date ends, by its IANA name [default: the configuration's, or Asia/Shanghai].
        #[arg(long, value_name = "NAME")]
        time_zone: Option<String>,
    },
    /// Compare the topics in the record store with the directory; ends with 1 while they differ. With the hub's own
    /// engine, while the hub is stopped.
    Check {
        #[command(flatten)]
        place: Place,
        /// Mend what can be mended: settings, and partitions that are missing.
        #[arg(long)]
        repair: bool,
    },
}

/// Topics that are not what the directory says.
#[derive(Debug, thiserror::Error)]
#[error("{} not as the directory says{hint}", counted(*count as u64, "topic is", "topics are"))]
struct Differs {
    count: usize,
    hint: &'static str,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    super::keep_from_others();
    let (file, place, dry_run, time_zone) = match command {
        Command::Apply { file, place, dry_run, time_zone } => (file, place, dry_run, time_zone),
        Command::Check { place, repair } => return block_on(check(&place.config()?, repair))?,
    };
    let mut config = place.config()?;
    if let Some(time_zone) = time_zone {
        config.hub.time_zone = time_zone;
    }
    block_on(apply(&file, &config, dry_run))?
}

async fn apply(file: &Path, config: &Config, dry_run: bool) -> Result<(), Failure> {
    let (data, time_zone) = (&config.hub.data_folder, config.hub.time_zone.as_str());
    let text = read_text_bounded(file, FILE_BYTES_MAX)
        .map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let wanted = DirectoryFile::parse(&text, |path| read_text_bounded(&folder.join(path), SCHEMA_BYTES_MAX))?;
    std::fs::create_dir_all(data).map_err(|error| format!("cannot make `{}`: {error}", data.display()))?;
    let operator = Operator::of(data)?;
    let store = directory::open(config).await?;
    let facts = store.facts().await?;
    let keys = Keys::open(data)?;
    let now = clock::system()();
    let changes = wanted.changes(&Context { facts: &facts, keys: &keys, time_zone, now })?;
    for line in changes.lines() {
        say(line);
    }
    let count = counted(changes.lines().len() as u64, "change", "changes");
    if changes.is_empty() {
        say("the directory is as the file says");
    } else if dry_run {
        say(format_args!("{count}; nothing was changed (--dry-run)"));
    } else {
        let version = changes.apply(&store, operator.login()).await?;
        directory::written(config, version)?;
        say(format_args!("{count} applied; the policy is at version {version}"));
    }
    store.close().await;
    Ok(())
}

async fn check(config: &Config, repair: bool) -> Result<(), Failure> {
    let operator = Operator::of(&config.hub.data_folder)?;
    let records = Records::open(config, &clock::system()).await?;
    let checked = async {
        let store = directory::open(config).await?;
        let checked = compare(config, &records, &store, repair.then_some(&operator)).await;
        store.close().await;
        checked
    };
    let checked = checked.await;
    records.close(Duration::from_secs(config.hub.shutdown_seconds)).await;
    let (differing, left) = checked?;
    if left > 0 {
        let hint =
            if repair { ": what is left is for a person to mend" } else { ": --repair mends what can be" };
        return Err(Differs { count: left, hint }.into());
    }
    if differing == 0 {
        say("the topics are as the directory says");
    }
    Ok(())
}

/// How many topics differ, and how many still do once whoever repairs has mended what can be.
async fn compare(
    config: &Config,
    records: &Records,
    store: &Store,
    repairer: Option<&Operator>,
) -> Result<(usize, usize), Failure> {
    let upstream = records.upstream.as_ref();
    let differing = topics::check(upstream, store, records.replication).await?;
    for topic in &differing {
        for drift in &topic.drift {
            say(format_args!("{}: {drift}", topic.spec.name));
        }
    }
    let mut left = differing.len();
    if let Some(operator) = repairer {
        for topic in differing.iter().filter(|topic| topic.can_be_mended()) {
            let version = topics::mend(upstream, store, operator.login(), topic).await?;
            directory::written(config, version)?;
            say(format_args!("{}: mended", topic.spec.name));
            left -= usize::from(topic.is_mended_whole());
        }
    }
    Ok((differing.len(), left))
}
