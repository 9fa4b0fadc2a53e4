//! Reject files: one line of JSON for each row that broke a rule. Never the value, only what it looks like.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::mapping::Breach;
use crate::report::BrokenRule;

/// A reject file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write rejected rows to `{}`", path.display())]
pub struct RejectError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// One rejected row.
#[derive(Debug, Clone)]
pub(crate) struct Reject {
    pub(crate) row: u64,
    pub(crate) at: Option<u64>,
    pub(crate) breach: Breach,
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a str>,
    shape: &'a str,
    rule: &'a str,
}

/// The rejected rows of one file.
pub(crate) struct Rejects {
    file: String,
    path: PathBuf,
    out: Option<BufWriter<File>>,
    count: u64,
    rules: BTreeMap<(Option<String>, String), u64>,
}

impl Rejects {
    /// The rejects of an earlier run over the same file go.
    pub(crate) fn new(folder: &Path, file: &str) -> Result<Self, RejectError> {
        // Files of the same name in several folders each have their own.
        let name: String =
            file.trim_start_matches(['.', '/']).chars().map(|c| if c == '/' { '_' } else { c }).collect();
        let path = folder.join(format!("{name}.ndjson"));
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(RejectError { path, source }),
            _ => Ok(Self { file: file.to_owned(), path, out: None, count: 0, rules: BTreeMap::new() }),
        }
    }

    pub(crate) fn add(&mut self, reject: &Reject) -> Result<(), RejectError> {
        self.write(reject).map_err(|source| RejectError { path: self.path.clone(), source })?;
        self.count += 1;
        let rule = (reject.breach.item.clone(), reject.breach.rule.clone());
        *self.rules.entry(rule).or_default() += 1;
        Ok(())
    }

    fn write(&mut self, reject: &Reject) -> std::io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            none => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                none.insert(BufWriter::new(File::create(&self.path)?))
            }
        };
        let breach = &reject.breach;
        let line = Line {
            file: &self.file,
            row: reject.row,
            byte: reject.at,
            column: breach.column.as_deref(),
            item: breach.item.as_deref(),
            shape: &breach.shape,
            rule: &breach.rule,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    /// The count, the rules and the file, once all rows are in.
    pub(crate) fn finish(self) -> Result<(u64, Vec<BrokenRule>, Option<PathBuf>), RejectError> {
        let written = match self.out {
            Some(mut out) => {
                let flushed = out.flush();
                flushed.map_err(|source| RejectError { path: self.path.clone(), source })?;
                Some(self.path)
            }
            None => None,
        };
        let rules = self.rules.into_iter().map(|((item, rule), rows)| BrokenRule { item, rule, rows });
        Ok((self.count, rules.collect(), written))
    }
}
