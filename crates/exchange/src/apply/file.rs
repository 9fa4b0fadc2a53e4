//! The file's form: TOML, strict.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

use super::{Changes, Context, Problems, difference};

/// Likeness (Damerau and Levenshtein, 0 to 1) from which a known key is worth naming.
const NEAR: f64 = 0.6;

/// A directory file, its schema files read.
#[derive(Debug)]
pub struct DirectoryFile {
    pub(super) tables: Tables,
    /// The text of each schema file that is named.
    pub(super) schemas: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tables {
    #[serde(default)]
    pub(super) organisation: Vec<OrganisationTable>,
    #[serde(default)]
    pub(super) system: Vec<SystemTable>,
    #[serde(default)]
    pub(super) resource: Vec<ResourceTable>,
    #[serde(default)]
    pub(super) grant: Vec<GrantTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganisationTable {
    pub(super) uscc: String,
    pub(super) name: String,
    pub(super) division: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SystemTable {
    pub(super) id: String,
    pub(super) organisation: String,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceTable {
    pub(super) name: String,
    pub(super) title_zh: String,
    pub(super) code: String,
    pub(super) provider: String,
    pub(super) publishing_system: String,
    pub(super) sharing: SharingText,
    #[serde(default)]
    pub(super) basis: String,
    pub(super) key: String,
    pub(super) subjects: Vec<String>,
    pub(super) row_filters: bool,
    pub(super) partitions: u32,
    pub(super) schemas: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SharingText {
    Unconditional,
    Conditional,
    NotShared,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantTable {
    pub(super) id: String,
    pub(super) system: String,
    pub(super) resource: String,
    pub(super) modes: Vec<String>,
    pub(super) purpose: String,
    pub(super) basis: String,
    pub(super) starts_at: Option<Moment>,
    pub(super) ends_at: Moment,
    #[serde(default)]
    pub(super) state: StateText,
    #[serde(default)]
    pub(super) whole: bool,
    #[serde(default)]
    pub(super) items: BTreeMap<String, TreatmentText>,
    pub(super) filter: Option<String>,
    pub(super) pseudonym_scope: Option<String>,
    pub(super) master_version: Option<u32>,
    #[serde(default)]
    pub(super) limits: LimitsTable,
    #[serde(default)]
    pub(super) codec: CodecText,
}

/// A date or instant, as TOML's own or as text.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a date as 2030-12-31 or an instant as 2030-12-31T12:00:00+08:00 is wanted here"
)]
pub(super) enum Moment {
    Text(String),
    Toml(toml::value::Datetime),
}

impl Moment {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Toml(datetime) => datetime.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StateText {
    #[default]
    Active,
    Suspended,
    Revoked,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CodecText {
    None,
    Gzip,
    Snappy,
    #[default]
    Lz4,
    Zstd,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum TreatmentText {
    Keep,
    Drop,
    Pseudonym,
    Mask { first: u32, last: u32 },
    Generalise(GeneraliseText),
    Constant(toml::Value),
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    rename_all = "kebab-case",
    expecting = "`generalise` is \"month\", \"year\", { prefix = 4 } or { step = 10 }"
)]
pub(super) enum GeneraliseText {
    Named(GeneraliseName),
    Prefix { prefix: u32 },
    Step { step: i64 },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum GeneraliseName {
    Month,
    Year,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) records_per_second: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) queries_per_day: Option<u64>,
}

impl DirectoryFile {
    /// Parses a file. `read` gives the text of a schema file by its path as written in the file.
    ///
    /// # Errors
    /// When it is not TOML of this form, with the line, and the nearest known key for an unknown one; or when a schema
    /// file cannot be read.
    pub fn parse(text: &str, mut read: impl FnMut(&str) -> io::Result<String>) -> Result<Self, Problems> {
        let tables: Tables = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count());
            Problems::one(format!("line {}", line + 1), explain(error.message()))
        })?;
        let mut problems = Problems::default();
        // It is TOML of the form above: what is left to see is what its texts hold.
        for (kind, value) in toml::from_str::<toml::Table>(text).unwrap_or_default() {
            for entry in value.as_array().into_iter().flatten() {
                let name = ["id", "name", "uscc"].iter().find_map(|key| entry.get(key)?.as_str());
                let at = shuniu_model::shown(&format!("{kind} {}", name.unwrap_or_default()));
                deceiving(&at, "", entry, &mut problems);
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut schemas = BTreeMap::new();
        for resource in &tables.resource {
            for path in &resource.schemas {
                match read(path) {
                    Ok(schema) => {
                        schemas.insert(path.clone(), schema);
                    }
                    Err(error) => {
                        let at = format!("resource {}", resource.name);
                        problems.push(at, format!("cannot read schema file `{path}`: {error}"));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(Self { tables, schemas }) } else { Err(problems) }
    }

    /// What the file changes in the directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn changes(&self, context: &Context<'_>) -> Result<Changes, Problems> {
        difference::changes(self, context)
    }
}

/// Notes each text with a character that a terminal does not show as it is: whoever approves a difference reads what the
/// file says.
fn deceiving(at: &str, key: &str, value: &toml::Value, problems: &mut Problems) {
    let mut note = |text: &str| {
        if let Some(character) = text.chars().find(|character| shuniu_model::is_deceiving(*character)) {
            let (key, code) = (shuniu_model::shown(key), u32::from(character));
            problems.push(
                at,
                format!("`{key}` holds U+{code:04X}, a control character: write the text without it"),
            );
        }
    };
    match value {
        toml::Value::String(text) => note(text),
        toml::Value::Array(values) => {
            for value in values {
                deceiving(at, key, value, problems);
            }
        }
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                deceiving(at, &key, &toml::Value::String(name.clone()), problems);
                deceiving(at, &key, value, problems);
            }
        }
        _ => {}
    }
}

/// Adds the nearest known word to the message about an unknown one.
fn explain(message: &str) -> String {
    let unknown = |prefix, kind| message.strip_prefix(prefix).map(|rest| (kind, rest));
    let found = unknown("unknown field `", "key").or_else(|| unknown("unknown variant `", "word"));
    let Some((kind, rest)) = found else { return message.to_owned() };
    let Some((given, expected)) = rest.split_once('`') else { return message.to_owned() };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(given, known), *known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, nearest)) => format!("unknown {kind} `{given}`: did you mean `{nearest}`?"),
        None => format!("unknown {kind} `{given}`: known here are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        DirectoryFile::parse(text, |_| Ok(String::new())).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        let text = "[[system]]\nid = \"hall\"\norganization = \"x\"\nname = \"n\"\n";
        let problem = problem(text);
        assert!(problem.contains("line 3"), "{problem}");
        assert!(problem.contains("unknown key `organization`: did you mean `organisation`?"), "{problem}");
    }

    #[test]
    fn a_missing_key_and_broken_toml_are_named() {
        assert!(
            problem("[[system]]\nid = \"hall\"\nname = \"n\"\n").contains("missing field `organisation`")
        );
        assert!(problem("[[system]\n").contains("line 1"));
        assert!(problem("[[grants]]\n").contains("did you mean `grant`?"));
    }

    #[test]
    fn a_text_with_a_control_character_is_refused_with_its_key_and_the_character() {
        let system =
            |name: &str| format!("[[system]]\nid = \"hall\"\norganisation = \"x\"\nname = \"{name}\"\n");
        let cases = [
            ("n\\n+ grant y", "U+000A"),
            ("\\u001b[2J", "U+001B"),
            ("\\u0000", "U+0000"),
            ("\\u007f", "U+007F"),
            ("\\u009b2J", "U+009B"),
            ("\u{202e}n", "U+202E"),
            ("\u{2066}n", "U+2066"),
            ("\u{200f}n", "U+200F"),
        ];
        for (name, code) in cases {
            let problem = problem(&system(name));
            assert!(problem.contains(&format!("system hall: `name` holds {code},")), "{problem}");
            assert_eq!(problem.lines().count(), 2, "{problem}");
        }
        let grant = "[[grant]]\nid = \"g\\n\"\nsystem = \"s\"\nresource = \"r\"\nmodes = [\"a\\u001b\"]\npurpose = \
                     \"p\"\nbasis = \"b\"\nends_at = 2030-12-31\n[grant.items]\n\"x\\u0085\" = \"keep\"\n";
        let problem = problem(grant);
        for expected in
            ["grant g\\n: `id` holds U+000A", "`modes` holds U+001B", "`items.x\\u{85}` holds U+0085"]
        {
            assert!(problem.contains(expected), "{problem}");
        }
        DirectoryFile::parse(&system("渝中区 大厅"), |_| Ok(String::new())).unwrap();
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_nearest_known_one() {
        let grant = "[[grant]]\nid = \"g\"\nsystem = \"s\"\nresource = \"r\"\nmodes = []\npurpose = \"p\"\n\
                     basis = \"b\"\n";
        let revoked = problem(&format!("{grant}ends_at = 2030-12-31\nstate = \"revokd\"\n"));
        assert!(revoked.contains("line 9: unknown word `revokd`: did you mean `revoked`?"), "{revoked}");
        let treated = problem(&format!("{grant}ends_at = 2030-12-31\n[grant.items]\nx = \"keeep\"\n"));
        assert!(treated.contains("did you mean `keep`?"), "{treated}");
        let coarse = problem(&format!(
            "{grant}ends_at = 2030-12-31\n[grant.items]\nx = {{ generalise = \"decade\" }}\n"
        ));
        assert!(coarse.contains("`generalise` is \"month\""), "{coarse}");
        let ends = problem(&format!("{grant}ends_at = 5\n"));
        assert!(ends.contains("a date as 2030-12-31"), "{ends}");
    }
}
