//! The connector's file: one strict TOML. An unknown key is an error that names the nearest known one and its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shuniu_model::{ItemName, ResourceName};
use toml::Spanned;

pub(crate) use crate::config::rule::{AmountPart, ItemRule, Lookup, Origin, Otherwise, Texts, Transform};

mod rule;

/// A connector's file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read connector `{}`", path.display())]
    Read {
        /// The connector's file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or TOML with a key or value that the connector does not know.
    #[error("connector `{}`, line {line}: {message}", path.display())]
    Invalid {
        /// The connector's file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, with the nearest known word where one is unknown.
        message: String,
    },
    /// The resource's schema cannot be used.
    #[error("connector `{}`: schema `{}`", path.display(), schema.display())]
    Schema {
        /// The connector's file.
        path: PathBuf,
        /// The schema's file.
        schema: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) hub: Option<Hub>,
    pub(crate) source: Option<Spanned<Source>>,
    pub(crate) sink: Option<Spanned<Sink>>,
}

/// Where the hub is, and who this system is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hub {
    /// `host:port` of the Kafka door.
    pub(crate) brokers: String,
    /// `https://host:port/registry` of the HTTP door.
    pub(crate) registry: String,
    /// The hub's authority, PEM.
    pub(crate) ca: PathBuf,
    /// This system's certificate, PEM.
    pub(crate) certificate: PathBuf,
    /// This system's private key, PEM.
    pub(crate) key: PathBuf,
}

/// Files whose rows become records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) resource: ResourceName,
    pub(crate) schema: PathBuf,
    /// The resource's key item.
    pub(crate) key: Spanned<ItemName>,
    /// In the order in which they are sent.
    pub(crate) files: Vec<String>,
    /// The names in `files` may hold `*` and `?`; what fits is taken in the order of its name.
    #[serde(default)]
    pub(crate) glob: bool,
    pub(crate) format: Format,
    #[serde(default)]
    pub(crate) encoding: Encoding,
    #[serde(default)]
    pub(crate) header: Header,
    /// The columns' names, where the file's header is not used.
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) quotes: bool,
    #[serde(default)]
    pub(crate) extra_fields: ExtraFields,
    #[serde(default)]
    pub(crate) missing_fields: MissingFields,
    /// The sheet of a workbook; the first one where it is not named.
    pub(crate) sheet: Option<String>,
    /// The keys that lead to the array in a JSON file, joined by dots; empty where the file is the array.
    #[serde(default)]
    pub(crate) array: String,
    pub(crate) coverage: Coverage,
    #[serde(default)]
    pub(crate) compare_ignore: Vec<String>,
    #[serde(default)]
    pub(crate) duplicates: Duplicates,
    /// The share of live records that one file may delete without a confirmation.
    #[serde(default = "a_fifth")]
    pub(crate) delete_share_max: f64,
    #[serde(default)]
    pub(crate) source_time: SourceTime,
    /// Items whose absence is worth a warning.
    #[serde(default)]
    pub(crate) mandatory: Vec<Spanned<ItemName>>,
    /// What was sent last: a SQLite file of this connector alone.
    pub(crate) state: PathBuf,
    /// The folder of the reject files, one for each source file that has any.
    pub(crate) rejects: PathBuf,
    /// How often the files are looked at again.
    #[serde(default = "a_minute")]
    pub(crate) poll_seconds: u64,
    pub(crate) items: BTreeMap<Spanned<String>, ItemRule>,
    /// Where the relative paths of the connector's file start.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// A table that follows a resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sink {
    pub(crate) resource: ResourceName,
    /// `sqlite:FILE` or `postgres://..`.
    pub(crate) database: String,
    pub(crate) table: Spanned<String>,
    /// The table is made, and follows the schema, where this is declared.
    #[serde(default)]
    pub(crate) create: bool,
    /// Shown to the hub's operators; offsets are kept in the table's own database either way.
    pub(crate) group: Option<String>,
    #[serde(default = "batch_records")]
    pub(crate) batch_records_max: usize,
    #[serde(default = "a_week")]
    pub(crate) behind_days_max: u32,
}

fn yes() -> bool {
    true
}

fn a_fifth() -> f64 {
    0.2
}

fn a_minute() -> u64 {
    60
}

fn batch_records() -> usize {
    10_000
}

fn a_week() -> u32 {
    7
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    Csv,
    Tsv,
    Xls,
    Xlsx,
    Json,
    /// Lines of fields parted by one blank; the last field takes the rest.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "gb18030")]
    Gb18030,
    #[serde(rename = "big5")]
    Big5,
    #[serde(rename = "windows-1252")]
    Windows1252,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Header {
    /// The first row names the columns.
    #[default]
    FirstRow,
    /// The first row is passed over: `columns` names them.
    Skip,
    /// There is none: `columns` names them.
    None,
}

/// Rows with more fields than columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ExtraFields {
    #[default]
    Reject,
    /// Allowed where each of them is empty.
    Empty,
}

