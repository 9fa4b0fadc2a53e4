//! What is wrong with a directory file, all of it at once.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `grant hall-yuzhong-population`, `line 12`.
    pub at: String,
    /// What, and what to do.
    pub what: String,
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, at: impl Into<String>, what: impl fmt::Display) {
        self.0.push(Problem { at: at.into(), what: what.to_string() });
    }

    pub(super) fn one(at: impl Into<String>, what: impl fmt::Display) -> Self {
        let mut problems = Self::default();
        problems.push(at, what);
        problems
    }

    /// The problems in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes the error, with its causes, and gives nothing.
    pub(super) fn note<T>(&mut self, at: &str, result: Result<T, impl std::error::Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(at, chain(&error));
                None
            }
        }
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "the directory file has {} {plural}; nothing was changed", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {}: {}", problem.at, problem.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
