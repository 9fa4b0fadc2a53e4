//! A client's program at work: what it says, line by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use shuniu_tests::repository;

use crate::clients::Client;

/// For a client to say what a test waits for. Far more than it takes: a client that says nothing fails its test.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that was started. It is told to end when it is dropped.
pub(crate) struct Program {
    client: &'static Client,
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    stderr: Arc<Mutex<String>>,
}

/// A record that arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrived {
    pub(crate) key: String,
    pub(crate) row: Value,
}

impl Program {
    pub(crate) fn start(client: &'static Client, arguments: &[String]) -> Self {
        let (program, first) = client.command();
        let mut command = Command::new(program);
        command.args(first).args(arguments).current_dir(repository());
        // Cargo puts its own librdkafka before Debian's.
        command.env_remove("LD_LIBRARY_PATH").envs(client.environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", client.name));
        let (say, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut from, into) = (process.stderr.take().unwrap(), Arc::clone(&stderr));
        // Both end when the program does.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str(&line) else {
                    panic!("not a line of the contract: {line}")
                };
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        let stdin = process.stdin.take();
        Self { client, process, stdin, lines, seen: Vec::new(), stderr }
    }

    /// The next line; none when the program has ended.
    fn next(&mut self, deadline: Instant, wanted: &str) -> Option<Value> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.fail(wanted),
        }
    }

    fn fail(&self, wanted: &str) -> ! {
        panic!(
            "{} does not say {wanted}. It said:\n{}\nand on standard error:\n{}",
            self.client.name,
            self.seen.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
            self.stderr.lock().unwrap()
        )
    }

    /// Waits for a line of which `matches` is true.
    pub(crate) fn wait(&mut self, wanted: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(line) = self.next(deadline, wanted) else { self.fail(wanted) };
            if matches(&line) {
                return line;
            }
        }
    }

    /// Waits for an event.
    pub(crate) fn event(&mut self, event: &str) -> Value {
        self.wait(&format!("`{event}`"), |line| line["event"] == event)
    }

    /// Waits until the record of a key has arrived.
    pub(crate) fn record(&mut self, key: &str) -> Arrived {
        arrived(
            &self.wait(&format!("the record {key}"), |line| line["event"] == "record" && line["key"] == key),
        )
    }

    /// Waits until so many records have arrived in all.
    pub(crate) fn records(&mut self, count: usize) -> Vec<Arrived> {
        let deadline = Instant::now() + PATIENCE;
        while self.arrived().len() < count {
            let wanted = format!("{count} records");
            if self.next(deadline, &wanted).is_none() {
                self.fail(&wanted);
            }
        }
        self.arrived()
    }

    /// The records that have arrived and were waited for.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.seen.iter().filter(|line| line["event"] == "record").map(arrived).collect()
    }

    /// Takes what was said meanwhile.
    pub(crate) fn take(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.seen.push(line);
        }
    }

    /// Every line so far.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for the end of a program that ends by itself; everything it said.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline, "its end").is_some() {}
        std::mem::take(&mut self.seen)
    }

    /// Tells the program to leave and close, and waits until it has; everything it said.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        drop(self.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline, "its end").is_some() {}
        let status = self.process.wait().unwrap();
        if !status.success() {
            self.fail(&format!("a clean end, but ended with {status}"));
        }
        std::mem::take(&mut self.seen)
    }

    /// Holds what the program calls its version to the pinned one.
    pub(crate) fn has_version(mut self) {
        let version = self.event("version")["version"].as_str().unwrap().trim_start_matches('v').to_owned();
        if let Some(pinned) = self.client.version() {
            assert_eq!(version, pinned, "{} is not the pinned one: make setup-clients", self.client.name);
        }
    }
}

fn arrived(line: &Value) -> Arrived {
    Arrived { key: line["key"].as_str().unwrap().to_owned(), row: line["row"].clone() }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A program ends when its standard input does; kcat's takes kcat with it. One that does not is ended.
        drop(self.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
