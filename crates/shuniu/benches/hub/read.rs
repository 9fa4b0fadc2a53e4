//! One client that reads a whole resource.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use shuniu_tests::machine;
use shuniu_tests::register::{PARTITIONS, RECORD_BYTES};

/// The audit log's tiles and checkpoint come after the last byte, and belong to what it costs.
const AFTERMATH: Duration = Duration::from_millis(800);

/// What it read, and what that took.
pub(crate) struct Whole {
    /// Records on the topic.
    pub(crate) covered: usize,
    /// Records and bytes of values that arrived.
    pub(crate) received: usize,
    pub(crate) received_bytes: usize,
    /// From asking to the last record.
    pub(crate) took: Duration,
    /// Of each process that was watched.
    cpu: Vec<Duration>,
}

impl Whole {
    /// What was read on the topic, in MB.
    pub(crate) fn mb(&self) -> f64 {
        (self.covered * RECORD_BYTES) as f64 / 1e6
    }

    /// The CPU time that one of the processes took.
    pub(crate) fn ms_per_mb(&self, process: usize) -> f64 {
        self.cpu[process].as_secs_f64() * 1e3 / self.mb()
    }
}

/// Reads a resource from its beginning to its end, and watches processes meanwhile.
pub(crate) fn whole(client: &mut ClientConfig, resource: &str, processes: &[u32]) -> Whole {
    let consumer: BaseConsumer = client
        .set("group.id", "delivery")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut places = TopicPartitionList::new();
    let mut covered = 0;
    for partition in 0..i32::try_from(PARTITIONS).unwrap() {
        let ends = consumer.fetch_watermarks(resource, partition, Duration::from_secs(10)).unwrap();
        covered += usize::try_from(ends.1 - ends.0).unwrap();
        places.add_partition_offset(resource, partition, Offset::Beginning).unwrap();
    }
    let before: Vec<Duration> = processes.iter().map(|process| machine::cpu(*process)).collect();
    let begun = Instant::now();
    consumer.assign(&places).unwrap();
    // The client waits a while for more before it says that a partition has ended: the last record counts.
    let mut last = begun;
    let (mut received, mut received_bytes, mut ended) = (0, 0, 0);
    while ended < PARTITIONS {
        match consumer.poll(Duration::from_secs(30)).unwrap() {
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            answer => {
                received_bytes += answer.unwrap().payload().unwrap().len();
                received += 1;
                last = Instant::now();
            }
        }
    }
    std::thread::sleep(AFTERMATH);
    let after = processes.iter().map(|process| machine::cpu(*process));
    let cpu = after.zip(before).map(|(after, before)| after.saturating_sub(before)).collect();
    Whole { covered, received, received_bytes, took: last.duration_since(begun), cpu }
}
