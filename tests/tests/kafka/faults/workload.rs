//! What goes through the hubs meanwhile, by unchanged clients that know what was acknowledged, delivered and committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use shuniu_tests::{Hub, citizen, person};

/// The district that a record's person lives in tells who may have it.
pub(super) const DISTRICTS: [(&str, &str); 2] = [("hall-yuzhong", "500103"), ("hall-jiangbei", "500105")];
const GROUP: &str = "faults";
const CONSUMERS: usize = 2;
const PARTITIONS: i32 = 4;
/// Between two records.
const PACE: Duration = Duration::from_millis(15);
/// Every name has it behind the first character, which is all that a view shows of a name.
const HIDDEN: &str = "机密";

/// Where a record stands.
pub(super) type Place = (i32, i64);

/// What is known so far.
#[derive(Default)]
pub(super) struct Known {
    /// When each record was handed to the producer, by its key.
    pub(super) sent: BTreeMap<String, SystemTime>,
    /// Where each record stands that was acknowledged.
    pub(super) acknowledged: BTreeMap<String, Place>,
    /// When a record was acknowledged last.
    pub(super) acknowledged_at: Option<SystemTime>,
    /// Records that the producer gave up, or that were under way when it had to be made anew.
    pub(super) given_up: BTreeSet<String>,
    /// What the group was given.
    pub(super) delivered: BTreeMap<Place, String>,
    /// The highest offset of each partition whose commit was acknowledged.
    pub(super) committed: BTreeMap<i32, i64>,
    /// What must not be.
    pub(super) violations: Vec<String>,
}

/// The clients at work.
pub(super) struct Workload {
    pub(super) known: Arc<Mutex<Known>>,
    client: ClientConfig,
    stop: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Acknowledged(Arc<Mutex<Known>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut known = self.0.lock().unwrap();
        let message = match result {
            Ok(message) => message,
            Err((error, message)) => {
                let refused = matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::InvalidRecord));
                if refused {
                    known.violations.push(format!("a good record was refused: {error}"));
                }
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                known.given_up.insert(key);
                return;
            }
        };
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        let place = (message.partition(), message.offset());
        known.acknowledged_at = Some(SystemTime::now());
        if let Some(other) = known.acknowledged.insert(key.clone(), place) {
            known.violations.push(format!("{key} was acknowledged at {other:?} and at {place:?}"));
        }
    }
}

impl Workload {
    /// Begins, by all hubs together.
    pub(super) fn start(hub: &Hub) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let (stop, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let schema = hub.schema_id("population-register", "population");
        let publisher = publisher(hub);
        let mut client = patient(hub.client(DISTRICTS[0].0));
        client.set("group.id", GROUP).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        let mut threads = Vec::new();
        {
            let (known, stop, held) = (Arc::clone(&known), Arc::clone(&stop), Arc::clone(&held));
            threads.push(std::thread::spawn(move || publish(&publisher, schema, &known, &stop, &held)));
        }
        for _ in 0..CONSUMERS {
            let (known, stop, client) = (Arc::clone(&known), Arc::clone(&stop), client.clone());
            threads.push(std::thread::spawn(move || consume(&client, &known, &stop)));
        }
        Self { known, client, stop, held, threads }
    }

    /// Looks at what is known.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Known) -> R) -> R {
        look(&mut self.known.lock().unwrap())
    }

    /// Whether new records are sent; those under way are acknowledged in any case.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// Every record was acknowledged or given up; else how many are open.
    pub(super) fn acknowledged(&self) -> Result<(), String> {
        self.with(|known| {
            let open = known
                .sent
                .keys()
                .filter(|key| !known.acknowledged.contains_key(*key) && !known.given_up.contains(*key))
                .count();
            if open == 0 { Ok(()) } else { Err(format!("{open} records are not acknowledged")) }
        })
    }

    /// The group has been given all of its records that were acknowledged; else what is missing.
    pub(super) fn settled(&self) -> Result<(), String> {
        self.with(|known| {
            let missing = known.acknowledged.iter().filter(|(key, place)| {
                district(key) == DISTRICTS[0].1 && !known.delivered.contains_key(place)
            });
            let missing: Vec<_> = missing.map(|(_, place)| *place).collect();
            match missing.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} records are not delivered, {first:?} first", missing.len())),
            }
        })
    }

    /// What the group has committed is no less than what was acknowledged to it; else why.
    pub(super) fn commits_hold(&self) -> Result<(), String> {
        let before = self.with(|known| known.committed.clone());
        let consumer: BaseConsumer = self.client.create().unwrap();
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range("population", 0, PARTITIONS - 1);
        let found = consumer
            .committed_offsets(wanted, Duration::from_secs(10))
            .map_err(|error| format!("committed offsets cannot be had: {error}"))?;
        for (partition, offset) in before {
            let found = found.find_partition("population", partition).map(|it| it.offset());
            let Some(Offset::Offset(found)) = found else {
                return Err(format!("partition {partition} was committed to {offset}, and now to nothing"));
            };
            if found < offset {
                return Err(format!("partition {partition} was committed to {offset}, and now to {found}"));
            }
        }
        Ok(())
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// The district of a key: they take turns.
pub(super) fn district(key: &str) -> &'static str {
    // The last three digits before the check digit count up from one to the next.
    let number: usize = key[14..17].parse().unwrap();
    DISTRICTS[number % 2].1
}

