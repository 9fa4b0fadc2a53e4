//! `shuniu records`: what an operator may do to the record store of a stopped hub.

use clap::{Args, Subcommand};
use shuniu_archive::AUDIT_TOPIC;
use shuniu_engine::{EngineConfig, Loss};
use shuniu_ledger::Draft;

use super::place::Place;
use super::{Failure, block_on, say};
use crate::config::Config;
use crate::directory;
use crate::operator::Operator;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give up records that are damaged or lost and that no backup has, so that the hub starts again. The hub must be
    /// stopped; it names the offsets when it refuses to start. They are not given to other records. What cannot be kept of
    /// a damaged file stays beside it. That you did this becomes an entry of the audit log.
    AcceptLoss(AcceptLoss),
}

#[derive(Debug, Args)]
pub(super) struct AcceptLoss {
    /// The topic: the resource's name.
    topic: String,
    /// The partition.
    partition: i32,
    /// The first lost offset.
    #[arg(long, value_name = "OFFSET")]
    first: i64,
    /// The last lost offset.
    #[arg(long, value_name = "OFFSET")]
    last: i64,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    super::keep_from_others();
    let Command::AcceptLoss(command) = command;
    block_on(accept_loss(&command))?
}

async fn accept_loss(command: &AcceptLoss) -> Result<(), Failure> {
    let AcceptLoss { topic, partition, first, last, place } = command;
    let hub = place.config()?;
    let data = &hub.hub.data_folder;
    let operator = Operator::of(data)?;
    if topic == AUDIT_TOPIC {
        return Err(
            "the audit log's entries are evidence and cannot be given up: put the data folder's last backup \
                    back, and keep the damaged one for whoever examines it"
                .into(),
        );
    }
    let config = EngineConfig::new(data.join("records"));
    let loss = Loss::check(&config, topic, *partition, *first, *last).await?;
    // The entry first: a crash from here on leaves an entry about a loss that is still to be accepted, never a loss
    // without an entry.
    let detail =
        format!("the loss of records was accepted: partition {partition}, offsets {first} to {last}");
    record(&hub, &Draft::administered(operator.actor(), topic, &detail)).await?;
    tokio::task::spawn_blocking(move || loss.accept()).await??;
    say(format_args!(
        "{topic} partition {partition}: offsets {first} to {last} are given up; the publishing system must send again \
         what they held"
    ));
    Ok(())
}

async fn record(hub: &Config, draft: &Draft) -> Result<(), Failure> {
    let draft = serde_json::to_string(draft)?;
    let store = directory::open(hub).await?;
    let written = store.write(&[], &[draft]).await;
    store.close().await;
    Ok(directory::written(hub, written?)?)
}
