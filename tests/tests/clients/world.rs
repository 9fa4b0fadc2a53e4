//! The hubs that all tests share: one with topics of its own for each client and scenario, and one whose single topic
//! holds 100,000 records of which a reader may see one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use shuniu_tests::{Hub, Kafka, citizen, person, repository};
use tempfile::NamedTempFile;

use crate::clients::{CLIENTS, Client};
use crate::program::Program;
use crate::tap::Tap;

/// The publishing system of every topic.
pub(crate) const PUBLISHER: &str = "population-register";
/// The system that the tests' consumers are of.
pub(crate) const READER: &str = "hall-yuzhong";
/// What the filter of the topic `sparse` lets through, and what it does not.
pub(crate) const WITHIN: &str = "500103";
const OUTSIDE: &str = "500105";
/// Records of the topic `sparse`, and the one of them that its reader may see.
const SPARSE: u32 = 100_000;
const MATCH: u32 = 61_803;

/// Topics that each client has for itself.
const OWN: [&str; 7] = ["rows", "codecs", "group", "consumer", "times", "revoked", "refused"];

/// Where the hubs of a world keep their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// The hub's own engine.
    Engine,
    /// Apache Kafka brokers that the tests start.
    Kafka,
}

impl Store {
    pub(crate) const ALL: [Self; 2] = [Self::Engine, Self::Kafka];

    /// As its test names begin.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Engine => "on-engine",
            Self::Kafka => "on-kafka",
        }
    }
}

pub(crate) struct World {
    store: Store,
    place: OnceLock<Place>,
    sparse: OnceLock<Sparse>,
    /// Grants that were revoked.
    revoked: Mutex<BTreeSet<String>>,
}

/// A hub, and its brokers if it has some. The hub ends first.
pub(crate) struct Place {
    hub: Hub,
    kafka: Option<Kafka>,
}

/// A hub behind a tap, with one topic.
pub(crate) struct Sparse {
    place: Place,
    pub(crate) tap: Tap,
    producer: BaseProducer,
    schema: u32,
    next: Mutex<u32>,
}

/// A topic that is being published to.
pub(crate) struct Stream {
    end: Arc<AtomicBool>,
    keys: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Stream {
    /// How many records have been sent so far, at most.
    pub(crate) fn sent(&self) -> usize {
        self.keys.lock().unwrap().len()
    }

    /// Ends it; the keys in the order in which they were sent.
    pub(crate) fn end(self) -> Vec<String> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.keys.lock().unwrap())
    }
}

/// The topic of a client.
pub(crate) fn topic(client: &Client, name: &str) -> String {
    format!("{}-{name}", client.name)
}

