//! The publishing system of `population`, which knows what was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::{Hub, citizen, person};

/// How often each key was acknowledged.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<BTreeMap<String, usize>>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            *self.0.lock().unwrap().entry(key).or_default() += 1;
        }
    }
}

/// An idempotent producer that sends again for two minutes, whatever happens to the hub.
pub struct Publisher {
    producer: BaseProducer<Acknowledged>,
    acknowledged: Acknowledged,
    schema: u32,
}

impl Publisher {
    /// A publisher of the newest schema.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        let acknowledged = Acknowledged::default();
        let producer = hub
            .client("population-register")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            .set("message.timeout.ms", "120000")
            .create_with_context(acknowledged.clone())
            .unwrap();
        Self { producer, acknowledged, schema: hub.schema_id("population-register", "population") }
    }

    /// Sends citizen `n` as a new row, without waiting for the acknowledgement.
    pub fn publish(&self, n: u32) {
        let key = citizen(n);
        let value = person(self.schema, &key, "张三", "500103");
        let headers = OwnedHeaders::new().insert(Header { key: "before", value: Some("") });
        let mut record = BaseRecord::to("population").key(&key).payload(&value).headers(headers);
        while let Err((_, again)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(20));
            record = again;
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until nothing is under way.
    pub fn flush(&self, wait: Duration) {
        self.producer.flush(wait).unwrap();
    }

    /// Waits until nothing is under way; how often each key was acknowledged since the beginning.
    #[must_use]
    pub fn finish(&self, wait: Duration) -> BTreeMap<String, usize> {
        self.flush(wait);
        self.acknowledged.0.lock().unwrap().clone()
    }
}

/// Of a producer whose every record must be taken: one that is not ends the program.
pub struct Taken;

impl ClientContext for Taken {}

impl ProducerContext for Taken {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().unwrap();
    }
}

/// Waits until every record is acknowledged. The client's own `flush` looks only every tenth of a second.
pub fn drain(producer: &BaseProducer<Taken>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(10));
        assert!(Instant::now() < deadline, "not acknowledged within a minute");
    }
}
