//! A process that does not outlive this one: its starter holds the reading end of a pipe from here, and kills it when the pipe
//! closes, however this process ends.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(90);

/// The process; it is killed when this is dropped.
pub(crate) struct Kept {
    pid: u32,
    starter: Child,
}

impl Kept {
    /// Starts it in a folder, where `NAME.log` takes its output.
    pub(crate) fn start(command: &Command, folder: &Path, name: &str) -> Self {
        let (log, pid) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.pid")));
        std::fs::remove_file(&pid).ok();
        let starter = Command::new("sh")
            .arg("-c")
            .arg(
                "log=$1 pid=$2; shift 2\n\
                 \"$@\" </dev/null >>\"$log\" 2>&1 &\n\
                 echo $! >\"$pid.new\" && mv \"$pid.new\" \"$pid\"\n\
                 cat >/dev/null; kill -KILL $! 2>/dev/null; wait",
            )
            .arg("sh")
            .args([&log, &pid])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(folder)
            // What a terminal tells this program by Ctrl-C is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + START_MAX;
        let pid = loop {
            if let Ok(text) = std::fs::read_to_string(&pid) {
                break text.trim().parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{name} was not started");
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { pid, starter }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.pid
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.starter.stdin.take());
        self.starter.wait().ok();
    }
}

/// Sends a process a signal, `-STOP` for one.
pub(crate) fn signal(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}
