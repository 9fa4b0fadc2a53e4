//! A PostgreSQL cluster of a test's own, in a temporary folder, on this machine alone. It can be killed, hung and
//! started again.
//!
//! Other packages' tests take this file in by its path: it needs the standard library and `tempfile` alone.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The cluster; it is ended, whatever state it is in, when this is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    settings: &'static str,
    /// PostgreSQL does not run as root: then its own user runs it.
    root: bool,
}

impl Postgres {
    /// Starts one; `None` when PostgreSQL is not installed, or there is no user to run it.
    #[must_use]
    pub fn start() -> Option<Self> {
        // What is lost with the machine's power is not what tests are about.
        Self::start_in(tempfile::tempdir().unwrap(), "-c fsync=off -c track_commit_timestamp=on")
    }

    /// As [`Postgres::start`], in a folder made by the caller, with settings as the server's command line has them.
    #[must_use]
    pub fn start_in(folder: tempfile::TempDir, settings: &'static str) -> Option<Self> {
        let programs = fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = programs.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let programs = programs.filter(|folder| folder.join("initdb").exists()).max()?;
        let root = Command::new("id").arg("-u").output().ok()?.stdout == b"0\n";
        if root && !Command::new("id").arg("postgres").stdout(Stdio::null()).status().ok()?.success() {
            return None;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { programs, folder, port, settings, root };
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]);
        cluster.restart();
        Some(cluster)
    }

    /// Makes a database that nobody used before; its connection string.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        // A name has at most 63 bytes.
        let name: String = name.chars().take(60).collect();
        self.run("createdb", &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", &name]);
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs SQL in a database, as its owner would.
    pub fn sql(&self, database: &str, text: &str) {
        let port = self.port.to_string();
        self.run(
            "psql",
            &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-q", "-d", database, "-c", text],
        );
    }

    /// What a query gives, a line for each row.
    #[must_use]
    pub fn query(&self, database: &str, text: &str) -> String {
        let port = self.port.to_string();
        let output = Command::new(self.programs.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-At", "-d", database, "-c", text])
            .current_dir("/")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The cluster's folder, which the server can write to.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The port that the server listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the server speak TLS under a certificate of its own for 127.0.0.1, and nothing but TLS over a network; the
    /// certificate's file.
    #[must_use]
    pub fn with_tls(&self) -> PathBuf {
        let (data, port) = (self.data(), self.port.to_string());
        let (key, certificate) = (format!("{data}/server.key"), self.folder.path().join("server.pem"));
        let made =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let names = [
            "-subj",
            "/CN=db",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let files = ["-keyout", &key, "-out", certificate.to_str().unwrap()];
        self.run("/usr/bin/openssl", &[&made[..], &names[..], &files[..]].concat());
        let hba = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        let script = format!("printf '{hba}' > '{data}/pg_hba.conf'");
        self.run("/bin/sh", &["-c", &script]);
        let folder = self.folder.path().to_str().unwrap();
        for setting in [
            format!("ssl_cert_file = '{}'", certificate.display()),
            format!("ssl_key_file = '{key}'"),
            "ssl = on".into(),
        ] {
            let text = format!("ALTER SYSTEM SET {setting}");
            self.run("psql", &["-h", folder, "-p", &port, "-U", "postgres", "-q", "-c", &text]);
        }
        self.run("pg_ctl", &["-D", &data, "reload"]);
        certificate
    }

    /// Kills every process of the server with signal 9.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Hangs every process of the server: connections stay, nothing answers.
    pub fn hang(&self) {
        self.signal("STOP");
    }

    /// Lets a hung server go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Starts the server again after [`Postgres::kill`], on the same port.
    pub fn restart(&self) {
        // A server that was killed leaves its file behind; its processes are gone.
        fs::remove_file(self.folder.path().join("data/postmaster.pid")).ok();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories='{}' {}",
            self.port,
            self.folder.path().display(),
            self.settings
        );
        let log = self.folder.path().join("log");
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-o", &options, "-l", log.to_str().unwrap(), "start"]);
    }

    /// The server's own processes: the one that started the others, and those.
    fn processes(&self) -> Vec<String> {
        let Ok(file) = fs::read_to_string(self.folder.path().join("data/postmaster.pid")) else {
            return Vec::new();
        };
        let first = file.lines().next().unwrap_or_default().to_owned();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &first]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        let children = children.split_whitespace().map(str::to_owned);
        [first.clone()].into_iter().chain(children).collect()
    }

    fn signal(&self, signal: &str) {
        let processes = self.processes();
        // One that ended meanwhile needs no signal.
        let kill =
            Command::new("kill").arg(format!("-{signal}")).args(&processes).stderr(Stdio::null()).status();
        kill.unwrap();
        if signal == "KILL" {
            for process in processes {
                while PathBuf::from(format!("/proc/{process}")).exists() {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
    }

    fn data(&self) -> String {
        self.folder.path().join("data").to_str().unwrap().to_owned()
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

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