fn own_topics() -> Vec<String> {
    CLIENTS.iter().flat_map(|client| OWN.map(|name| topic(client, name))).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Place {
    fn prepare(store: Store, brokers: usize) -> Self {
        let kafka = (store == Store::Kafka).then(|| Kafka::start(brokers));
        let hub = Hub::prepare_on(tempfile::tempdir().unwrap(), kafka.as_ref());
        Self { hub, kafka }
    }

    /// Where the record store keeps a partition's segments; of a cluster, its leader does.
    fn segments(&self, topic: &str, partition: u32) -> PathBuf {
        let name = format!("{topic}-{partition}");
        match &self.kafka {
            Some(kafka) => {
                let leader = kafka.leader(topic, i32::try_from(partition).unwrap()).unwrap();
                kafka.partitions(leader).join(name)
            }
            None => self.hub.folder().join("records/topics").join(name),
        }
    }
}

impl World {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, place: OnceLock::new(), sparse: OnceLock::new(), revoked: Mutex::default() }
    }

    pub(crate) fn store(&self) -> Store {
        self.store
    }

    fn place(&self) -> &Place {
        self.place.get_or_init(|| {
            let mut place = Place::prepare(self.store, 3);
            place.hub.apply(&directory(&BTreeSet::new()));
            place.hub.restart();
            wait_for_topics(&place.hub, &own_topics());
            place
        })
    }

    /// The hub with a topic for each client and scenario.
    pub(crate) fn hub(&self) -> &Hub {
        &self.place().hub
    }

    /// The hub with the topic `sparse`, filled.
    pub(crate) fn sparse(&self) -> &Sparse {
        self.sparse.get_or_init(|| Sparse::start(self.store))
    }

    /// Starts a client's program as a system on a topic of the hub.
    pub(crate) fn run(
        &self,
        client: &'static Client,
        system: &str,
        command: &str,
        topic: &str,
        more: &[&str],
    ) -> Program {
        start(self.hub(), client, system, command, topic, more)
    }

    /// Publishes with the client's own program; what it said of each record.
    pub(crate) fn publish(
        &self,
        client: &'static Client,
        topic: &str,
        records: &[Value],
        codec: &str,
    ) -> Vec<Value> {
        let file = file(records);
        let more = ["--records", file.path().to_str().unwrap(), "--compression", codec];
        self.run(client, PUBLISHER, "publish", topic, &more).finish()
    }

    /// Publishes people by number with the tests' own producer, at a time if there is one.
    pub(crate) fn fill(&self, topic: &str, numbers: std::ops::Range<u32>, at: Option<i64>) -> Vec<String> {
        let hub = self.hub();
        let producer = producer(hub);
        let schema = hub.schema_id(PUBLISHER, topic);
        let keys: Vec<String> = numbers.map(citizen).collect();
        for key in &keys {
            send(&producer, topic, key, &person(schema, key, "张三", WITHIN), at);
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        keys
    }

    /// Publishes people one after the other, from a number on, until told to end.
    pub(crate) fn stream(&self, topic: &str, from: u32) -> Stream {
        let (producer, schema) = (producer(self.hub()), self.hub().schema_id(PUBLISHER, topic));
        let (end, keys) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, sent, topic) = (Arc::clone(&end), Arc::clone(&keys), topic.to_owned());
        let thread = std::thread::spawn(move || {
            for key in (from..).map(citizen) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                sent.lock().unwrap().push(key.clone());
                send(&producer, &topic, &key, &person(schema, &key, "张三", WITHIN), None);
                producer.poll(Duration::from_millis(20));
            }
            producer.flush(Duration::from_secs(60)).unwrap();
        });
        Stream { end, keys, thread }
    }

    /// Revokes the reader's grant of a topic, and waits until the hub must have heard of it.
    pub(crate) fn revoke(&self, topic: &str) {
        let mut revoked = self.revoked.lock().unwrap();
        revoked.insert(topic.to_owned());
        let shown = self.hub().apply(&directory(&revoked));
        assert!(shown.contains(&format!("- grant {topic}: revoked")), "{shown}");
        std::thread::sleep(Duration::from_secs(1));
    }

    /// The codecs of the batches that the record store holds of a topic.
    pub(crate) fn stored_codecs(&self, topic: &str) -> BTreeSet<String> {
        const NAMES: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
        let mut found = BTreeSet::new();
        for partition in 0..2 {
            for file in std::fs::read_dir(self.place().segments(topic, partition)).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|it| it != "log") {
                    continue;
                }
                let bytes = std::fs::read(path).unwrap();
                let mut rest = bytes.as_slice();
                // Base offset (8 bytes), length (4), leader epoch (4), magic (1), checksum (4), attributes (2).
                while rest.len() > 23 {
                    found.insert(NAMES[usize::from(rest[22] & 7)].to_owned());
                    let length = u32::from_be_bytes(rest[8..12].try_into().unwrap());
                    rest = &rest[12 + usize::try_from(length).unwrap()..];
                }
            }
        }
        found
    }

    /// Prints what the hubs logged.
    #[expect(clippy::print_stderr, reason = "for whoever reads why a test failed")]
    pub(crate) fn show_logs(&self) {
        for place in self.place.get().into_iter().chain(self.sparse.get().map(|it| &it.place)) {
            eprintln!("--- the hub's log, on {} ---\n{}", self.store.name(), place.hub.log());
            if let Some(kafka) = &place.kafka {
                for id in kafka.ids() {
                    eprintln!("--- broker {id}'s log ---\n{}", kafka.log(id));
                }
            }
        }
    }
}

