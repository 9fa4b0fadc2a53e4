//! An exchange on the engine, with a directory, and certificates to come with. The tests of both doors share this file.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    SerialNumber,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shuniu_archive::{AuditLog, AuditOptions};
use shuniu_broker::{BoxFuture, Connection, Node, NodeId, Upstream, UpstreamError};
use shuniu_engine::{Engine, EngineConfig};
use shuniu_exchange::apply::{Context, DirectoryFile};
use shuniu_exchange::{Exchange, KeyRing, KeyUnavailable, Parts, PolicyWatch, Settings, Trust};
use shuniu_ledger::{BootId, Entry, SubjectKey, Suite};
use shuniu_model::{Clock, GrantId, GrantState, Timestamp};
use shuniu_store::{Change, Store};
use shuniu_wire::batch::{Scratch, batches};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::{FetchRequest, FetchResponse, StrBytes, TopicName};
use shuniu_wire::{ApiKey, Request, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The schema of both resources.
pub(crate) const SCHEMA: &str = r#"{"type":"record","name":"Shop","namespace":"shuniu","fields":[
    {"name":"id","type":"string","title_zh":"编号","data_type":"C","length":40,"level":1,"sharing":"conditional"},
    {"name":"name","type":"string","title_zh":"名称","data_type":"C","length":2000000,"level":1,"sharing":"conditional"},
    {"name":"owner","type":["null","string"],"default":null,"title_zh":"业主","data_type":"C","length":40,"level":2,"sharing":"conditional"}
]}"#;

/// Where the hub's clock stands when a world begins, in microseconds. It is far ahead of TLS's clock, which is the
/// machine's, so that a certificate can end for the one and be good for the other.
const BEGIN_MICROS: i64 = 2_840_000_000_000_000;

struct Keys;

impl KeyRing for Keys {
    fn pseudonym_master(&self, version: u32) -> Result<[u8; 32], KeyUnavailable> {
        Ok([u8::try_from(version).unwrap(); 32])
    }

    fn subjects_of(&self, year: u16) -> Result<SubjectKey, KeyUnavailable> {
        Ok(SubjectKey::new(year, &[9; 32]))
    }
}

/// Everything behind a door.
pub(crate) struct World {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) store: Store,
    pub(crate) authority: Authority,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
    /// Whose certificates are believed.
    pub(crate) trust: watch::Sender<Arc<dyn Trust>>,
    engine: Arc<Engine>,
    /// Requests of the exchange to its record store.
    calls: Arc<AtomicUsize>,
    /// The engine ends after all others: the audit log's last entries go to it.
    engine_tracker: TaskTracker,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), "").await
    }

    /// A world whose directory also has what `more` says.
    pub(crate) async fn with(settings: Settings, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let begin = Instant::now();
        let clock: Clock = Arc::new(move || {
            let micros = i64::try_from(begin.elapsed().as_micros()).unwrap();
            Timestamp::from_micros(BEGIN_MICROS + micros)
        });
        let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
        let text = format!("{}{more}", include_str!("directory.toml"));
        let read = |_: &str| -> io::Result<String> { Ok(SCHEMA.to_owned()) };
        let file = DirectoryFile::parse(&text, read).map_err(|error| error.to_string()).unwrap();
        let facts = store.facts().await.unwrap();
        let context = Context { facts: &facts, keys: &Keys, time_zone: "UTC", now: clock() };
        let changes = file.changes(&context).map_err(|error| error.to_string()).unwrap();
        changes.apply(&store, "test").await.unwrap();

        let config = EngineConfig::new(folder.path().join("records"));
        let engine_tracker = TaskTracker::new();
        let engine = Engine::open(config, Arc::clone(&clock), engine_tracker.clone()).await.unwrap();
        let engine = Arc::new(engine);
        let audit = AuditOptions {
            boot: BootId([7; 16]),
            suite: Suite::Sha256Ed25519,
            append_max: Duration::from_secs(5),
            refusals_merged: Duration::from_millis(50),
            spool: folder.path().join("refusals"),
            spool_bytes_max: 1 << 20,
            replication: 1,
        };
        let upstream = Arc::clone(&engine);
        let audit =
            AuditLog::start(upstream, audit, Arc::clone(&clock), &tracker, cancel.clone()).await.unwrap();
        let policy = PolicyWatch::start(store.clone(), clock, &tracker, cancel.clone()).await.unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let (trust, trusted) = watch::channel(Arc::new(Believes(true)) as Arc<dyn Trust>);
        let parts = Parts {
            upstream: Arc::new(Counted(Arc::clone(&engine) as _, Arc::clone(&calls))),
            store: store.clone(),
            policy,
            trusted,
            audit,
            keys: Arc::new(Keys),
            settings,
            replication: 1,
            closing: cancel.clone(),
        };
        let exchange = Exchange::start(parts, &tracker, &cancel);
        let authority = Authority::new();
        let world = Self {
            exchange,
            store,
            authority,
            trust,
            tracker,
            cancel,
            engine,
            calls,
            engine_tracker,
            folder,
        };
        world.topics_made().await;
        world
    }

    async fn topics_made(&self) {
        while self.store.facts().await.unwrap().resources.iter().any(|it| it.topic_id.is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Until the hub has seen it: the first poll of the policy may have begun before.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }

    /// How many requests have reached the record store.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many entries of an action stand on the audit log's topic.
    pub(crate) async fn audit_entries(&self, action: &str) -> usize {
        let connection = self.engine.connect(shuniu_engine::NODE).await.unwrap();
        let topic = TopicName(StrBytes::from_static_str(shuniu_archive::AUDIT_TOPIC));
        let partition = FetchPartition::default().with_partition_max_bytes(64 << 20);
        let request = FetchRequest::default()
            .with_max_bytes(64 << 20)
            .with_topics(vec![FetchTopic::default().with_topic(topic).with_partitions(vec![partition])]);
        let response = FetchResponse::try_from(connection.call(request.into()).await.unwrap()).unwrap();
        let records = response.responses[0].partitions[0].records.clone().unwrap_or_default();
        let mut found = 0;
        for batch in batches(&records) {
            for record in batch.unwrap().records(&mut Scratch::default(), 1 << 26).unwrap() {
                let entry = Entry::from_leaf(record.unwrap().value.unwrap()).unwrap();
                found += usize::from(entry.draft.action.as_str() == action);
            }
        }
        found
    }

    pub(crate) async fn revoke_grant(&self, id: &str) {
        let change = Change::GrantState { id: GrantId::parse(id).unwrap(), state: GrantState::Revoked };
        self.store.write(&[change], &[]).await.unwrap();
    }

    pub(crate) async fn revoke_certificate(&self, serial: &str) {
        let change = Change::RevokeCertificate { serial: serial.to_owned(), reason: "test".to_owned() };
        self.store.write(&[change], &[]).await.unwrap();
    }

    /// Ends everything in order.
    pub(crate) async fn close(self) {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(Duration::from_secs(20), self.tracker.wait()).await.expect("every task ends");
        self.engine.close().await;
        self.engine_tracker.close();
        tokio::time::timeout(Duration::from_secs(20), self.engine_tracker.wait())
            .await
            .expect("the engine ends");
        drop(self.folder);
    }
}

