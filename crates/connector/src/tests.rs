//! Runs of a source against a recorder in the hub's place.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shuniu_schema::Schema;
use tokio_util::sync::CancellationToken;

use crate::avro::{Shape, Value};
use crate::config::Config;
use crate::error::ConnectorError;
use crate::mapping::Mapping;
use crate::progress::Progress;
use crate::publish::{Batch, Change, PublishError, Publisher, Refused, Replayed};
use crate::report::{FileReport, Report};
use crate::source::Run;
use crate::state::State;

mod recorder;
mod registers;
mod rules;

use recorder::Recorder;

/// A connector in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    recorder: Recorder,
    toml: String,
}

impl Bench {
    /// `items` are the schema's fields: name and Avro type; the first one is the key.
    fn new(items: &[(&str, &str)], source: &str, mapping: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let schema = schema(items);
        std::fs::write(folder.path().join("v1.avsc"), &schema).unwrap();
        let key = items[0].0;
        let toml = format!(
            "[source]\nresource = \"things\"\nschema = \"v1.avsc\"\nkey = \"{key}\"\nstate = \"state.db\"\n\
             rejects = \"rejects\"\n{source}\n[source.items]\n{mapping}\n"
        );
        Self { folder, recorder: Recorder::new(&schema), toml }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn load(&self, files: &[&Path]) -> (crate::config::Source, Mapping) {
        let files: Vec<String> =
            files.iter().map(|file| format!("{:?}", file.display().to_string())).collect();
        let toml =
            self.toml.replacen("[source]\n", &format!("[source]\nfiles = [{}]\n", files.join(", ")), 1);
        std::fs::write(self.path("connector.toml"), toml).unwrap();
        let source = Config::load(&self.path("connector.toml")).unwrap().source.unwrap().into_inner();
        let schema = Schema::parse(&std::fs::read_to_string(&source.schema).unwrap()).unwrap();
        let mapping = Mapping::compile(&source, &schema).unwrap();
        (source, mapping)
    }

    async fn run_with(
        &mut self,
        files: &[&Path],
        confirmed: bool,
        cancel: &CancellationToken,
    ) -> Result<Report, ConnectorError> {
        let (source, mapping) = self.load(files);
        let mut state = State::open(&source.state).await.unwrap();
        let run = Run {
            source: Arc::new(source),
            mapping: Arc::new(mapping),
            state: &mut state,
            publisher: &mut self.recorder,
            confirmed,
            progress: &Progress::new(false),
            cancel,
        };
        run.once().await
    }

    async fn run(&mut self, files: &[&Path]) -> Result<Report, ConnectorError> {
        self.run_with(files, false, &CancellationToken::new()).await
    }

    async fn confirm(&mut self, files: &[&Path]) -> Result<Report, ConnectorError> {
        self.run_with(files, true, &CancellationToken::new()).await
    }

    /// Runs one more file; where the guard stops it, sees that nothing was sent and confirms.
    async fn step(&mut self, files: &[&Path]) -> (FileReport, bool) {
        let before = self.recorder.log.len();
        match self.run(files).await {
            Ok(mut report) => (report.files.pop().unwrap(), false),
            Err(ConnectorError::Guarded { .. }) => {
                assert_eq!(self.recorder.log.len(), before, "a stopped file must send nothing");
                let mut report = self.confirm(files).await.unwrap();
                (report.files.pop().unwrap(), true)
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A schema of plain items; types are Avro JSON.
fn schema(items: &[(&str, &str)]) -> String {
    let field = |(name, kind): &(&str, &str)| {
        let default = if kind.starts_with("[\"null\"") { ", \"default\": null" } else { "" };
        format!(
            "{{\"name\": \"{name}\", \"type\": {kind}{default}, \"title_zh\": \"项\", \"data_type\": \"C\", \
             \"level\": 1, \"sharing\": \"unconditional\"}}"
        )
    };
    let fields: Vec<String> = items.iter().map(field).collect();
    format!("{{\"type\": \"record\", \"name\": \"R\", \"fields\": [{}]}}", fields.join(", "))
}

const TEXT: &str = "\"string\"";
const TEXT_OR_NULL: &str = "[\"null\", \"string\"]";

fn counts(report: &FileReport) -> [u64; 3] {
    [report.inserted, report.deleted, report.updated]
}