impl Sparse {
    fn start(store: Store) -> Self {
        // The tap is one address: of one broker.
        let mut place = Place::prepare(store, 1);
        let hub = &mut place.hub;
        let mut directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
        resource(&mut directory, "sparse", true);
        // gzip is the codec that every client has.
        let filter = format!("codec = \"gzip\"\nfilter = \"live_division == '{WITHIN}'\"");
        grant(&mut directory, "sparse", &filter);
        hub.apply(&directory);
        let tap = Tap::start(hub, &[PUBLISHER, READER]);
        // Clients are told that the broker is where the tap is.
        let config = hub.folder().join("hub.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let own = format!("port = {}\n", hub.kafka_port());
        assert!(text.contains(&own));
        std::fs::write(&config, text.replace(&own, &format!("port = {}\n", tap.port()))).unwrap();
        hub.restart();
        wait_for_topics(hub, &["sparse".to_owned()]);
        let producer = producer(hub);
        let schema = hub.schema_id(PUBLISHER, "sparse");
        let sparse = Self { place, tap, producer, schema, next: Mutex::new(SPARSE) };
        for n in 0..SPARSE {
            sparse.send(n, if n == MATCH { WITHIN } else { OUTSIDE });
        }
        sparse.producer.flush(Duration::from_secs(120)).unwrap();
        sparse
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.place.hub
    }

    fn send(&self, n: u32, division: &str) {
        let key = citizen(n);
        send(&self.producer, "sparse", &key, &person(self.schema, &key, "张三", division), None);
    }

    /// The key of the one record.
    pub(crate) fn found() -> String {
        citizen(MATCH)
    }

    /// Publishes one more record that the reader may see, and behind it in every partition some that it may not.
    pub(crate) fn one_more(&self) -> String {
        let mut next = self.next.lock().unwrap();
        let n = *next;
        self.send(n, WITHIN);
        for behind in 1..=40 {
            self.send(n + behind, OUTSIDE);
        }
        *next += 41;
        self.producer.flush(Duration::from_secs(60)).unwrap();
        citizen(n)
    }
}

/// Waits until the reader finds these topics: the hub makes them after it has begun to serve.
fn wait_for_topics(hub: &Hub, topics: &[String]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let consumer: BaseConsumer = hub.client(READER).create().unwrap();
    let made = || {
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).unwrap();
        let names = metadata.topics().iter().filter(|it| !it.partitions().is_empty()).map(|it| it.name());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        topics.iter().all(|topic| names.contains(topic))
    };
    while !made() {
        assert!(Instant::now() < deadline, "the hub does not make its topics: {}", hub.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts a client's program as a system on a topic of a hub.
pub(crate) fn start(
    hub: &Hub,
    client: &'static Client,
    system: &str,
    command: &str,
    topic: &str,
    more: &[&str],
) -> Program {
    let (certificate, key, authority) = hub.certificate(system);
    let files = [("--ca", authority), ("--cert", certificate), ("--key", key)];
    let mut arguments = vec![command.to_owned()];
    for (name, path) in files {
        arguments.extend([name.to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let texts =
        [("--bootstrap", hub.bootstrap()), ("--registry", hub.registry()), ("--topic", topic.to_owned())];
    for (name, text) in texts {
        arguments.extend([name.to_owned(), text]);
    }
    arguments.extend(more.iter().map(|it| (*it).to_owned()));
    Program::start(client, &arguments)
}

/// A file of records for `publish`.
pub(crate) fn file(records: &[Value]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for record in records {
        writeln!(file, "{record}").unwrap();
    }
    file
}

/// A record for `publish`.
pub(crate) fn record(key: &str, name: &str) -> Value {
    json!({
        "key": key,
        "row": {"id_no": key, "name": name, "live_division": WITHIN, "live_addr": "解放碑步行街".repeat(20)},
        "headers": {"source-time": "2026-01-01T00:00:00Z"},
    })
}

fn producer(hub: &Hub) -> BaseProducer {
    hub.client(PUBLISHER)
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200000")
        .create()
        .unwrap()
}

fn send(producer: &BaseProducer, topic: &str, key: &str, value: &[u8], at: Option<i64>) {
    let headers = OwnedHeaders::new().insert(Header { key: "before", value: Some(b"".as_slice()) });
    let mut record = BaseRecord::to(topic).key(key).payload(value).headers(headers);
    if let Some(at) = at {
        record = record.timestamp(at);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// The demonstration's directory and the tests' own resources.
fn directory(revoked: &BTreeSet<String>) -> String {
    let mut text = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    for client in &CLIENTS {
        for name in OWN {
            let topic = topic(client, name);
            resource(&mut text, &topic, false);
            let state = if revoked.contains(&topic) { "state = \"revoked\"" } else { "" };
            grant(&mut text, &topic, &format!("codec = \"{}\"\n{state}", client.reads));
        }
    }
    // Nobody may read it.
    resource(&mut text, "closed", false);
    text
}

fn resource(text: &mut String, name: &str, row_filters: bool) {
    let partitions = if row_filters { 4 } else { 2 };
    write!(
        text,
        "\n[[resource]]\nname = \"{name}\"\ntitle_zh = \"{name}\"\ncode = \"101001/1\"\n\
         provider = \"11500000XNG000011B\"\npublishing_system = \"{PUBLISHER}\"\nsharing = \"conditional\"\n\
         key = \"id_no\"\nsubjects = []\nrow_filters = {row_filters}\npartitions = {partitions}\n\
         schemas = [\"../schemas/population/v1.avsc\"]\n"
    )
    .unwrap();
}

fn grant(text: &mut String, resource: &str, more: &str) {
    write!(
        text,
        "\n[[grant]]\nid = \"{resource}\"\nsystem = \"{READER}\"\nresource = \"{resource}\"\n\
         modes = [\"subscribe\"]\npurpose = \"p\"\nbasis = \"b\"\nends_at = \"2030-12-31\"\n{more}\n\
         [grant.items]\nid_no = \"keep\"\nname = {{ mask = {{ first = 1, last = 0 }} }}\nlive_division = \"keep\"\n"
    )
    .unwrap();
}
