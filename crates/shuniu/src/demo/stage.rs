//! What the steps share: the folder, the doors, the hub's process, the made-up registers, the narrator.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::home::{Home, HomeError};
use super::narrator::Narrator;
use super::process::{self, Finished, ProcessError, Running};
use crate::client::Identity;
use crate::synth::Synth;

/// The ports that a hub has by default, and that the connectors' files name.
const KAFKA_PORT: u16 = 9093;
const API_PORT: u16 = 9443;
const HEALTH_PORT: u16 = 9444;

/// The demonstration under way.
pub(super) struct Stage {
    pub(super) narrator: Narrator,
    pub(super) home: Home,
    pub(super) synth: Synth,
    pub(super) doors: Doors,
    pub(super) hub: Option<Running>,
    pub(super) real_data: Option<PathBuf>,
    /// Live records of each resource, as its connectors reported.
    pub(super) live: BTreeMap<String, u64>,
}

/// Where the hub listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doors {
    pub(super) kafka: u16,
    pub(super) api: u16,
    health: u16,
}

impl Doors {
    /// The usual ports, or free ones where they are taken.
    pub(super) fn free() -> Self {
        Self { kafka: free(KAFKA_PORT), api: free(API_PORT), health: free(HEALTH_PORT) }
    }

    pub(super) fn kafka_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.kafka))
    }

    pub(super) fn api_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.api))
    }

    pub(super) fn health_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.health))
    }

    /// A connector's file, pointed at these doors.
    pub(super) fn point(self, connector: &str) -> String {
        connector
            .replace(&format!("localhost:{KAFKA_PORT}"), &format!("localhost:{}", self.kafka))
            .replace(&format!("localhost:{API_PORT}"), &format!("localhost:{}", self.api))
    }
}

/// The port itself if nobody has it, else any free one; between asking and listening another program may take it.
fn free(port: u16) -> u16 {
    let bound =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    bound(port).or_else(|_| bound(0)).map_or(port, |address| address.port())
}

impl Stage {
    /// Runs this program with other arguments in the demonstration's folder.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Finished, ProcessError> {
        process::run(arguments, &self.home.path("")).await
    }

    /// Runs this program with other arguments, with a spinner on a terminal.
    pub(super) async fn run_shown(&self, arguments: &[&str], what: String) -> Result<Finished, ProcessError> {
        let spinner = ProgressBar::new_spinner().with_style(
            // A template that cannot be parsed leaves the default one.
            ProgressStyle::with_template("   {spinner} {msg} {elapsed}")
                .unwrap_or(ProgressStyle::default_spinner()),
        );
        spinner.set_message(what);
        spinner.enable_steady_tick(Duration::from_millis(200));
        let finished = self.run(arguments).await;
        spinner.finish_and_clear();
        finished
    }

    /// A system's identity, for the bare client.
    pub(super) fn identity(&self, system: &str) -> Identity {
        let ca = self.home.ca();
        Identity {
            hub: self.doors.kafka_address(),
            authority: ca.join("ca.pem"),
            certificate: ca.join(format!("systems/{system}.pem")),
            key: ca.join(format!("systems/{system}.key")),
        }
    }

    /// A consumer's SQLite file.
    pub(super) fn sink(&self, system: &str) -> PathBuf {
        self.home.path(format!("sinks/{system}.db"))
    }

    /// Copies a folder's files of one level.
    pub(super) fn copy(&self, from: &Path, to: &str) -> Result<u64, HomeError> {
        let entries = std::fs::read_dir(from).map_err(HomeError::io("read the folder", from))?;
        let mut files = 0;
        for entry in entries {
            let path = entry.map_err(HomeError::io("read the folder", from))?.path();
            if let (true, Some(name)) = (path.is_file(), path.file_name().and_then(|name| name.to_str())) {
                let content = std::fs::read(&path).map_err(HomeError::io("read", &path))?;
                self.home.write(&format!("{to}/{name}"), &content)?;
                files += 1;
            }
        }
        Ok(files)
    }
}
