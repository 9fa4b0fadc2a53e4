//! What a connector reports of one run, as `shuniu connector run FILE --report REPORT` writes it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A source's run, file by file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Report {
    pub(super) files: Vec<FileReport>,
}

/// One source file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FileReport {
    pub(super) rows: u64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    pub(super) rejected: u64,
    /// Rejected rows by the rule that they broke.
    pub(super) rules: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    pub(super) fn inserted(&self) -> u64 {
        self.files.iter().map(|file| file.inserted).sum()
    }

    pub(super) fn updated(&self) -> u64 {
        self.files.iter().map(|file| file.updated).sum()
    }

    pub(super) fn deleted(&self) -> u64 {
        self.files.iter().map(|file| file.deleted).sum()
    }

    pub(super) fn rejected(&self) -> u64 {
        self.files.iter().map(|file| file.rejected).sum()
    }

    /// Inserted, updated and deleted, file by file.
    pub(super) fn steps(&self) -> Vec<(u64, u64, u64)> {
        self.files.iter().map(|file| (file.inserted, file.updated, file.deleted)).collect()
    }

    /// Rejected rows by rule, over all files.
    pub(super) fn rules(&self) -> BTreeMap<&str, u64> {
        let mut rules = BTreeMap::new();
        for (rule, count) in self.files.iter().flat_map(|file| &file.rules) {
            *rules.entry(rule.as_str()).or_default() += count;
        }
        rules
    }
}
