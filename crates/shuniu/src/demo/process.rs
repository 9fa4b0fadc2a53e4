//! The processes of the demonstration: the hub, and each department's connector, all of this same program.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A process that did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `shuniu {command}`")]
    Start {
        /// Its subcommand.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The hub ended, or did not open its door in time.
    #[error("the hub did not come up on {door}; its last lines:\n{log}")]
    NotUp {
        /// Where it was to listen.
        door: SocketAddr,
        /// The end of its log.
        log: String,
    },
}

/// What a finished process left.
#[derive(Debug)]
pub(super) struct Finished {
    /// Whether its exit code was 0.
    pub(super) succeeded: bool,
    /// Standard output.
    pub(super) output: String,
    /// Standard error.
    pub(super) complaint: String,
}

/// Runs this program with other arguments to its end.
pub(super) async fn run(arguments: &[&str], folder: &Path) -> Result<Finished, ProcessError> {
    let failed = |source| ProcessError::Start { command: arguments.join(" "), source };
    let done = itself(folder)
        .map_err(failed)?
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(failed)?;
    Ok(Finished {
        succeeded: done.status.success(),
        output: String::from_utf8_lossy(&done.stdout).into_owned(),
        complaint: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// A process that runs beside the demonstration; it is killed if the demonstration ends without stopping it.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts this program with other arguments; what it writes goes to `log`.
    pub(super) fn start(arguments: &[&str], folder: &Path, log: &Path) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::Start { command: arguments.join(" "), source };
        let out = File::create(log).map_err(failed)?;
        let errors = out.try_clone().map_err(failed)?;
        let child = itself(folder)
            .map_err(failed)?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child })
    }

    /// The process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until something listens there.
    pub(super) async fn until_open(&mut self, door: SocketAddr, log: &Path) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect(door).await.is_ok() {
                return Ok(());
            }
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(ProcessError::NotUp { door, log: last_lines(log) })
    }

    /// Asks it to end and waits; says whether it ended by itself and well.
    pub(super) async fn stop(mut self) -> bool {
        if let Some(id) =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // If it is gone already, `wait` says so.
            rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        }
        match timeout(STOP_PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => status.success(),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Waits for its end, however long it takes.
    pub(super) async fn wait(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }
}

fn itself(folder: &Path) -> io::Result<Command> {
    let program: PathBuf = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.current_dir(folder);
    Ok(command)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(12);
    lines.get(start..).unwrap_or_default().join("\n")
}
