//! What the machine says of itself and of a process.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Linux counts the time of processes in hundredths of a second for programs, whatever it does inside.
const TICKS_PER_SECOND: u64 = 100;

/// Says what else goes on.
pub fn note() {
    let cores = std::thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    println!("{cores} cores, shared with the clients; load of the last minute {load}");
}

/// User and system time of a process so far.
#[must_use]
pub fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name may hold blanks; behind its bracket the third field stands first (proc_pid_stat(5): utime is the 14th).
    let behind: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = behind[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// The most memory that a process has had, in MB.
#[must_use]
pub fn memory_peak_mb(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1_024.0 / 1e6
}

/// Two files in one folder, to learn what two syncs one after the other take there.
pub struct TwoSyncs([File; 2]);

impl TwoSyncs {
    /// Makes the files.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(["sync-1", "sync-2"].map(|name| File::create(folder.join(name)).unwrap()))
    }

    /// Writes and syncs both.
    pub fn time(&mut self, bytes: &[u8]) -> Duration {
        let begun = Instant::now();
        for file in &mut self.0 {
            file.write_all(bytes).unwrap();
            file.sync_data().unwrap();
        }
        begun.elapsed()
    }
}

/// The bytes of all files of a folder.
#[must_use]
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => folder_bytes(&entry.path()),
        metadata => metadata.len(),
    });
    bytes.sum()
}

/// One line for `tests/bench`.
pub fn figure(name: &str, value: f64, unit: &str, goal: f64, met: bool) {
    println!("figure {name} {value:.2} {unit} goal {goal} {}", if met { "met" } else { "short" });
}

/// The value in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
