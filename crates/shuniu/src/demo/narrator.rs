//! What the demonstration says: numbered steps, lines, and checks that hold or do not.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Tells the story and keeps the score.
pub(super) struct Narrator {
    started: Instant,
    step: u32,
    held: u32,
    broken: Vec<String>,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), step: 0, held: 0, broken: Vec::new() }
    }

    /// Starts the next step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        print(format_args!("\n{}. {title}  [{}]", self.step, clock(self.started.elapsed())));
    }

    /// One line of the story.
    pub(super) fn say(&self, line: impl Display) {
        print(format_args!("   {line}"));
    }

    /// A figure that must be what was expected; both are said.
    pub(super) fn expect<T: PartialEq + Display>(&mut self, what: &str, found: T, expected: T) {
        let holds = found == expected;
        self.check(
            holds,
            format_args!(
                "{what}: {found}{}",
                if holds { String::new() } else { format!(", but {expected} was expected") }
            ),
        );
    }

    /// A statement that must be true.
    pub(super) fn check(&mut self, holds: bool, what: impl Display) {
        print(format_args!("   {} {what}", if holds { "✓" } else { "✗" }));
        if holds {
            self.held += 1;
        } else {
            self.broken.push(format!("step {}: {what}", self.step));
        }
    }

    /// How it went: the checks that did not hold.
    pub(super) fn finish(self) -> Vec<String> {
        print(format_args!(
            "\n{} checks held, {} did not, in {}.",
            self.held,
            self.broken.len(),
            clock(self.started.elapsed())
        ));
        for what in &self.broken {
            print(format_args!("   ✗ {what}"));
        }
        self.broken
    }
}

fn clock(elapsed: Duration) -> String {
    format!("{}.{:01} s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}

#[expect(clippy::print_stdout, reason = "the story goes to standard output")]
fn print(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_does_not_hold_is_kept() {
        let mut narrator = Narrator::new();
        narrator.step("counting");
        narrator.expect("rows", 2, 2);
        narrator.expect("rows", 2, 3);
        narrator.check(true, "fine");
        assert_eq!(narrator.finish(), ["step 1: rows: 2, but 3 was expected"]);
    }
}
