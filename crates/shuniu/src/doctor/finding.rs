//! What the doctor says: one line each.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// It works, but not for long or not as meant.
    Warning,
    /// It does not work.
    Trouble,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    level: Level,
    about: &'static str,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Trouble => "trouble",
        };
        write!(f, "{level:<7}  {}: {}", self.about, self.text)
    }
}

/// What is wrong, in plain words, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    text: String,
    remedy: String,
}

impl Complaint {
    pub(super) fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: remedy.into() }
    }

    /// The same, of this one.
    pub(super) fn of(self, whom: impl fmt::Display) -> Self {
        Self { text: format!("{whom}: {}", self.text), ..self }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. What to do: {}", self.text, self.remedy)
    }
}

/// Tells each finding as it is made, and counts the bad ones.
pub(crate) struct Findings<'a> {
    tell: &'a mut dyn FnMut(&Finding),
    warnings: usize,
    troubles: usize,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(tell: &'a mut dyn FnMut(&Finding)) -> Self {
        Self { tell, warnings: 0, troubles: 0 }
    }

    pub(crate) fn warnings(&self) -> usize {
        self.warnings
    }

    pub(crate) fn troubles(&self) -> usize {
        self.troubles
    }

    pub(super) fn ok(&mut self, about: &'static str, text: impl fmt::Display) {
        self.add(Level::Ok, about, &text);
    }

    pub(super) fn warning(&mut self, about: &'static str, complaint: &Complaint) {
        self.warnings += 1;
        self.add(Level::Warning, about, complaint);
    }

    pub(super) fn trouble(&mut self, about: &'static str, complaint: &Complaint) {
        self.troubles += 1;
        self.add(Level::Trouble, about, complaint);
    }

    /// A finding is one line, whatever an answer from outside holds.
    fn add(&mut self, level: Level, about: &'static str, text: &dyn fmt::Display) {
        let text = text.to_string().replace(char::is_control, " ");
        (self.tell)(&Finding { level, about, text });
    }
}
