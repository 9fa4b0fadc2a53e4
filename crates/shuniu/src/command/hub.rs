//! `shuniu hub`: the hub itself.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use super::Failure;
use crate::config::Config;
use crate::serve::{Order, Program};
use crate::telemetry::{Metrics, Traces};
use crate::{clock, log_line, serve};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The configuration; config/hub.toml shows every key. Without it every key has its default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How much is logged, to standard error: error, warn, info, debug or trace. Goes before the configuration's `hub.log`.
    #[arg(long)]
    log: Option<LevelFilter>,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    super::keep_from_others();
    let config = command.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = Traces::start(&config.telemetry, &config.hub.data_folder, runtime.handle())?;
    let level = log_line::start(command.log, config.hub.log, traces.as_ref());
    let metrics = Metrics::install()?;
    let ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let program = Program { config, file: command.config, level, metrics };
        let (sender, orders) = mpsc::channel(1);
        let signalled = async {
            loop {
                let order = tokio::select! {
                    _ = terminate.recv() => Order::Stop,
                    _ = interrupt.recv() => Order::Stop,
                    _ = hangup.recv() => Order::Reload,
                };
                // Signals that come meanwhile wait, those of one kind as one. Nobody listens while the hub closes.
                sender.send(order).await.ok();
            }
        };
        tokio::select! {
            ended = serve::run(program, clock::system(), orders) => Ok(ended?),
            never = signalled => never,
        }
    });
    if let Some(traces) = traces {
        traces.close();
    }
    ended
}
