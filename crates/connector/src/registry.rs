//! The hub's schema registry over mutual TLS: Confluent's API, as far as a connector needs it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use serde_json::json;
use shuniu_model::ResourceName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Hub;

/// No schema is larger.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// For one request to be answered.
const ANSWER_SECONDS: u64 = 20;

/// A hub that starts, or one whose facts are too old, answers a moment later.
const TRIES: u32 = 5;

/// The registry does not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The address in the connector's file.
    #[error("`{address}` is not `https://host:port/..`")]
    Address {
        /// The address.
        address: String,
    },
    /// A certificate or key.
    #[error("cannot use `{}`", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The TLS settings do not fit each other.
    #[error("cannot set up TLS")]
    Tls {
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The request went out and no answer came back.
    #[error("no answer from {address}")]
    NoAnswer {
        /// Host and port.
        address: String,
        /// Why not, where it is known.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The registry refuses.
    #[error("the registry answers {status}: {message}{}", hint(*status))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("the registry's answer is not what its API promises")]
    Answer {
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A schema as the registry gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) id: u32,
    pub(crate) text: String,
}

/// Where schemas come from.
pub(crate) trait Schemas: Send + Sync {
    /// The id of a text that the resource has as one of its versions.
    fn lookup(
        &mut self,
        resource: &ResourceName,
        text: &str,
    ) -> impl Future<Output = Result<u32, RegistryError>> + Send;

    /// The newest version that this system may see.
    fn latest(
        &mut self,
        resource: &ResourceName,
    ) -> impl Future<Output = Result<Registered, RegistryError>> + Send;

    /// The text of an id.
    fn text(&mut self, id: u32) -> impl Future<Output = Result<String, RegistryError>> + Send;
}

/// The hub's registry. A schema of an id never changes, so each is asked for once.
pub(crate) struct Registry {
    tls: TlsConnector,
    name: ServerName<'static>,
    address: String,
    prefix: String,
    known: HashMap<u32, String>,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u32>,
    schema: Option<String>,
    message: Option<String>,
}

impl Registry {
    pub(crate) fn new(hub: &Hub) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Address { address: hub.registry.clone() };
        let uri: Uri = hub.registry.parse().map_err(|_| wrong())?;
        let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(wrong()) };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let port = uri.port_u16().unwrap_or(443);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls(hub)?)),
            name,
            address,
            prefix,
            known: HashMap::new(),
        })
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Answer, RegistryError> {
        let mut tries = 1;
        loop {
            let answered = tokio::time::timeout(
                Duration::from_secs(ANSWER_SECONDS),
                self.ask_once(method.clone(), path, body.clone()),
            );
            let answer = match answered.await {
                Ok(answer) => answer,
                Err(_) => Err(RegistryError::NoAnswer { address: self.address.clone(), source: None }),
            };
            let may_pass = matches!(
                &answer,
                Err(RegistryError::Connect { .. }
                    | RegistryError::NoAnswer { .. }
                    // A hub follows a change of the directory within a second.
                    | RegistryError::Refused { status: 404 | 503, .. })
            );
            if !may_pass || tries == TRIES {
                return answer;
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn ask_once(&self, method: Method, path: &str, body: String) -> Result<Answer, RegistryError> {
        let connect = |source| RegistryError::Connect { address: self.address.clone(), source };
        let tcp = TcpStream::connect(&self.address).await.map_err(connect)?;
        let tls = self.tls.connect(self.name.clone(), tcp).await.map_err(connect)?;
        let lost = |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::NoAnswer {
            address: self.address.clone(),
            source: Some(source),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| lost(error.into()))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| lost(error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| lost(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(lost)?;
            Ok((status, body.to_bytes()))
        };
        // The connection does its work while the exchange waits for it, and ends with it.
        let (status, body) = tokio::select! {
            done = exchange => done,
            ended = connection => Err(RegistryError::NoAnswer {
                address: self.address.clone(),
                source: ended.err().map(Into::into),
            }),
        }?;
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        if status != StatusCode::OK {
            let message = answer.ok().and_then(|answer| answer.message).unwrap_or_default();
            return Err(RegistryError::Refused { status: status.as_u16(), message });
        }
        answer.map_err(|source| RegistryError::Answer { source })
    }
}

/// What a status means for a connector.
fn hint(status: u16) -> &'static str {
    if status == 404 {
        " (the directory has no such resource or version, or this system no grant on it)"
    } else {
        ""
    }
}

/// What an answer must have and lacks.
fn lacks(item: &str) -> RegistryError {
    RegistryError::Answer { source: serde::de::Error::custom(format!("`{item}` is missing")) }
}

impl Schemas for Registry {
    async fn lookup(&mut self, resource: &ResourceName, text: &str) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{resource}-value");
        let answer = self.ask(Method::POST, &path, json!({ "schema": text }).to_string()).await?;
        let id = answer.id.ok_or_else(|| lacks("id"))?;
        self.known.insert(id, text.to_owned());
        Ok(id)
    }

    async fn latest(&mut self, resource: &ResourceName) -> Result<Registered, RegistryError> {
        let path = format!("/subjects/{resource}-value/versions/latest");
        let answer = self.ask(Method::GET, &path, String::new()).await?;
        let (id, text) = answer.id.zip(answer.schema).ok_or_else(|| lacks("schema"))?;
        self.known.insert(id, text.clone());
        Ok(Registered { id, text })
    }

    async fn text(&mut self, id: u32) -> Result<String, RegistryError> {
        if let Some(text) = self.known.get(&id) {
            return Ok(text.clone());
        }
        let answer = self.ask(Method::GET, &format!("/schemas/ids/{id}"), String::new()).await?;
        let text = answer.schema.ok_or_else(|| lacks("schema"))?;
        self.known.insert(id, text.clone());
        Ok(text)
    }
}

fn tls(hub: &Hub) -> Result<rustls::ClientConfig, RegistryError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&hub.ca)? {
        roots.add(certificate).map_err(|source| RegistryError::Tls { source })?;
    }
    let key = PrivateKeyDer::from_pem_file(&hub.key).map_err(|error| pem(&hub.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| RegistryError::Tls { source })?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&hub.certificate)?, key)
        .map_err(|source| RegistryError::Tls { source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| pem(path, error))?;
    certificates.collect::<Result<_, _>>().map_err(|error| pem(path, error))
}

fn pem(path: &Path, source: rustls_pki_types::pem::Error) -> RegistryError {
    RegistryError::Pem { path: path.to_owned(), source: Box::new(source) }
}
