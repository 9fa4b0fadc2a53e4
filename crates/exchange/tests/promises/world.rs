//! An exchange on record stores in memory, with the demonstration's directory.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shuniu_archive::{
    AuditLog, AuditOptions, LogReader, MemoryCheckpoints, Sequencer, SequencerOptions, TileFolder,
};
use shuniu_broker::memory::MemoryUpstream;
use shuniu_broker::{NodeId, Upstream};
use shuniu_exchange::apply::{Context, DirectoryFile};
use shuniu_exchange::{
    Caller, Exchange, KeyRing, KeyUnavailable, Parts, PolicyWatch, Recorded, Session, Settings, Trust,
};
use shuniu_ledger::note::NoteSigner;
use shuniu_ledger::{BootId, Draft, Entry, SubjectKey, Suite};
use shuniu_model::{Clock, SystemId, Timestamp};
use shuniu_store::{Change, Store};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression, Scratch, batches};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::fetch_response::PartitionData;
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::produce_response::PartitionProduceResponse;
use shuniu_wire::messages::{FetchRequest, FetchResponse, ProduceRequest, StrBytes, TopicName};
use shuniu_wire::{ApiKey, Response, decode_response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const FETCH_VERSION: i16 = 12;

pub(crate) struct Keys;

impl KeyRing for Keys {
    fn pseudonym_master(&self, _version: u32) -> Result<[u8; 32], KeyUnavailable> {
        Ok([5; 32])
    }

    fn subjects_of(&self, year: u16) -> Result<SubjectKey, KeyUnavailable> {
        Ok(SubjectKey::new(year, &[9; 32]))
    }
}

struct Everybody;

impl Trust for Everybody {
    fn believes(&self, _chain: &[Vec<u8>], _now: Timestamp) -> bool {
        true
    }
}

pub(crate) struct World {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) records: Arc<MemoryUpstream>,
    pub(crate) audit: Arc<MemoryUpstream>,
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

pub(crate) fn clock() -> Clock {
    Arc::new(|| Timestamp::from_micros(1_800_000_000_000_000))
}

/// A delivered record: offset, key, value and header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<String>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default(), clock(), |text| text).await
    }

    /// A world with other settings, at other times, or with another directory.
    pub(crate) async fn start_with(
        settings: Settings,
        clock: Clock,
        edit: impl Fn(String) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("directory.db")).await.unwrap();
        apply(&store, edit).await;
        let (records, audit) = (Arc::new(MemoryUpstream::new(NODE)), Arc::new(MemoryUpstream::new(NODE)));
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let options = AuditOptions {
            boot: BootId([1; 16]),
            suite: Suite::default(),
            append_max: Duration::from_secs(2),
            refusals_merged: Duration::from_secs(10),
            spool: folder.path().join("refusals.spool"),
            spool_bytes_max: 1 << 20,
            replication: 1,
        };
        let audit_upstream: Arc<dyn Upstream> = Arc::clone(&audit) as _;
        let log =
            AuditLog::start(audit_upstream, options, clock.clone(), &tracker, cancel.clone()).await.unwrap();
        let policy = PolicyWatch::start(store.clone(), clock, &tracker, cancel.clone()).await.unwrap();
        let parts = Parts {
            upstream: Arc::clone(&records) as _,
            store: store.clone(),
            policy,
            trusted: watch::channel(Arc::new(Everybody) as Arc<dyn Trust>).1,
            audit: log,
            keys: Arc::new(Keys),
            settings,
            replication: 1,
            closing: cancel.clone(),
        };
        let exchange = Exchange::start(parts, &tracker, &cancel);
        let world = Self { exchange, records, audit, store, _folder: folder };
        world.until_topics_are_there().await;
        world
    }

    async fn until_topics_are_there(&self) {
        for _ in 0..200 {
            let facts = self.store.facts().await.unwrap();
            let made = facts.resources.iter().all(|resource| resource.topic_id.is_some());
            // The exchange follows the policy every 250 ms: it knows the topics when its registry does.
            if made
                && !self
                    .exchange
                    .registry(&caller("population-register"))
                    .await
                    .unwrap()
                    .subjects()
                    .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(300)).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("topics were not made");
    }

    pub(crate) async fn session(&self, system: &str) -> Session {
        self.exchange.session(caller(system), NODE).await.unwrap()
    }

    /// Publishes records to partition 0 of a resource.
    pub(crate) async fn publish(
        &self,
        system: &str,
        resource: &str,
        records: &[Built],
    ) -> PartitionProduceResponse {
        self.publish_bytes(system, resource, batch(records)).await
    }

    pub(crate) async fn publish_bytes(
        &self,
        system: &str,
        resource: &str,
        bytes: Bytes,
    ) -> PartitionProduceResponse {
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic(resource))
                .with_partition_data(vec![PartitionProduceData::default().with_records(Some(bytes))]),
        ]);
        let response = self.session(system).await.produce(request).await.unwrap();
        response.responses[0].partition_responses[0].clone()
    }

    /// The schema id that a system's records of a resource carry.
    pub(crate) async fn schema_id(&self, system: &str, resource: &str) -> u32 {
        let registry = self.exchange.registry(&caller(system)).await.unwrap();
        registry.versions(&format!("{resource}-value")).last().unwrap().id
    }

    pub(crate) async fn fetch(
        &self,
        system: &str,
        resource: &str,
        offset: i64,
        wait_ms: i32,
    ) -> PartitionData {
        fetch(&self.session(system).await, resource, offset, wait_ms).await
    }

    pub(crate) async fn read(&self, system: &str, resource: &str) -> Vec<Seen> {
        let data = self.fetch(system, resource, 0, 0).await;
        assert_eq!(data.error_code, 0);
        seen(&data)
    }

    /// Every entry on the audit topic.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for bytes in self.audit.stored("shuniu.audit", 0) {
            for batch in batches(&bytes).map(Result::unwrap) {
                let mut scratch = Scratch::default();
                for record in batch.records(&mut scratch, 64 << 20).unwrap().map(Result::unwrap) {
                    entries.push(Entry::from_leaf(record.value.unwrap()).unwrap());
                }
            }
        }
        entries
    }

    /// Appends records to partition 0 behind the exchange's back.
    pub(crate) async fn append_unrecorded(&self, resource: &str, records: &[Built]) {
        self.append_bytes_unrecorded(resource, batch(records)).await;
    }

    pub(crate) async fn append_bytes_unrecorded(&self, resource: &str, bytes: Bytes) {
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic(resource))
                .with_partition_data(vec![PartitionProduceData::default().with_records(Some(bytes))]),
        ]);
        self.records.connect(NODE).await.unwrap().call(request.into()).await.unwrap();
    }

    /// The whole audit topic, sequenced into a folder.
    pub(crate) async fn sequenced(&self, folder: &Path) -> LogReader {
        let signer =
            Arc::new(NoteSigner::new(Suite::default(), &Suite::default().origin("log"), &[3; 32]).unwrap());
        let tiles = folder.join(self.entries().len().to_string());
        let sequencer = Sequencer::new(
            Arc::clone(&self.audit) as _,
            Arc::new(MemoryCheckpoints::default()),
            Arc::new(TileFolder::create(&tiles).unwrap()),
            Arc::clone(&signer),
            SequencerOptions::default(),
        );
        let mut state = sequencer.state();
        let cancel = CancellationToken::new();
        let running = TaskTracker::new().spawn(sequencer.run(cancel.clone()));
        let entries = i64::try_from(self.entries().len()).unwrap();
        state.wait_for(|state| state.next_offset >= entries).await.unwrap();
        cancel.cancel();
        running.await.unwrap().unwrap();
        LogReader::open(TileFolder::open(&tiles), signer.verifier().clone()).unwrap()
    }

    pub(crate) fn drafts(&self, action: shuniu_ledger::Action) -> Vec<Draft> {
        self.entries().into_iter().map(|entry| entry.draft).filter(|draft| draft.action == action).collect()
    }

    /// Applies the directory file, changed, and gives the time for the exchange to follow.
    pub(crate) async fn change(&self, edit: impl Fn(String) -> String) {
        apply(&self.store, edit).await;
    }

    pub(crate) async fn revoke_certificate(&self, serial: &str) {
        let change = Change::RevokeCertificate { serial: serial.into(), reason: "lost".into() };
        self.store.write(&[change], &[]).await.unwrap();
    }
}

