//! What is measured of a running hub, for Prometheus. docs/OPERATING.md lists it all; a test holds the two equal.
//!
//! Measurements go through the `metrics` facade, as log lines go through `tracing`: whoever measures knows no recorder.

mod catalogue;
mod traces;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use catalogue::{Kind, METRICS};
pub(crate) use traces::Traces;
pub use traces::TracesError;

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The buckets of a histogram cannot be.
    #[error("cannot set up the metrics")]
    Build(#[from] BuildError),
    /// A process measures once.
    #[error("the process has a recorder of metrics already")]
    Installed,
}

/// What was measured, to be shown. Cloned freely.
#[derive(Clone)]
pub struct Metrics {
    shown: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Measures from here on, for the whole process.
    ///
    /// # Errors
    /// When the process does so already.
    pub fn install() -> Result<Self, MetricsError> {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS {
            if let Kind::Histogram(buckets) = metric.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        let shown = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Installed)?;
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
            }
        }
        begin_at_zero();
        let process = metrics_process::Collector::default();
        process.describe();
        metrics::gauge!("shuniu_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { shown, process })
    }

    /// Everything in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.shown.render()
    }

    /// Puts measurements where they are kept, so that they take no more memory while nobody asks.
    pub fn settle(&self) {
        self.shown.run_upkeep();
    }
}

/// Shows from the start what alert rules ask the increase of: Prometheus sees none in a series that begins at one.
fn begin_at_zero() {
    let outcomes =
        ["served", "handshake-failed", "not-a-system", "too-many", "system-too-many", "unavailable"];
    for door in ["kafka", "http"] {
        for outcome in outcomes {
            metrics::counter!("shuniu_connections_total", "door" => door, "outcome" => outcome).absolute(0);
        }
    }
    for reason in ["limit", "memory", "registry"] {
        metrics::counter!("shuniu_throttled_total", "reason" => reason).absolute(0);
    }
    for outcome in ["done", "refused"] {
        metrics::counter!("shuniu_reloads_total", "outcome" => outcome).absolute(0);
    }
    drop(metrics::histogram!("shuniu_revocation_seconds"));
}
