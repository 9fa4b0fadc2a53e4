//! A Kafka client that sends exactly what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shuniu_broker::NodeId;
use shuniu_gateway::{Broker, Door, Options};
use shuniu_wire::{ApiKey, Request, Response, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Certificate, Claim, World};

/// Nothing in these tests takes longer.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A world with its Kafka door open.
pub(crate) struct Open {
    pub(crate) world: World,
    pub(crate) at: SocketAddr,
}

impl Open {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await, |_| {}).await
    }

    pub(crate) async fn of(world: World, adjust: impl FnOnce(&mut Options)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let broker = Broker { host: "localhost".to_owned(), port: at.port() };
        let mut options = Options { brokers: [(NodeId(1), broker)].into(), ..Options::default() };
        adjust(&mut options);
        let door = Door {
            tls: watch::channel(world.authority.server()).1,
            exchange: Arc::clone(&world.exchange),
            options: watch::channel(Arc::new(options)).1,
        };
        world.tracker.spawn(door.serve(
            vec![(NodeId(1), listener)],
            world.tracker.clone(),
            world.cancel.clone(),
        ));
        Self { world, at }
    }

    pub(crate) async fn client(&self, system: &'static str) -> Client {
        let certificate = self.world.authority.issue(&Claim::of(system));
        self.client_with(&certificate).await
    }

    pub(crate) async fn client_with(&self, certificate: &Certificate) -> Client {
        let config = self.world.authority.client(Some(certificate));
        Client::connect(self.at, config).await.unwrap()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    correlation: i32,
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self { stream, correlation: 0 })
    }

    /// Asks, and takes the answer.
    pub(crate) async fn ask<A: TryFrom<Response>>(&mut self, version: i16, request: impl Into<Request>) -> A {
        let (api, id) = self.send(version, request).await;
        self.answer(api, version, id).await
    }

    /// Sends without waiting for the answer.
    pub(crate) async fn send(&mut self, version: i16, request: impl Into<Request>) -> (ApiKey, i32) {
        let request = request.into();
        self.correlation += 1;
        let frame = encode_request(version, self.correlation, "test", &request).unwrap();
        self.send_bytes(&frame).await;
        (request.api(), self.correlation)
    }

    pub(crate) async fn answer<A: TryFrom<Response>>(&mut self, api: ApiKey, version: i16, id: i32) -> A {
        let frame = self.frame().await.expect("an answer");
        let (correlation, response) = decode_response(api, version, frame).unwrap();
        assert_eq!(correlation, id, "answers come in order");
        A::try_from(response).ok().expect("an answer of the API that was asked")
    }

    /// The next frame; the error when the connection ends before it does.
    pub(crate) async fn frame(&mut self) -> std::io::Result<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await?;
            let mut frame = BytesMut::zeroed(usize::try_from(length).unwrap());
            self.stream.read_exact(&mut frame).await?;
            Ok(frame.freeze())
        };
        tokio::time::timeout(LONG, read).await.expect("in time")
    }

    /// Sends bytes as they are, with a length before them.
    pub(crate) async fn send_frame(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).unwrap();
        self.send_bytes(&[&length.to_be_bytes(), frame].concat()).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        // TLS keeps what the socket does not take at once.
        self.stream.flush().await.unwrap();
    }

    /// Waits for the end of the connection; panics when bytes come instead.
    pub(crate) async fn ends(&mut self) {
        let mut byte = [0];
        match tokio::time::timeout(LONG, self.stream.read(&mut byte)).await.expect("the connection ends") {
            Ok(0) | Err(_) => {}
            Ok(_) => panic!("the connection goes on"),
        }
    }
}
