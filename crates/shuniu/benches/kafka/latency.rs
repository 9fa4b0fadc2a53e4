//! How long a record takes from one client to another, straight through the broker and through the hub, in turns.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use shuniu_tests::Kafka;

use crate::register::{FILTERED, PUBLISHER, headers};
use crate::{Scale, World, figure};
use shuniu_tests::{Taken, drain};

/// At this many the connections are warm, and the broker's machine code is made.
const WARM_UP: usize = 300;
/// A record is sent as often, by one way or the other.
const PACE: Duration = Duration::from_millis(20);
const DIRECT: &str = "measured-directly";

/// A producer and a consumer of one partition.
struct Way {
    producer: BaseProducer<Taken>,
    consumer: BaseConsumer,
    topic: &'static str,
    times: Vec<Duration>,
}

pub(crate) fn run(world: &World, scale: &Scale) {
    let count = scale.latencies;
    let World { kafka, hub, register } = world;
    make_topic(kafka);
    let mut ways = [
        Way::new(DIRECT, kafka.client_tls(), kafka.client_tls()),
        Way::new(FILTERED, hub.client(PUBLISHER), hub.client("hall-yuzhong")),
    ];
    let records = register.records(FILTERED, 0..scale.records);
    let mut next = Instant::now();
    for n in 0..count + WARM_UP {
        for way in &mut ways {
            next += PACE;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let (key, value) = &records[n % records.len()];
            let time = way.once(key, value);
            if n >= WARM_UP {
                way.times.push(time);
            }
        }
    }
    for way in &mut ways {
        way.times.sort_unstable();
        println!(
            "produce to consume, {}: mean {:.2} ms, p50 {:.2} ms, p99 {:.2} ms, of {count} records",
            way.topic,
            way.mean_ms(),
            way.at_ms(count / 2),
            way.at_ms(count * 99 / 100),
        );
    }
    let [direct, hub] = ways;
    let more = hub.mean_ms() - direct.mean_ms();
    figure("kafka-produce-to-consume-over-direct-mean", more, "ms", 2.0, more <= 2.0);
}

/// A topic that no hub knows, kept as the hub's are.
fn make_topic(kafka: &Kafka) {
    let admin: AdminClient<DefaultClientContext> = kafka.client_tls().create().unwrap();
    let topic = NewTopic::new(DIRECT, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new())).unwrap();
    made.into_iter().for_each(|topic| drop(topic.unwrap()));
}

impl Way {
    fn new(topic: &'static str, mut producer: ClientConfig, mut consumer: ClientConfig) -> Self {
        let producer: BaseProducer<Taken> = producer
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "0")
            .set("socket.nagle.disable", "true")
            .create_with_context(Taken)
            .unwrap();
        let consumer: BaseConsumer = consumer
            .set("group.id", "latency")
            .set("enable.auto.commit", "false")
            .set("socket.nagle.disable", "true")
            .create()
            .unwrap();
        let (_, end) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10)).unwrap();
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, 0, Offset::Offset(end)).unwrap();
        consumer.assign(&place).unwrap();
        Self { producer, consumer, topic, times: Vec::new() }
    }

    /// From the producer's call to the consumer's.
    fn once(&self, key: &str, value: &[u8]) -> Duration {
        let record = BaseRecord::to(self.topic).partition(0).key(key).payload(value);
        let begun = Instant::now();
        self.producer.send(record.headers(headers(FILTERED))).map_err(|(error, _)| error).unwrap();
        let received = self.consumer.poll(Duration::from_secs(10)).unwrap().unwrap();
        let time = begun.elapsed();
        assert_eq!(received.key().unwrap(), key.as_bytes());
        drain(&self.producer);
        time
    }

    fn mean_ms(&self) -> f64 {
        self.times.iter().sum::<Duration>().as_secs_f64() * 1e3 / self.times.len() as f64
    }

    fn at_ms(&self, place: usize) -> f64 {
        self.times[place].as_secs_f64() * 1e3
    }
}
