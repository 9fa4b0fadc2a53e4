//! `shuniu hub`: the hub itself.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::Failure;
use crate::config::Config;
use crate::telemetry::Metrics;
use crate::{clock, log_line, serve};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The configuration; config/hub.toml shows every key. Without it every key has its default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How much is logged, to standard error: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log: LevelFilter,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    super::keep_from_others();
    let config = command.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    log_line::start(command.log);
    let metrics = Metrics::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(serve::run(&config, clock::system(), metrics, stop).await?)
    })
}
