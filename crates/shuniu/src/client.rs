//! A bare Kafka client: it asks what the ordinary ones cannot be made to ask, and knows when its last byte came.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use shuniu_wire::{ApiKey, EncodeError, FrameError, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A response larger than this is not believed.
const FRAME_BYTES_MAX: usize = 128 << 20;
/// Bytes asked of the socket at a time: small, so that the time of the last one is known well.
const CHUNK_BYTES: usize = 64 << 10;
const CLIENT_ID: &str = "shuniu";
const PATIENCE: Duration = Duration::from_secs(20);

/// What a bare client can meet.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A key or certificate file cannot be used.
    #[error("cannot use `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The TLS library refused the keys.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The hub's name is none.
    #[error("cannot use the hub's name")]
    Name(#[source] InvalidDnsNameError),
    /// The connection broke, or was never made.
    #[error("the connection to the hub ended")]
    Connection(#[source] io::Error),
    /// No answer in time.
    #[error("the hub did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// A request that cannot be written.
    #[error("cannot write the request")]
    Encode(#[source] EncodeError),
    /// An answer that cannot be read.
    #[error("cannot read the answer")]
    Decode(#[source] FrameError),
    /// An answer of another size or kind than the question's.
    #[error("the hub's answer does not fit the question")]
    Unfit,
}

/// Where the hub is and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The hub's Kafka door.
    pub(crate) hub: SocketAddr,
    /// The authority that is trusted.
    pub(crate) authority: PathBuf,
    /// The system's certificate.
    pub(crate) certificate: PathBuf,
    /// The system's key.
    pub(crate) key: PathBuf,
}

/// One API as the other end announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Kafka's number of the API.
    pub(crate) api: i16,
    /// The lowest version.
    pub(crate) min: i16,
    /// The highest version.
    pub(crate) max: i16,
}

/// One connection.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    correlation_id: i32,
    /// When the last byte came.
    last_byte: Instant,
    /// Bytes that came, frames' headers included.
    bytes: u64,
}

impl Client {
    pub(crate) async fn connect(identity: &Identity) -> Result<Self, ClientError> {
        let config = config(identity)?;
        let name = ServerName::try_from("localhost").map_err(ClientError::Name)?;
        let stream = TcpStream::connect(identity.hub).await.map_err(ClientError::Connection)?;
        stream.set_nodelay(true).map_err(ClientError::Connection)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(ClientError::Connection)?;
        Ok(Self::over(stream))
    }

    /// Speaks over a connection that is made already.
    pub(crate) fn over(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, correlation_id: 0, last_byte: Instant::now(), bytes: 0 }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call(&mut self, version: i16, request: &Request) -> Result<Response, ClientError> {
        match tokio::time::timeout(PATIENCE, self.exchange(version, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Silent),
        }
    }

    /// Which versions of which APIs the other end announces.
    pub(crate) async fn versions(&mut self) -> Result<Vec<Announced>, ClientError> {
        match tokio::time::timeout(PATIENCE, self.exchange_versions()).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Silent),
        }
    }

    pub(crate) fn last_byte(&self) -> Instant {
        self.last_byte
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn exchange(&mut self, version: i16, request: &Request) -> Result<Response, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = shuniu_wire::encode_request(version, self.correlation_id, CLIENT_ID, request)
            .map_err(ClientError::Encode)?;
        let frame = self.send(&frame).await?;
        let answer = shuniu_wire::decode_response(request.api(), version, frame);
        match answer.map_err(ClientError::Decode)? {
            (id, response) if id == self.correlation_id => Ok(response),
            _ => Err(ClientError::Unfit),
        }
    }

    /// Version 0, which every broker answers and which both sides can read by hand.
    async fn exchange_versions(&mut self) -> Result<Vec<Announced>, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(10 + CLIENT_ID.len()).unwrap_or_default());
        frame.put_i16(ApiKey::ApiVersions as i16);
        frame.put_i16(0);
        frame.put_i32(self.correlation_id);
        frame.put_u16(u16::try_from(CLIENT_ID.len()).unwrap_or_default());
        frame.put_slice(CLIENT_ID.as_bytes());
        let mut answer = self.send(&frame).await?;
        let unfit = |_| ClientError::Unfit;
        let id = answer.try_get_i32().map_err(unfit)?;
        let error_code = answer.try_get_i16().map_err(unfit)?;
        let rows = answer.try_get_i32().map_err(unfit)?;
        if (id, error_code) != (self.correlation_id, 0) || i64::from(rows) * 6 != answer.remaining() as i64 {
            return Err(ClientError::Unfit);
        }
        (0..rows)
            .map(|_| {
                let api = answer.try_get_i16().map_err(unfit)?;
                let min = answer.try_get_i16().map_err(unfit)?;
                Ok(Announced { api, min, max: answer.try_get_i16().map_err(unfit)? })
            })
            .collect()
    }

    /// Sends a frame and waits for the next, without its length.
    async fn send(&mut self, frame: &[u8]) -> Result<Bytes, ClientError> {
        self.stream.write_all(frame).await.map_err(ClientError::Connection)?;
        self.stream.flush().await.map_err(ClientError::Connection)?;
        let mut length = [0; 4];
        self.read(&mut length).await?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| ClientError::Unfit)?;
        if length > FRAME_BYTES_MAX {
            return Err(ClientError::Unfit);
        }
        let mut frame = vec![0; length];
        for chunk in frame.chunks_mut(CHUNK_BYTES) {
            self.read(chunk).await?;
        }
        Ok(Bytes::from(frame))
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<(), ClientError> {
        let mut rest = into;
        while !rest.is_empty() {
            let count = self.stream.read(rest).await.map_err(ClientError::Connection)?;
            if count == 0 {
                return Err(ClientError::Connection(io::ErrorKind::UnexpectedEof.into()));
            }
            self.last_byte = Instant::now();
            self.bytes += count as u64;
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }
}

fn config(identity: &Identity) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&identity.authority)? {
        roots.add(certificate).map_err(ClientError::Tls)?;
    }
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(file(&identity.key))?;
    let chain = certificates(&identity.certificate)?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map_err(ClientError::Tls)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> ClientError {
    move |source| ClientError::File { path: path.to_owned(), source }
}
