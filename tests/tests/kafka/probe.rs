//! A client of one hub alone, past the relay before the hubs: fetches all the time, and notes when what arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use shuniu_tests::Replicas;
use shuniu_wire::batch::{Scratch, batches};
use shuniu_wire::messages as m;
use shuniu_wire::messages::{ResponseError, StrBytes, TopicName};
use shuniu_wire::{Request, Response, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const METADATA: i16 = 9;
/// The last version that says topics by name.
const FETCH: i16 = 12;
const FETCH_WAIT_MS: i32 = 200;
/// Longer than any fetch waits; a hub that hangs is left.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// A record that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) at: SystemTime,
}

/// What one hub gave.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Everything, in the order of its arrival.
    pub(crate) seen: Vec<Seen>,
    /// When a fetch was refused last, for want of a grant.
    pub(crate) refused: Option<SystemTime>,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
}

/// A probe of one hub.
#[derive(Clone)]
pub(crate) struct Probe(Arc<Mutex<Notes>>);

impl Probe {
    /// Begins to fetch `population` from a hub in a system's name, for as long as the runtime is there.
    pub(crate) fn start(runtime: &Handle, replicas: &Replicas, hub: usize, system: &str) -> Self {
        let (certificate, key, authority) = replicas.operator.certificate(system);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<_, _>>().unwrap();
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                .unwrap();
        let tls = TlsConnector::from(Arc::new(tls));
        let notes = Arc::new(Mutex::new(Notes::default()));
        for (node, port) in replicas.doors() {
            let (notes, tls) = (Arc::clone(&notes), tls.clone());
            let address = SocketAddr::from((replicas.hub(hub).address(), port));
            runtime.spawn(async move {
                loop {
                    // Whatever ends a connection, the next one goes on where it was.
                    fetch_all(address, node, &tls, &notes).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self(notes)
    }

    /// Looks at what was noted so far.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut Notes) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }
}

async fn fetch_all(address: SocketAddr, node: i32, tls: &TlsConnector, notes: &Mutex<Notes>) -> Option<()> {
    let stream = tokio::time::timeout(ANSWER_MAX, TcpStream::connect(address)).await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = tokio::time::timeout(ANSWER_MAX, tls.connect(name, stream)).await.ok()?.ok()?;
    loop {
        let partitions = led_by(&mut stream, node).await?;
        // Leaders move: asked for again from time to time, and whenever a fetch says so.
        for _ in 0..20 {
            if partitions.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            let response = ask(&mut stream, FETCH, fetch(&partitions, notes).into()).await?;
            let at = SystemTime::now();
            let Response::Fetch(response) = response else { return None };
            if !note(&response, notes, at)? {
                tokio::time::sleep(PAUSE).await;
                break;
            }
        }
    }
}

/// The partitions that the virtual broker leads.
async fn led_by(stream: &mut TlsStream<TcpStream>, node: i32) -> Option<Vec<i32>> {
    let topic = m::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("population"))));
    let request =
        m::MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    let Response::Metadata(response) = ask(stream, METADATA, request.into()).await? else { return None };
    let partitions = &response.topics.first()?.partitions;
    Some(partitions.iter().filter(|it| it.leader_id.0 == node).map(|it| it.partition_index).collect())
}

fn fetch(partitions: &[i32], notes: &Mutex<Notes>) -> m::FetchRequest {
    use m::fetch_request::{FetchPartition, FetchTopic};
    let notes = notes.lock().unwrap();
    let partitions = partitions.iter().map(|partition| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(notes.next.get(partition).copied().unwrap_or(0))
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("population")))
        .with_partitions(partitions.collect());
    m::FetchRequest::default()
        .with_max_wait_ms(FETCH_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Notes what arrived; whether the fetch was answered as it should be.
fn note(response: &m::FetchResponse, notes: &Mutex<Notes>, at: SystemTime) -> Option<bool> {
    let mut notes = notes.lock().unwrap();
    let mut good = response.error_code == 0;
    let mut scratch = Scratch::default();
    for answer in response.responses.iter().flat_map(|topic| &topic.partitions) {
        good &= answer.error_code == 0;
        if ResponseError::try_from_code(answer.error_code) == Some(ResponseError::TopicAuthorizationFailed) {
            notes.refused = Some(at);
        }
        let Some(records) = &answer.records else { continue };
        for batch in batches(records) {
            let batch = batch.ok()?;
            if !batch.header().is_control() {
                for record in batch.records(&mut scratch, DECOMPRESSED_BYTES_MAX).ok()? {
                    let record = record.ok()?;
                    let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
                    let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
                    let (partition, offset) = (answer.partition_index, record.offset);
                    notes.seen.push(Seen { partition, offset, key, value, at });
                }
            }
            let next = notes.next.entry(answer.partition_index).or_default();
            *next = (*next).max(batch.header().last_offset() + 1);
        }
    }
    Some(good)
}

async fn ask(stream: &mut TlsStream<TcpStream>, version: i16, request: Request) -> Option<Response> {
    let api = request.api();
    let frame = encode_request(version, 1, "probe", &request).unwrap();
    let asked = async {
        stream.write_all(&frame).await.ok()?;
        stream.flush().await.ok()?;
        let length = usize::try_from(stream.read_u32().await.ok()?).ok()?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.ok()?;
        Some(Bytes::from(answer))
    };
    let answer = tokio::time::timeout(ANSWER_MAX, asked).await.ok()??;
    decode_response(api, version, answer).ok().map(|(_, response)| response)
}