pub(crate) async fn fetch(session: &Session, resource: &str, offset: i64, wait_ms: i32) -> PartitionData {
    fetch_all(session, &[(resource, offset)], wait_ms).await.responses[0].partitions[0].clone()
}

/// Fetches the first partitions of topics, each from an offset on.
pub(crate) fn fetch_request(topics: &[(&str, i64)], wait_ms: i32) -> FetchRequest {
    let topics = topics.iter().map(|(resource, offset)| {
        FetchTopic::default().with_topic(topic(resource)).with_partitions(vec![
            FetchPartition::default().with_fetch_offset(*offset).with_partition_max_bytes(1 << 20),
        ])
    });
    FetchRequest::default().with_max_wait_ms(wait_ms).with_min_bytes(1).with_topics(topics.collect())
}

pub(crate) async fn fetch_all(session: &Session, topics: &[(&str, i64)], wait_ms: i32) -> FetchResponse {
    let recorded = session.fetch(fetch_request(topics, wait_ms), FETCH_VERSION, 7, &|_| None).await.unwrap();
    taken(recorded).await
}

/// What a client reads of an answer.
pub(crate) async fn taken(mut recorded: Recorded) -> FetchResponse {
    let mut frame = Vec::new();
    while let Some(chunk) = recorded.next_chunk().await.unwrap() {
        frame.extend_from_slice(&chunk);
    }
    let frame = Bytes::from(frame).slice(4..);
    let (correlation_id, response) = decode_response(ApiKey::Fetch, FETCH_VERSION, frame).unwrap();
    assert_eq!(correlation_id, 7);
    let Response::Fetch(response) = response else { panic!("not a fetch response") };
    response
}

