//! `shuniu demo`: everything on one machine, told step by step.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, block_on};
use crate::demo::{self, Options};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// End after the last step, with exit code 0 if every check held, instead of leaving the hub running.
    #[arg(long)]
    once: bool,
    /// People in the made-up population register.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    people: u64,
    /// A folder with cn-enterprise-chongqing and cn-permit-cosmetics: real registers whose licences keep them out of
    /// this program.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the demonstration works; emptied when it starts.
    #[arg(long, default_value = "shuniu-demo", value_name = "FOLDER")]
    home: PathBuf,
    /// What the made-up registers depend on.
    #[arg(long, default_value_t = 500_199)]
    seed: u64,
}

/// Some checks did not hold; the story has said which.
#[derive(Debug, thiserror::Error)]
#[error("{count} checks did not hold")]
struct ChecksBroken {
    count: usize,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let options = Options {
        people: command.people,
        seed: command.seed,
        home: command.home,
        real_data: command.data,
        once: command.once,
    };
    let broken = block_on(demo::run(&options))??;
    if broken.is_empty() { Ok(()) } else { Err(ChecksBroken { count: broken.len() }.into()) }
}
