//! `shuniu demo`: the whole exchange on one machine, told step by step, every figure checked.
//!
//! Each part runs as its own process of this same program: the hub, and each department's connector. What a consumer
//! holds is read from its own database; what it should hold is counted from the source files.

mod expect;
mod home;
mod material;
mod narrator;
mod process;
mod reader;
mod report;
mod sink;
mod stage;
mod step;

use std::collections::BTreeMap;
use std::path::PathBuf;

use shuniu_model::InvalidName;

use crate::ca::CaError;
use crate::config::ConfigError;
use crate::synth::{PeopleOutOfRange, Synth};
use narrator::Narrator;
use stage::{Doors, Stage};

pub use crate::client::ClientError;
pub use expect::ExpectError;
pub use home::HomeError;
pub use process::ProcessError;
pub use sink::SinkError;

/// What the demonstration is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many people are made up.
    pub people: u64,
    /// What the made-up registers depend on.
    pub seed: u64,
    /// The demonstration's folder; emptied when it starts.
    pub home: PathBuf,
    /// A folder with the real enterprise and permit files, which may not be passed on.
    pub real_data: Option<PathBuf>,
    /// End after the last step instead of leaving the hub running.
    pub once: bool,
}

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// So many people cannot be made up.
    #[error("cannot make up the registers")]
    People(#[source] PeopleOutOfRange),
    /// The folder cannot be used.
    #[error("cannot lay out the demonstration's folder")]
    Home(#[source] HomeError),
    /// A file cannot be used.
    #[error("cannot use `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A register cannot be written.
    #[error("cannot write the register `{path}`")]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// The authority failed.
    #[error("cannot make the certificates")]
    Ca(#[source] CaError),
    /// A system's name is none.
    #[error("cannot name a system")]
    System(#[source] InvalidName),
    /// The hub's configuration cannot be written.
    #[error("cannot write the hub's configuration")]
    Config(#[source] ConfigError),
    /// A process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A command ended badly where the story needs it.
    #[error("`shuniu {command}` failed:\n{complaint}")]
    Command {
        /// The command.
        command: String,
        /// What it complained of.
        complaint: String,
    },
    /// A connector's report cannot be read.
    #[error("cannot read the report `{path}`")]
    Report {
        /// The report.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A consumer's database cannot be read.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A source file cannot be counted.
    #[error(transparent)]
    Expect(#[from] ExpectError),
    /// The bare client failed.
    #[error("a client failed")]
    Client(#[source] ClientError),
}

/// Runs the demonstration; returns the checks that did not hold.
///
/// # Errors
/// See [`DemoError`]. The hub is stopped in any case.
pub async fn run(options: &Options) -> Result<Vec<String>, DemoError> {
    let synth = Synth::new(options.seed, options.people).map_err(DemoError::People)?;
    let home = home::Home::fresh(&options.home).map_err(DemoError::Home)?;
    let doors = Doors::free();
    for connector in material::CONNECTORS {
        let text = doors.point(&String::from_utf8_lossy(connector.content));
        home.write(connector.path, text.as_bytes()).map_err(DemoError::Home)?;
    }
    let mut stage = Stage {
        narrator: Narrator::new(),
        home,
        synth,
        doors,
        hub: None,
        real_data: options.real_data.clone(),
        live: BTreeMap::new(),
    };
    step::prepare::registers(&mut stage)?;
    step::prepare::directory(&mut stage).await?;
    step::prepare::hub(&mut stage).await?;
    step::publish::run(&mut stage).await?;
    step::receive::run(&mut stage).await?;
    step::moving::run(&mut stage).await?;
    step::refuse::run(&mut stage).await?;
    step::revoke::run(&mut stage).await?;
    step::audit::run(&mut stage).await?;
    step::closing::run(stage, options.once).await
}
