//! `shuniu connector`: a department's source or sink.

use std::path::PathBuf;

use clap::Subcommand;
use shuniu_connector::{Connector, RunOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use super::{Failure, say};
use crate::config::LogLevel;
use crate::{clock, log_line};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish what changed in a source's files, or keep a sink's table. Goes on until it is told to stop.
    Run {
        /// The connector's file.
        file: PathBuf,
        /// Look at the files once, or read to the end of the log, and end.
        #[arg(long)]
        once: bool,
        /// Let the first file that deletes more than its share go through.
        #[arg(long)]
        confirm: bool,
        /// Write what was done as JSON into this file.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// How much is logged, to standard error: error, warn, info, debug or trace.
        #[arg(long, default_value = "warn")]
        log: LevelFilter,
    },
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let Command::Run { file, once, confirm, report, log } = command;
    log_line::start(Some(log), LogLevel::Info, None);
    let connector = Connector::load(&file)?;
    let options = RunOptions { confirm, once, progress: true, clock: clock::system() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let running = connector.run(&options, &cancel);
        tokio::pin!(running);
        tokio::select! {
            done = &mut running => return Ok::<_, Failure>(done?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Told to stop: what is under way is finished first.
        cancel.cancel();
        Ok(running.await?)
    })?;
    if let Some(path) = report {
        std::fs::write(path, serde_json::to_vec_pretty(&done)?)?;
    }
    say(done.to_string().trim_end());
    Ok(())
}