/// Rows with fewer fields than columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MissingFields {
    #[default]
    Reject,
    /// Allowed; they are null.
    Null,
}

/// What a file says of records that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Coverage {
    /// They are gone.
    Whole,
    /// Nothing.
    Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Duplicates {
    /// The last row of a key stands.
    Last,
    /// The first row of a key stands, further ones are rejected.
    #[default]
    Reject,
}

/// Where the header `source-time` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceTime {
    /// The time at which the file was written.
    #[default]
    Modified,
    /// The first date in the file's name, at midnight UTC.
    FileName,
    None,
}

/// A connector's own file.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads the file; its relative paths start at its own folder.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = crate::files::read_text(path, FILE_BYTES_MAX)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            line: line(&text, error.span().map_or(0, |span| span.start)),
            message: with_nearest(error.message()),
        })?;
        config.check().map_err(|(at, message)| ConfigError::Invalid {
            path: path.to_owned(),
            line: line(&text, at),
            message,
        })?;
        config.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// What no single key can say. The error is the place in the text and a sentence.
    fn check(&self) -> Result<(), (usize, String)> {
        let whole = match (&self.source, &self.sink) {
            (Some(source), None) => return source.get_ref().check().map_err(|m| (source.span().start, m)),
            (None, Some(sink)) => return sink.get_ref().check().map_err(|m| (sink.span().start, m)),
            (Some(_), Some(_)) => "a connector has either [source] or [sink], not both",
            (None, None) => "a connector needs [source] or [sink]",
        };
        Err((0, whole.to_owned()))
    }

    fn resolve(&mut self, folder: &Path) {
        if let Some(hub) = &mut self.hub {
            for path in [&mut hub.ca, &mut hub.certificate, &mut hub.key] {
                *path = folder.join(&*path);
            }
        }
        if let Some(source) = &mut self.source {
            let source = source.get_mut();
            source.folder = folder.to_owned();
            for path in [&mut source.schema, &mut source.state, &mut source.rejects] {
                *path = folder.join(&*path);
            }
            for file in &mut source.files {
                *file = folder.join(&*file).to_string_lossy().into_owned();
            }
        }
        if let Some(sink) = &mut self.sink {
            let sink = sink.get_mut();
            if let Some(file) = sink.database.strip_prefix("sqlite:") {
                sink.database = format!("sqlite:{}", folder.join(file).display());
            }
        }
    }
}

impl Source {
    /// The file as the connector's file names it: the same wherever the program is started.
    pub(crate) fn name_of(&self, file: &Path) -> String {
        let named = file.strip_prefix(&self.folder).unwrap_or(file);
        named.to_string_lossy().into_owned()
    }

    fn check(&self) -> Result<(), String> {
        let require = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        require(!self.files.is_empty(), "`files` names no file")?;
        require((0.0..=1.0).contains(&self.delete_share_max), "`delete_share_max` is a share from 0 to 1")?;
        require((1..=86_400).contains(&self.poll_seconds), "`poll_seconds` is 1 to 86400")?;
        let named = self.header != Header::FirstRow || self.format == Format::Text;
        require(
            !named || !self.columns.is_empty(),
            "`columns` must name the columns where no header does (`header = \"none\"`, `\"skip\"`, format `text`)",
        )?;
        require(
            named || self.columns.is_empty(),
            "`columns` names the columns only with `header = \"none\"` or `\"skip\"`",
        )?;
        require(self.array.is_empty() || self.format == Format::Json, "`array` is for the format `json`")?;
        let is_workbook = matches!(self.format, Format::Xls | Format::Xlsx);
        require(self.sheet.is_none() || is_workbook, "`sheet` is for the formats `xls` and `xlsx`")?;
        require(!self.items.is_empty(), "[source.items] maps no item")
    }
}

impl Sink {
    fn check(&self) -> Result<(), String> {
        let table = self.table.get_ref();
        let plain =
            table.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if table.is_empty() || table.len() > 48 || !plain || table.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("`table` is 1 to 48 of a-z, 0-9 and `_`, not starting with a digit".into());
        }
        if !self.database.starts_with("sqlite:") && !self.database.starts_with("postgres") {
            return Err("`database` is `sqlite:FILE` or `postgres://..`".into());
        }
        if !(1..=100_000).contains(&self.batch_records_max) {
            return Err("`batch_records_max` is 1 to 100000".into());
        }
        Ok(())
    }
}

/// The line of a byte, counted from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Adds the nearest known word to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_nearest(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    match words.next() {
        Some(unknown) if message.starts_with("unknown ") => match nearest(unknown, words) {
            Some(known) => {
                let (said, _) = message.split_once(", expected").unwrap_or((message, ""));
                format!("{said}: did you mean `{known}`?")
            }
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

/// The word that is most like `unknown`.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |word: &str| strsim::jaro_winkler(unknown, word);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}
