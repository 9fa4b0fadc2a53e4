//! A Kafka client that sends exactly what it is told: to a bare broker, or to a hub as one of its systems.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use shuniu_wire::{Request, Response, decode_response, encode_request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::hub::Hub;

/// No answer in these tests takes longer.
const LONG: Duration = Duration::from_secs(60);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection.
pub struct Raw {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl Raw {
    /// A bare broker, `host:port`.
    pub async fn bare(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    /// The first virtual broker of a hub, as a system.
    pub async fn of_system(hub: &Hub, system: &str) -> Self {
        Self::at(&format!("127.0.0.1:{}", hub.kafka_port()), hub, system).await
    }

    /// A virtual broker of a hub, as a system.
    pub async fn at(address: &str, hub: &Hub, system: &str) -> Self {
        Self::by(address, &Self::way(hub, system)).await
    }

    /// How a system connects to its hub.
    #[must_use]
    pub fn way(hub: &Hub, system: &str) -> TlsConnector {
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
        TlsConnector::from(Arc::new(config))
    }

    /// A virtual broker, in that way.
    pub async fn by(address: &str, way: &TlsConnector) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = way.connect(name, stream).await.unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    /// Asks in a version, and takes the answer.
    pub async fn ask(&mut self, version: i16, request: impl Into<Request>) -> Response {
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
    pub async fn get<A: TryFrom<Response, Error = Response>>(
        &mut self,
        version: i16,
        request: impl Into<Request>,
    ) -> A {
        A::try_from(self.ask(version, request).await).unwrap()
    }

    /// Sends a frame as it is, and takes the next one.
    ///
    /// # Errors
    /// The connection ends instead.
    pub async fn exchange(&mut self, frame: &[u8]) -> io::Result<Bytes> {
        let length = u32::try_from(frame.len()).unwrap();
        self.stream.write_all(&[&length.to_be_bytes(), frame].concat()).await?;
        self.stream.flush().await?;
        let read = async {
            let length = self.stream.read_u32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut frame).await?;
            Ok(Bytes::from(frame))
        };
        tokio::time::timeout(LONG, read).await.unwrap()
    }
}
