//! An HTTP client that sends exactly what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use shuniu_api::{Door, Health, Options};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::world::{Certificate, Claim, World};

/// Nothing in these tests takes longer.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A world with its HTTP door open, and health beside it.
pub(crate) struct Open {
    pub(crate) world: World,
    pub(crate) at: SocketAddr,
    pub(crate) health_at: SocketAddr,
    pub(crate) closing: CancellationToken,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and Confluent's error code.
    pub(crate) fn error(&self) -> (u16, u64) {
        assert_eq!(self.content_type, "application/vnd.schemaregistry.v1+json", "{self:?}");
        (self.status, self.json()["error_code"].as_u64().unwrap())
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let (content_type, retry_after) =
            (header("content-type: ").unwrap_or_default(), header("retry-after: "));
        Self { status, content_type, retry_after, body: body.to_owned() }
    }
}

impl Open {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Options)) -> Self {
        Self::of(World::new().await, adjust).await
    }

    pub(crate) async fn of(world: World, adjust: impl FnOnce(&mut Options)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, health_at) = (listener.local_addr().unwrap(), health.local_addr().unwrap());
        let mut options = Options::default();
        adjust(&mut options);
        let (tls, exchange) = (watch::channel(world.authority.server()).1, Arc::clone(&world.exchange));
        let options = watch::channel(options).1;
        let door = Door { tls, exchange: Arc::clone(&exchange), options };
        let (tracker, cancel) = (world.tracker.clone(), world.cancel.clone());
        world.tracker.spawn(door.serve(listener, tracker.clone(), cancel.clone()));
        let (notes, closing) = (Arc::new(|| vec!["a thing to look at".to_owned()]), CancellationToken::new());
        let supervised = Health { exchange, notes, closing: closing.clone(), routes: axum::Router::new() };
        world.tracker.spawn(supervised.serve(health, tracker, cancel));
        Self { world, at, health_at, closing }
    }

    pub(crate) async fn connect(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    pub(crate) async fn client_with(&self, certificate: &Certificate) -> TlsStream<TcpStream> {
        self.connect(self.world.authority.client(Some(certificate))).await.unwrap()
    }

    pub(crate) async fn client(&self, system: &'static str) -> TlsStream<TcpStream> {
        self.client_with(&self.world.authority.issue(&Claim::of(system))).await
    }

    pub(crate) async fn get(&self, system: &'static str, path: &str) -> Answer {
        self.request(system, "GET", path, "").await
    }

    pub(crate) async fn post(&self, system: &'static str, path: &str, body: &str) -> Answer {
        self.request(system, "POST", path, body).await
    }

    pub(crate) async fn request(&self, system: &'static str, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = self.client(system).await;
        exchange(&mut stream, method, path, body).await
    }
}

/// One request on a connection, which ends with its answer.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A door that has said no already takes no body.
    stream.write_all(body.as_bytes()).await.ok();
    stream.flush().await.ok();
    let mut read = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut read)).await.expect("in time").ok();
    Answer::parse(&String::from_utf8(read).unwrap())
}
