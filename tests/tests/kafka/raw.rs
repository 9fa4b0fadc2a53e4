//! A Kafka client that sends exactly what it is told: to a bare broker, or to a hub as one of its systems.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use shuniu_tests::Hub;
use shuniu_wire::{Request, Response, decode_response, encode_request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer in these tests takes longer.
const LONG: Duration = Duration::from_secs(60);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl Raw {
    /// A bare broker, `host:port`.
    pub(crate) async fn bare(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    /// The first virtual broker of a hub, as a system.
    pub(crate) async fn of_system(hub: &Hub, system: &str) -> Self {
        Self::at(&format!("127.0.0.1:{}", hub.kafka_port()), hub, system).await
    }

    /// A virtual broker of a hub, as a system.
    pub(crate) async fn at(address: &str, hub: &Hub, system: &str) -> Self {
        let (certificate, key, authority) = hub.certificate(system);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<_, _>>().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    /// Asks in a version, and takes the answer.
    pub(crate) async fn ask(&mut self, version: i16, request: impl Into<Request>) -> Response {
        let request = request.into();
        self.correlation += 1;
        let frame = encode_request(version, self.correlation, "test", &request)
            .unwrap_or_else(|error| panic!("{error}: {request:?}"));
        let answer = self.exchange(&frame[4..]).await;
        let answer = answer.unwrap_or_else(|error| panic!("version {version}: {error}: {request:?}"));
        let (correlation, response) = decode_response(request.api(), version, answer)
            .unwrap_or_else(|error| panic!("version {version}: {error}: {request:?}"));
        assert_eq!(correlation, self.correlation);
        response
    }

    /// As [`Raw::ask`], for the answer of an API.
    pub(crate) async fn get<A: TryFrom<Response, Error = Response>>(
        &mut self,
        version: i16,
        request: impl Into<Request>,
    ) -> A {
        A::try_from(self.ask(version, request).await).unwrap()
    }

    /// Sends a frame as it is, and takes the next one; the error when the connection ends instead.
    pub(crate) async fn exchange(&mut self, frame: &[u8]) -> io::Result<Bytes> {
        let length = u32::try_from(frame.len()).unwrap();
        self.stream.write_all(&[&length.to_be_bytes(), frame].concat()).await?;
        self.stream.flush().await?;
        let read = async {
            let length = self.stream.read_u32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut frame).await?;
            Ok(Bytes::from(frame))
        };
        tokio::time::timeout(LONG, read).await.expect("an answer in time")
    }
}

/// The fields of an answer: each one's path, elements of arrays counted, and what is in it.
pub(crate) fn fields(answer: &impl Debug) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    // Names of what is open, and how many elements it has had.
    let mut open: Vec<(String, usize)> = Vec::new();
    for line in format!("{answer:#?}").lines() {
        let line = line.trim().trim_end_matches(',');
        if matches!(line, "}" | "]" | ")" | "},") {
            open.pop();
            continue;
        }
        // A field's name, or the place in an array or a tuple.
        let (name, value) = match line.split_once(": ") {
            Some((name, value))
                if name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_') =>
            {
                (name.to_owned(), value)
            }
            _ => {
                let at = open.last_mut().map_or(0, |(_, count)| {
                    *count += 1;
                    *count - 1
                });
                (at.to_string(), line)
            }
        };
        if value.ends_with(['{', '[', '(']) {
            open.push((name, 0));
        } else {
            let path: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).chain([name.as_str()]).collect();
            fields.insert(path.join("."), value.to_owned());
        }
    }
    fields
}
