//! A tap between clients and a hub: passes every byte on, and notes what each client's fetches ask for.
//!
//! It has the hub's certificate towards clients, and towards the hub the certificate of the system that knocked.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shuniu_tests::Hub;
use shuniu_wire::{ApiKey, Request, decode_request, request_header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What fetches ask for, in order: the largest `partition_max_bytes` of each, by client id.
type Asked = Arc<Mutex<BTreeMap<String, Vec<i32>>>>;

pub(crate) struct Tap {
    port: u16,
    asked: Asked,
    /// Its tasks end with it.
    _runtime: Runtime,
}

impl Tap {
    pub(crate) fn start(hub: &Hub, systems: &[&str]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ca = hub.folder().join("ca");
        let mut authority = RootCertStore::empty();
        authority.add(CertificateDer::from_pem_file(ca.join("ca.pem")).unwrap()).unwrap();
        let authority = Arc::new(authority);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authority), Arc::clone(&provider));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain(&ca.join("hub.pem")), key(&ca.join("hub.key")))
            .unwrap();
        let towards = systems
            .iter()
            .map(|system| {
                let (certificate, own, _) = hub.certificate(system);
                let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                    .with_protocol_versions(&[&rustls::version::TLS13])
                    .unwrap()
                    .with_root_certificates(Arc::clone(&authority))
                    .with_client_auth_cert(chain(&certificate), key(&own))
                    .unwrap();
                (chain(&certificate)[0].as_ref().to_vec(), TlsConnector::from(Arc::new(config)))
            })
            .collect::<Vec<_>>();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Asked::default();
        let (door, notes, hub_port) =
            (TlsAcceptor::from(Arc::new(server)), Arc::clone(&asked), hub.kafka_port());
        let towards = Arc::new(towards);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (door, notes, towards) = (door.clone(), Arc::clone(&notes), Arc::clone(&towards));
                // A connection that breaks off is its client's or the hub's doing: both notice it themselves.
                tokio::spawn(async move { pass(stream, &door, &towards, hub_port, &notes).await.ok() });
            }
        });
        Self { port, asked, _runtime: runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the fetches of a client asked for, in order.
    pub(crate) fn asked(&self, client_id: &str) -> Vec<i32> {
        self.asked.lock().unwrap().get(client_id).cloned().unwrap_or_default()
    }
}

async fn pass(
    stream: TcpStream,
    door: &TlsAcceptor,
    towards: &[(Vec<u8>, TlsConnector)],
    hub_port: u16,
    asked: &Asked,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let client = door.accept(stream).await?;
    let certificate = client.get_ref().1.peer_certificates().and_then(|it| it.first()).cloned();
    let known = towards.iter().find(|(own, _)| certificate.as_ref().is_some_and(|it| it.as_ref() == own));
    let Some((_, connector)) = known else {
        return Err(io::Error::other("a system that the tap does not know"));
    };
    let hub = TcpStream::connect(("127.0.0.1", hub_port)).await?;
    hub.set_nodelay(true)?;
    let hub = connector.connect(ServerName::try_from("localhost").map_err(io::Error::other)?, hub).await?;
    let ((from_client, mut to_client), (mut from_hub, to_hub)) =
        (tokio::io::split(client), tokio::io::split(hub));
    tokio::select! {
        done = requests(from_client, to_hub, asked) => done,
        done = tokio::io::copy(&mut from_hub, &mut to_client) => done.map(drop),
    }
}

async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    asked: &Asked,
) -> io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        from.read_exact(&mut frame).await?;
        to.write_u32(length).await?;
        to.write_all(&frame).await?;
        to.flush().await?;
        note(Bytes::from(frame), asked);
    }
}

fn note(mut frame: Bytes, asked: &Asked) {
    let Ok(header) = request_header(&mut frame) else { return };
    if header.api_key != ApiKey::Fetch as i16 {
        return;
    }
    let Ok(Request::Fetch(fetch)) = decode_request(&header, frame) else { return };
    let partitions = fetch.topics.iter().flat_map(|topic| &topic.partitions);
    let Some(largest) = partitions.map(|it| it.partition_max_bytes).max() else { return };
    asked.lock().unwrap().entry(header.client_id.unwrap_or_default()).or_default().push(largest);
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().collect::<Result<_, _>>().unwrap()
}

fn key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}
