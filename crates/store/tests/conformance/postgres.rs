//! A PostgreSQL cluster of the test's own, in a temporary folder, reached through a socket in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Fresh;

pub(crate) struct Cluster {
    programs: PathBuf,
    folder: tempfile::TempDir,
    /// PostgreSQL does not run as root: then its own user runs it.
    root: bool,
}

impl Cluster {
    /// Starts one; `None` when PostgreSQL is not installed, or there is no user to run it.
    pub(crate) fn start() -> Option<Self> {
        let programs = fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = programs.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let programs = programs.filter(|folder| folder.join("initdb").exists()).max()?;
        let root = Command::new("id").arg("-u").output().ok()?.stdout == b"0\n";
        if root && !Command::new("id").arg("postgres").stdout(Stdio::null()).status().ok()?.success() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let cluster = Self { programs, folder, root };
        let data = cluster.data();
        let data = data.to_str().unwrap();
        cluster.run("initdb", &["-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]);
        let socket =
            format!("-c listen_addresses='' -c unix_socket_directories='{}'", cluster.socket().display());
        let log = cluster.folder.path().join("log");
        cluster.run("pg_ctl", &["-D", data, "-w", "-o", &socket, "-l", log.to_str().unwrap(), "start"]);
        Some(cluster)
    }

    pub(crate) fn database(&self, name: &str) -> Fresh {
        // A name has at most 63 bytes.
        let name: String = name.chars().take(60).collect();
        let socket = self.socket().display().to_string();
        self.run("createdb", &["-h", &socket, "-U", "postgres", &name]);
        let host = socket.replace('/', "%2F");
        Fresh { url: format!("postgres://postgres@localhost/{name}?host={host}"), _folder: None }
    }

    fn socket(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if self.root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // The server inherits what the starter was given: a pipe would stay open as long as it runs.
        let done = command.args(arguments).current_dir("/").stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "{arguments:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        self.run("pg_ctl", &["-D", data.to_str().unwrap(), "-m", "immediate", "stop"]);
    }
}
