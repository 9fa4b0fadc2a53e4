//! What a run did, for people.

use std::fmt;
use std::path::PathBuf;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use shuniu_model::shown;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records that were read back from the topic because it was not known what had arrived.
    pub recovered: Option<u64>,
    /// The files that were compared, in their order. Files sent before are not among them.
    pub files: Vec<FileReport>,
    /// What a sink did.
    pub sink: Option<SinkReport>,
}

/// What one file held and changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The file.
    pub file: PathBuf,
    /// Rows read, without the header.
    pub rows: u64,
    /// Rows that broke a rule.
    pub rejected: u64,
    /// Rows whose key another row of the file has too.
    pub duplicates: u64,
    /// Records that stay as they were because their row was rejected.
    pub held: u64,
    /// New records.
    pub inserted: u64,
    /// Changed records.
    pub updated: u64,
    /// Records that are gone.
    pub deleted: u64,
    /// Records that stay as they were.
    pub unchanged: u64,
    /// How often each rule was broken. In JSON, a map from the rule to the count.
    #[serde(serialize_with = "by_rule")]
    pub rules: Vec<BrokenRule>,
    /// Mandatory items without a value.
    pub absent: Vec<AbsentItem>,
    /// Where the rejected rows are named.
    pub rejects: Option<PathBuf>,
    /// Whether it was compared as one with the file after it, whose counts are then of both.
    pub with_next: bool,
}

/// A rule that rows broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenRule {
    /// The item, where the row as a whole is not meant.
    pub item: Option<String>,
    /// What should hold.
    pub rule: String,
    /// Rows that broke it.
    pub rows: u64,
}

/// A mandatory item that rows lack. It is a warning: the rows are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbsentItem {
    /// The item.
    pub item: String,
    /// Rows without it.
    pub rows: u64,
}

/// What a sink did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// Records that were written.
    pub written: u64,
    /// Records that were deleted.
    pub deleted: u64,
    /// Why all was read from the start, where it was.
    pub full_read: Option<String>,
    /// Rows that a full read did not see, and that were swept.
    pub swept: u64,
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item.as_deref().unwrap_or("row"), self.rule)
    }
}

fn by_rule<S: Serializer>(rules: &[BrokenRule], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(rules.len()))?;
    for rule in rules {
        map.serialize_entry(&rule.to_string(), &rule.rows)?;
    }
    map.end()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(recovered) = self.recovered {
            writeln!(f, "read back what the topic holds: {}", counted(recovered, "live record"))?;
        }
        for file in &self.files {
            file.fmt(f)?;
        }
        if let Some(sink) = &self.sink {
            sink.fmt(f)?;
        } else if self.files.is_empty() {
            writeln!(f, "nothing new: every file was sent before")?;
        }
        Ok(())
    }
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inserted, updated, deleted, unchanged, .. } = self;
        let (file, rows) = (shown(&self.file.to_string_lossy()), counted(self.rows, "row"));
        if self.with_next {
            writeln!(f, "{file}: {rows}, compared as one with the file after it")?;
        } else {
            writeln!(
                f,
                "{file}: {rows}, {inserted} inserted, {updated} updated, {deleted} deleted, {unchanged} unchanged"
            )?;
        }
        if self.duplicates > 0 {
            let repeat = if self.duplicates == 1 { "repeats" } else { "repeat" };
            writeln!(f, "  {} {repeat} a key", counted(self.duplicates, "row"))?;
        }
        if let Some(rejects) = &self.rejects {
            writeln!(
                f,
                "  {} rejected, named in {}",
                counted(self.rejected, "row"),
                shown(&rejects.to_string_lossy())
            )?;
        }
        for rule in &self.rules {
            writeln!(f, "    {}: {rule}", rule.rows)?;
        }
        if self.held > 0 {
            let (stay, they, their) =
                if self.held == 1 { ("stays", "it was", "its") } else { ("stay", "they were", "their") };
            writeln!(
                f,
                "  {} {stay} as {they}, because {their} row was rejected",
                counted(self.held, "record")
            )?;
        }
        for AbsentItem { item, rows } in &self.absent {
            let lack = if *rows == 1 { "lacks" } else { "lack" };
            writeln!(f, "  warning: {} {lack} the mandatory item {item}", counted(*rows, "row"))?;
        }
        Ok(())
    }
}

impl fmt::Display for SinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.full_read {
            writeln!(f, "read from the start: {reason}; {} swept", counted(self.swept, "row"))?;
        }
        writeln!(f, "{} written, {} deleted", counted(self.written, "record"), self.deleted)
    }
}

/// `1 row`, `2 rows`.
fn counted(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
