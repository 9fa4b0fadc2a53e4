//! The command line: one file for each subcommand.

mod advice;
mod audit;
mod backup;
mod ca;
mod connector;
mod demo;
mod directory;
mod doctor;
mod hub;
mod keys;
mod migrate;
mod place;
mod records;
mod restore;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An exchange hub for government data.
#[derive(Debug, Parser)]
#[command(name = "shuniu", version, about, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See the whole exchange at work on this machine, with real registers, told step by step.
    Demo(demo::Command),
    /// Run the hub: records, directory, audit log, and the doors to them.
    Hub(hub::Command),
    /// Say what organisations, systems, resources and grants there are.
    #[command(subcommand)]
    Directory(directory::Command),
    /// Publish a department's register, or keep a table of what it receives.
    #[command(subcommand)]
    Connector(connector::Command),
    /// Find out, from a client's side, why the hub cannot be reached or does not give what it should.
    Doctor(doctor::Command),
    /// Verify, search, export and trace the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make a certificate authority and issue the certificates of systems and of the hub.
    #[command(subcommand)]
    Ca(ca::Command),
    /// Bring the directory's database up to this program, or move a directory into it.
    Migrate(migrate::Command),
    /// Make the hub's own secret keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make a backup of a hub while it runs, or check one.
    Backup(backup::Command),
    /// Make a data folder out of a backup.
    Restore(restore::Command),
    /// Give up damaged records of a stopped hub that no backup has.
    #[command(subcommand)]
    Records(records::Command),
}

/// What went wrong, for the person at the keyboard: one line for each cause.
type Failure = Box<dyn std::error::Error>;

/// Runs the command line. Exit code 0 for done, 1 for failed, 2 for a command line that cannot be understood.
#[must_use]
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(command) => demo::run(command),
        Command::Hub(command) => hub::run(command),
        Command::Directory(command) => directory::run(command),
        Command::Doctor(command) => doctor::run(command),
        Command::Connector(command) => connector::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Ca(command) => ca::run(command),
        Command::Migrate(command) => migrate::run(&command),
        Command::Keys(command) => keys::run(command),
        Command::Backup(command) => backup::run(&command),
        Command::Restore(command) => restore::run(&command),
        Command::Records(command) => records::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Files that this process makes are for its user alone: records and the directory are nobody else's to read.
fn keep_from_others() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Runs a use case that waits, on this thread alone.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, std::io::Error> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

/// The exit code of a program whose reader went away, as shells give it (128 and the number of SIGPIPE).
const BROKEN_PIPE: i32 = 141;

fn lines_of(text: &str) -> String {
    text.split('\n').map(shuniu_model::shown).collect::<Vec<_>>().join("\n")
}

/// Writes a line for the person at the keyboard.
fn say(line: impl std::fmt::Display) {
    // What a line tells of others is escaped where it is made; here its line feeds are kept, and nothing else.
    if let Err(error) = writeln!(std::io::stdout().lock(), "{}", lines_of(&line.to_string())) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // Whoever read has seen enough.
            std::process::exit(BROKEN_PIPE);
        }
        complain(&error);
        std::process::exit(1);
    }
}

/// Writes a line that is not a part of the answer.
#[expect(clippy::print_stderr, reason = "remarks go to standard error, so that answers can be piped")]
fn note(line: impl std::fmt::Display) {
    eprintln!("{}", lines_of(&line.to_string()));
}

#[expect(clippy::print_stderr, reason = "why a command failed goes to standard error")]
fn complain(failure: &(dyn std::error::Error + 'static)) {
    eprintln!("error: {}", lines_of(&failure.to_string()));
    let mut cause = failure.source();
    while let Some(error) = cause {
        eprintln!("  because: {}", lines_of(&error.to_string()));
        cause = error.source();
    }
    if let Some(advice) = advice::advice(failure) {
        eprintln!("  what to do: {advice}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a command line without quotes; systemd and container files write them differently.
    fn words(line: &str) -> Vec<&str> {
        line.split(|c: char| c.is_whitespace() || "[]\",".contains(c)).filter(|it| !it.is_empty()).collect()
    }

    #[test]
    fn every_command_line_can_be_parsed() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn what_is_said_moves_no_terminal() {
        assert_eq!(lines_of("a \u{1b}[2J\nb\u{202e}\r"), "a \\u{1b}[2J\nb\\u{202e}\\r");
    }

    #[test]
    fn the_unit_and_the_container_file_start_the_hub_by_a_command_line_that_there_is() {
        let unit = include_str!("../../../config/shuniu.service");
        let container = include_str!("../../../config/Containerfile");
        let starts = unit.lines().filter_map(|line| line.strip_prefix("ExecStart=")).map(words);
        let commands = container.lines().filter_map(|line| line.strip_prefix("CMD ")).map(words);
        let commands = commands.map(|words| [vec!["shuniu"], words].concat());
        let lines: Vec<_> = starts.chain(commands).collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            let Arguments { command } = Arguments::try_parse_from(&line).unwrap();
            assert!(matches!(command, Command::Hub(_)), "{line:?}");
        }
    }
}