pub(crate) fn seen(data: &PartitionData) -> Vec<Seen> {
    let mut seen = Vec::new();
    let records = data.records.clone().unwrap_or_default();
    for batch in batches(&records).map(Result::unwrap).filter(|batch| !batch.header().is_control()) {
        let mut scratch = Scratch::default();
        for record in batch.records(&mut scratch, 64 << 20).unwrap().map(Result::unwrap) {
            seen.push(Seen {
                offset: record.offset,
                key: String::from_utf8(record.key.unwrap().to_vec()).unwrap(),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(|h| String::from_utf8(h.name.to_vec()).unwrap()).collect(),
            });
        }
    }
    seen
}

pub(crate) fn caller(system: &str) -> Caller {
    let source: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    let ends_at = Timestamp::from_micros(i64::MAX);
    Caller {
        system: SystemId::parse(system).unwrap(),
        certificate: format!("{:x}", system.len()),
        ends_at,
        chain: Arc::default(),
        source,
    }
}

fn topic(resource: &str) -> TopicName {
    TopicName(StrBytes::from_string(resource.to_owned()))
}

async fn apply(store: &Store, edit: impl Fn(String) -> String) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let text = edit(std::fs::read_to_string(root.join("config/directory.toml")).unwrap());
    let file =
        DirectoryFile::parse(&text, |path| std::fs::read_to_string(root.join("config").join(path))).unwrap();
    let facts = store.facts().await.unwrap();
    let context = Context { facts: &facts, keys: &Keys, time_zone: "Asia/Shanghai", now: clock()() };
    // In force already at the test's clock.
    file.changes(&context).unwrap().apply(store, "wang").await.unwrap();
}

/// A record to publish.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn batch(records: &[Built]) -> Bytes {
    batch_in(Compression::Lz4, records)
}

pub(crate) fn batch_in(codec: Compression, records: &[Built]) -> Bytes {
    built(BatchBuilder::new(codec), records)
}

/// A batch of an idempotent producer: its id, its epoch, and the sequence of the first record.
pub(crate) fn batch_of((id, epoch, sequence): (i64, i16, i32), records: &[Built]) -> Bytes {
    built(BatchBuilder::new(Compression::Lz4).producer(id, epoch, sequence), records)
}

fn built(mut builder: BatchBuilder, records: &[Built]) -> Bytes {
    for record in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_slice(), Some(value.as_slice()))).collect();
        builder.push(&BuiltRecord {
            timestamp: 1_800_000_000_000,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build().unwrap()
}

/// One record again and again, each time of another time.
pub(crate) fn batch_at(times: &[i64], record: &Built) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        record.headers.iter().map(|(name, value)| (name.as_slice(), Some(value.as_slice()))).collect();
    for timestamp in times {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(&BuiltRecord { timestamp: *timestamp, key, value, headers: &headers });
    }
    builder.build().unwrap()
}

/// A person's row, framed: number, name, district; every other item null.
pub(crate) fn person(schema: u32, id_no: &str, name: &str, live_division: Option<&str>) -> Vec<u8> {
    fn put(text: &str, out: &mut Vec<u8>) {
        // Lengths below 64 take one byte, zigzag.
        out.push(u8::try_from(text.len() * 2).unwrap());
        out.extend_from_slice(text.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(&schema.to_be_bytes());
    put(id_no, &mut out);
    put(name, &mut out);
    // former_name, sex, ethnic, birth_date, birth_place, native_place, hukou_division, hukou_addr
    out.extend_from_slice(&[0; 8]);
    match live_division {
        None => out.push(0),
        Some(code) => {
            out.push(2);
            put(code, &mut out);
        }
    }
    // live_addr to guardian_id_no
    out.extend_from_slice(&[0; 9]);
    out
}

/// A valid citizen number, the `n`th.
pub(crate) fn citizen(n: u32) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!("50010319900101{n:03}");
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{body}{}", char::from(b"10X98765432"[(sum % 11) as usize]))
}

/// A new or changed row, as its publishing system sends it.
pub(crate) fn put(key: &str, value: Vec<u8>, before: Vec<u8>) -> Built {
    Built {
        key: Some(key.as_bytes().to_vec()),
        value: Some(value),
        headers: vec![(b"before".to_vec(), before), (b"batch".to_vec(), b"7".to_vec())],
    }
}

/// A deletion.
pub(crate) fn deletion(key: &str, before: Vec<u8>) -> Built {
    Built { key: Some(key.as_bytes().to_vec()), value: None, headers: vec![(b"before".to_vec(), before)] }
}
