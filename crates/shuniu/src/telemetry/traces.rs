//! Traces by OTLP over HTTP (protobuf): how long each part of a request took, and on what it waited.
//!
//! Only spans of the target [`TRACED`] are sent, never events: those are the log's, and tell more than a collector should
//! know. A span's fields are the door, the API, and the system that asked: no payload, no name of a person or a client's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use shuniu_archive::TRACED;
use tokio::runtime::Handle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Telemetry;
use crate::serve::TlsError;

const CONNECT_MAX: Duration = Duration::from_secs(3);
const EXPORT_MAX: Duration = Duration::from_secs(10);
/// What a collector answers is not looked at beyond this.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The collector's authority cannot be read.
    #[error("cannot trust the collector of traces")]
    Authority(#[source] TlsError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for the collector of traces")]
    Tls(#[source] rustls::Error),
    /// The client cannot be made.
    #[error("cannot make a client for the collector of traces")]
    Client(#[source] reqwest::Error),
    /// The exporter cannot be made.
    #[error("cannot send traces")]
    Exporter(#[source] ExporterBuildError),
}

/// Traces on their way to a collector.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Sets up what sends traces, on a thread of its own; it connects when there is something to send. `None` when there
    /// is nowhere to send them.
    pub(crate) fn start(
        config: &Telemetry,
        folder: &Path,
        runtime: &Handle,
    ) -> Result<Option<Self>, TracesError> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let client = Collector { client: client(config, folder)?, runtime: runtime.clone() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.endpoint)
            .with_timeout(EXPORT_MAX)
            .with_http_client(client)
            .build()
            .map_err(TracesError::Exporter)?;
        let about = [
            KeyValue::new("service.name", "shuniu"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder_empty().with_attributes(about).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                f64::from(config.traced_per_thousand) / 1_000.0,
            ))))
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self(provider)))
    }

    /// What turns spans into traces.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("shuniu"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACED))
    }

    /// Sends what is left, for at most five seconds.
    pub(crate) fn close(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// A collector, asked on the hub's own runtime: the thread that sends has none.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let request = reqwest::Request::try_from(request)?;
            let mut answer = client.execute(request).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await? {
                let room = ANSWER_BYTES_MAX.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                if body.len() >= ANSWER_BYTES_MAX {
                    break;
                }
            }
            let mut response = Response::new(body.freeze());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            Ok(response)
        });
        sent.await?
    }
}

fn client(config: &Telemetry, folder: &Path) -> Result<reqwest::Client, TracesError> {
    let roots = if config.authority.as_os_str().is_empty() {
        rustls::RootCertStore::empty()
    } else {
        crate::serve::authority(folder.join(&config.authority)).map_err(TracesError::Authority)?
    };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TracesError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_MAX)
        .timeout(EXPORT_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(TracesError::Client)
}