fn patient(mut config: ClientConfig) -> ClientConfig {
    config
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("session.timeout.ms", "10000")
        .set("log_level", "0");
    config
}

fn publisher(hub: &Hub) -> ClientConfig {
    let mut config = hub.client("population-register");
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("message.timeout.ms", "300000")
        .set("socket.timeout.ms", "10000")
        .set("request.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("log_level", "0");
    config
}

fn publish(
    config: &ClientConfig,
    schema: u32,
    known: &Arc<Mutex<Known>>,
    stop: &AtomicBool,
    held: &AtomicBool,
) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let make = || -> BaseProducer<Acknowledged> {
        config.create_with_context(Acknowledged(Arc::clone(known))).unwrap()
    };
    let mut producer = make();
    while !stop.load(Ordering::SeqCst) {
        if let Some((code, text)) = producer.client().fatal_error() {
            let mut known = known.lock().unwrap();
            known.violations.push(format!("the producer cannot go on: {code:?}: {text}"));
            let open: Vec<String> =
                known.sent.keys().filter(|key| !known.acknowledged.contains_key(*key)).cloned().collect();
            known.given_up.extend(open);
            drop(known);
            producer = make();
        }
        if held.load(Ordering::SeqCst) || producer.in_flight_count() > 2_000 {
            producer.poll(PACE);
            continue;
        }
        let key = citizen(NEXT.fetch_add(1, Ordering::SeqCst));
        let value = person(schema, &key, &format!("张{HIDDEN}"), district(&key));
        let headers = OwnedHeaders::new().insert(Header { key: "before", value: Some("") });
        known.lock().unwrap().sent.insert(key.clone(), SystemTime::now());
        let mut record = BaseRecord::to("population").key(&key).payload(&value).headers(headers);
        while let Err((_, again)) = producer.send(record) {
            producer.poll(PACE);
            record = again;
        }
        producer.poll(PACE);
    }
}

fn consume(config: &ClientConfig, known: &Mutex<Known>, stop: &AtomicBool) {
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["population"]).unwrap();
    let mut committed_at = SystemTime::now();
    while !stop.load(Ordering::SeqCst) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                let place = (message.partition(), message.offset());
                let mut known = known.lock().unwrap();
                if let Err(what) = in_view(&key, message.payload().unwrap_or_default(), DISTRICTS[0].1) {
                    known.violations.push(format!("the group was given {place:?}: {what}"));
                }
                known.delivered.insert(place, key);
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed))) => {
                known
                    .lock()
                    .unwrap()
                    .violations
                    .push("the group was refused, with a grant in force".to_owned());
            }
            // What passes: a hub or a broker that is gone.
            Some(Err(_)) | None => {}
        }
        if committed_at.elapsed().unwrap_or_default() > Duration::from_secs(1) {
            committed_at = SystemTime::now();
            // Of a partition that has just been assigned, nothing was read yet.
            let mut offsets = TopicPartitionList::new();
            for element in consumer.position().unwrap().elements() {
                if let Offset::Offset(_) = element.offset() {
                    offsets
                        .add_partition_offset("population", element.partition(), element.offset())
                        .unwrap();
                }
            }
            if offsets.count() > 0 && consumer.commit(&offsets, CommitMode::Sync).is_ok() {
                let mut known = known.lock().unwrap();
                for element in offsets.elements() {
                    let Offset::Offset(offset) = element.offset() else { continue };
                    let to = known.committed.entry(element.partition()).or_default();
                    *to = (*to).max(offset);
                }
            }
        }
    }
}

/// Whether a record is what a view of a district's hall lets through; else what is wrong.
pub(super) fn in_view(key: &str, value: &[u8], of: &str) -> Result<(), String> {
    if district(key) != of {
        return Err(format!("{key} lives elsewhere"));
    }
    if value.windows(HIDDEN.len()).any(|part| part == HIDDEN.as_bytes()) {
        return Err(format!("{key} comes with its whole name"));
    }
    Ok(())
}
