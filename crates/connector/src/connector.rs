//! One connector, as its file states it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shuniu_model::Clock;
use shuniu_schema::Schema;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, ConfigError, Hub, Sink, Source};
use crate::error::ConnectorError;
use crate::kafka::{self, KafkaPublisher};
use crate::mapping::Mapping;
use crate::progress::Progress;
use crate::publish::PublishError;
use crate::registry::Registry;
use crate::report::Report;
use crate::source::Run;
use crate::state::State;

/// A connector whose file was read and held against the schema.
pub struct Connector {
    hub: Option<Hub>,
    job: Job,
}

enum Job {
    Source { source: Arc<Source>, mapping: Arc<Mapping>, schema: Schema },
    Sink(Box<Sink>),
}

/// How a connector is run.
#[derive(Clone)]
pub struct RunOptions {
    /// The first file that deletes more than its share goes through.
    pub confirm: bool,
    /// A source looks at its files once, a sink reads to the end of the log; otherwise both go on until told to stop.
    pub once: bool,
    /// Bars are drawn where the error output is a terminal.
    pub progress: bool,
    /// How the time is read.
    pub clock: Clock,
}

impl Connector {
    /// Reads the connector's file and, for a source, its schema.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config = Config::load(path)?;
        let job = match (config.source, config.sink) {
            (Some(source), _) => {
                let source = source.into_inner();
                let schema = schema(path, &source.schema)?;
                let mapping = Mapping::compile(&source, &schema).map_err(|(at, message)| {
                    // The file was read a moment ago; without it the line is 1.
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    ConfigError::Invalid { path: path.to_owned(), line: config::line(&text, at), message }
                })?;
                Job::Source { source: Arc::new(source), mapping: Arc::new(mapping), schema }
            }
            (None, Some(sink)) => Job::Sink(Box::new(sink.into_inner())),
            (None, None) => {
                return Err(ConfigError::Invalid {
                    path: path.to_owned(),
                    line: 1,
                    message: "a connector needs [source] or [sink]".into(),
                });
            }
        };
        Ok(Self { hub: config.hub, job })
    }

    /// Runs the connector until it is done (`once`), told to stop, or cannot go on.
    pub async fn run(
        &self,
        options: &RunOptions,
        cancel: &CancellationToken,
    ) -> Result<Report, ConnectorError> {
        let hub = self.hub.as_ref().ok_or(ConnectorError::NoHub)?;
        match &self.job {
            Job::Source { source, mapping, schema } => {
                run_source(hub, source, mapping, schema, options, cancel).await
            }
            Job::Sink(sink) => {
                let registry = registry(hub)?;
                let progress = Progress::new(options.progress);
                let client = kafka::client(hub);
                let report = crate::sink::run(sink, &client, registry, options, &progress, cancel).await?;
                Ok(Report { sink: Some(report), ..Report::default() })
            }
        }
    }
}

/// A schema file.
const SCHEMA_BYTES_MAX: u64 = 1 << 20;

fn schema(path: &Path, schema: &Path) -> Result<Schema, ConfigError> {
    let wrong = |source| ConfigError::Schema { path: path.to_owned(), schema: PathBuf::from(schema), source };
    let text = crate::files::read_text(schema, SCHEMA_BYTES_MAX).map_err(|error| wrong(error.into()))?;
    Schema::parse(&text).map_err(|error| wrong(error.into()))
}

fn registry(hub: &Hub) -> Result<Registry, PublishError> {
    Registry::new(hub).map_err(|source| PublishError::Registry { attempted: "be known", source })
}

async fn run_source(
    hub: &Hub,
    source: &Arc<Source>,
    mapping: &Arc<Mapping>,
    schema: &Schema,
    options: &RunOptions,
    cancel: &CancellationToken,
) -> Result<Report, ConnectorError> {
    let progress = Progress::new(options.progress);
    // The state's lock is taken first: two runs of one connector must not both publish.
    let mut state = State::open(&source.state).await?;
    let mut publisher =
        KafkaPublisher::new(&kafka::client(hub), registry(hub)?, &source.resource, schema.text())?;
    let mut all = Report::default();
    let mut confirmed = options.confirm;
    loop {
        let run = Run {
            source: source.clone(),
            mapping: mapping.clone(),
            state: &mut state,
            publisher: &mut publisher,
            confirmed: std::mem::take(&mut confirmed),
            progress: &progress,
            cancel,
        };
        let report = run.once().await?;
        all.recovered = all.recovered.or(report.recovered);
        if options.once {
            all.files.extend(report.files);
            return Ok(all);
        }
        for file in &report.files {
            tracing::info!(file = %file.file.display(), inserted = file.inserted, updated = file.updated,
                deleted = file.deleted, rejected = file.rejected, "file sent");
        }
        // Only the last file's figures are kept: a connector that runs for years must not grow.
        if !report.files.is_empty() {
            all.files = report.files;
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(all),
            () = tokio::time::sleep(Duration::from_secs(source.poll_seconds)) => {}
        }
    }
}
