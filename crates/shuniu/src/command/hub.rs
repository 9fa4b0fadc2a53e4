//! `shuniu hub`: the hub itself.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use super::Failure;
use crate::config::Config;
use crate::serve::Order;
use crate::telemetry::Metrics;
use crate::{clock, log_line, serve};

/// Signals that the hub has not come to yet; more are dropped.
const ORDERS_WAITING_MAX: usize = 8;

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
        let (sender, orders) = mpsc::channel(ORDERS_WAITING_MAX);
        let signalled = async {
            loop {
                let order = tokio::select! {
                    _ = terminate.recv() => Order::Stop,
                    _ = interrupt.recv() => Order::Stop,
                };
                // Full of orders to stop, or of nobody who listens: the hub closes already.
                sender.try_send(order).ok();
            }
        };
        tokio::select! {
            ended = serve::run(&config, clock::system(), metrics, orders) => Ok(ended?),
            never = signalled => never,
        }
    })
}