/// A record store, or a connection to it, whose requests are counted.
struct Counted<T: ?Sized>(Arc<T>, Arc<AtomicUsize>);

impl Upstream for Counted<dyn Upstream> {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, UpstreamError>> {
        self.0.nodes()
    }

    fn connect(&self, node: NodeId) -> BoxFuture<'_, Result<Arc<dyn Connection>, UpstreamError>> {
        Box::pin(async move {
            let connection = self.0.connect(node).await?;
            Ok(Arc::new(Counted(connection, Arc::clone(&self.1))) as Arc<dyn Connection>)
        })
    }
}

impl Connection for Counted<dyn Connection> {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, UpstreamError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.call(request)
    }

    fn has(&self, api: ApiKey) -> bool {
        self.0.has(api)
    }
}

/// The hub's second, counted from 1970.
pub(crate) fn second_after_begin(seconds: u64) -> u64 {
    u64::try_from(BEGIN_MICROS / 1_000_000).unwrap() + seconds
}

/// Instants as the directory writes them, counted from the world's begin.
pub(crate) fn seconds_after_begin(seconds: i64) -> String {
    Timestamp::from_micros(BEGIN_MICROS + seconds * 1_000_000).to_string()
}

/// A certificate with its key.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
    pub(crate) serial: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

/// What a client's certificate says; a good one by default.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) name: &'static str,
    pub(crate) uri: Option<String>,
    /// `None` for a certificate that states no purpose.
    pub(crate) usage: Option<ExtendedKeyUsagePurpose>,
    /// The last second in which it is good, counted from 1970; `None` for long after the tests.
    pub(crate) last_second: Option<u64>,
}

impl Claim {
    pub(crate) fn of(name: &'static str) -> Self {
        let uri = Some(format!("urn:shuniu:system:{name}"));
        Self { name, uri, usage: Some(ExtendedKeyUsagePurpose::ClientAuth), last_second: None }
    }
}

/// Whether anybody is believed.
pub(crate) struct Believes(pub(crate) bool);

impl Trust for Believes {
    fn believes(&self, chain: &[Vec<u8>], _now: Timestamp) -> bool {
        assert!(!chain.is_empty());
        self.0
    }
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let made = params.self_signed(&key).unwrap();
        let (pem, der) = (made.pem(), made.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    pub(crate) fn issue(&self, claim: &Claim) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, claim.name);
        if let Some(uri) = &claim.uri {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        }
        params.extended_key_usages = claim.usage.iter().cloned().collect();
        if let Some(second) = claim.last_second {
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
        }
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut serial = uuid::Uuid::new_v4().into_bytes();
        serial[0] = 0x4a;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let serial = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Certificate { pem: made.pem(), der: made.der().clone(), key, serial }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    /// TLS as a door is given it.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let hub = self.sign(params);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), Arc::clone(&provider))
                .build()
                .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![hub.der.clone()], hub.private())
            .unwrap();
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// TLS as a client of this authority has it.
    pub(crate) fn client(&self, certificate: Option<&Certificate>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots());
        Arc::new(match certificate {
            None => config.with_no_client_auth(),
            Some(it) => config.with_client_auth_cert(vec![it.der.clone()], it.private()).unwrap(),
        })
    }
}

impl Certificate {
    fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}
