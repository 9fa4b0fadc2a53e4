//! How fast the engine takes records and hands them on, beside the bare disk.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has failed; it prints its figures and times itself"
)]

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shuniu_broker::{Connection, Upstream};
use shuniu_engine::{Engine, EngineConfig, NODE};
use shuniu_model::Timestamp;
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages::create_topics_request::CreatableTopic;
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use shuniu_wire::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, StrBytes, TopicName,
};
use shuniu_wire::{Request, Response};
use tokio_util::task::TaskTracker;

const PARTITIONS: i32 = 4;
const RECORDS: usize = 200_000;
const RECORD_BYTES: usize = 300;
const BATCH_RECORDS: usize = 500;
/// What librdkafka keeps on the way for one partition of an idempotent producer.
const IN_FLIGHT: usize = 5;
const LATENCIES: usize = 300;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let batches = batches();
    let plain = plain(folder.path(), &batches);
    let engine = runtime.block_on(engine(folder.path(), batches));
    figure("engine-append", engine, "records/s", 100_000.0, engine >= 100_000.0);
    println!("beside it: the same bytes written and synced by a plain loop, {plain:.0} records/s");
    figure("engine-append-to-plain", engine / plain, "ratio", 0.5, engine / plain >= 0.5);
}

fn figure(name: &str, value: f64, unit: &str, goal: f64, met: bool) {
    println!("figure {name} {value:.3} {unit} goal {goal} {}", if met { "met" } else { "short" });
}

/// The batches of one partition, in order; half of each record is random enough not to shrink.
fn batches() -> Vec<Vec<Bytes>> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut value = vec![b'v'; RECORD_BYTES - 18];
    let per_partition = RECORDS / BATCH_RECORDS / usize::try_from(PARTITIONS).unwrap();
    (0..i64::from(PARTITIONS))
        .map(|partition| {
            (0..per_partition)
                .map(|n| {
                    let sequence = i32::try_from(n * BATCH_RECORDS).unwrap();
                    let mut builder =
                        BatchBuilder::new(Compression::Lz4).producer(1_000 + partition, 0, sequence);
                    for _ in 0..BATCH_RECORDS {
                        for byte in value.iter_mut().step_by(2) {
                            state ^= state << 13;
                            state ^= state >> 7;
                            state ^= state << 17;
                            *byte = state.to_be_bytes()[0];
                        }
                        let key = format!("{:018}", state % 1_000_000_000);
                        builder.push(&BuiltRecord {
                            timestamp: 1_700_000_000_000,
                            key: Some(key.as_bytes()),
                            value: Some(&value),
                            headers: &[],
                        });
                    }
                    builder.build().unwrap()
                })
                .collect()
        })
        .collect()
}

/// The same bytes, one file and one thread per partition, synced after every window of batches. Records per second.
fn plain(folder: &Path, batches: &[Vec<Bytes>]) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (n, batches) in batches.iter().enumerate() {
            let mut file = File::create(folder.join(format!("plain-{n}"))).unwrap();
            scope.spawn(move || {
                for window in batches.chunks(IN_FLIGHT) {
                    for batch in window {
                        file.write_all(batch).unwrap();
                    }
                    file.sync_data().unwrap();
                }
            });
        }
    });
    RECORDS as f64 / begun.elapsed().as_secs_f64()
}

async fn engine(folder: &Path, batches: Vec<Vec<Bytes>>) -> f64 {
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    };
    let config = EngineConfig::new(folder.join("records"));
    let engine = Engine::open(config, Arc::new(clock), TaskTracker::new()).await.unwrap();
    let connection = engine.connect(NODE).await.unwrap();
    let topic = CreatableTopic::default()
        .with_name(name())
        .with_num_partitions(PARTITIONS + 1)
        .with_replication_factor(1);
    connection.call(CreateTopicsRequest::default().with_topics(vec![topic]).into()).await.unwrap();

    let begun = Instant::now();
    let tracker = TaskTracker::new();
    for (partition, batches) in (0..).zip(batches) {
        let connection = Arc::clone(&connection);
        tracker.spawn(async move {
            let mut waiting = VecDeque::new();
            for batch in batches {
                if waiting.len() == IN_FLIGHT {
                    acknowledged(waiting.pop_front().unwrap()).await;
                }
                waiting.push_back(connection.call(produce(partition, batch)));
            }
            for call in waiting {
                acknowledged(call).await;
            }
        });
    }
    tracker.close();
    tracker.wait().await;
    let rate = RECORDS as f64 / begun.elapsed().as_secs_f64();
    latency(&connection, folder).await;
    engine.close().await;
    rate
}

/// From the call of a Produce to the answer of a Fetch that waits for it, less what one sync takes.
async fn latency(connection: &Arc<dyn Connection>, folder: &Path) {
    let mut times = Vec::with_capacity(LATENCIES);
    let mut syncs = Vec::with_capacity(LATENCIES);
    let mut file = File::create(folder.join("sync")).unwrap();
    for offset in 0..LATENCIES {
        let fetch = connection.call(fetch(i64::try_from(offset).unwrap()));
        let fetch = TaskTracker::new().spawn(fetch);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut builder = BatchBuilder::new(Compression::Lz4);
        builder.push(&BuiltRecord { value: Some(&[7; RECORD_BYTES]), ..BuiltRecord::default() });
        let batch = builder.build().unwrap();
        let begun = Instant::now();
        let produce = connection.call(produce(PARTITIONS, batch.clone()));
        let answer = FetchResponse::try_from(fetch.await.unwrap().unwrap()).unwrap();
        times.push(begun.elapsed());
        assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
        produce.await.unwrap();
        let begun = Instant::now();
        file.write_all(&batch).unwrap();
        file.sync_data().unwrap();
        syncs.push(begun.elapsed());
    }
    times.sort_unstable();
    syncs.sort_unstable();
    for (name, at, goal) in [("p50", LATENCIES / 2, 5.0), ("p99", LATENCIES * 99 / 100, 20.0)] {
        let (time, sync) = (times[at].as_secs_f64() * 1e3, syncs[at].as_secs_f64() * 1e3);
        println!("beside it: one write and sync, {name} {sync:.3} ms");
        let beyond = (time - sync).max(0.0);
        figure(&format!("engine-append-to-fetch-beyond-sync-{name}"), beyond, "ms", goal, beyond <= goal);
    }
}

async fn acknowledged(
    call: shuniu_broker::BoxFuture<'static, Result<Response, shuniu_broker::UpstreamError>>,
) {
    let answer = ProduceResponse::try_from(call.await.unwrap()).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

fn produce(partition: i32, batch: Bytes) -> Request {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let data = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]).into()
}

fn fetch(offset: i64) -> Request {
    let asked = FetchPartition::default()
        .with_partition(PARTITIONS)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let asked = FetchTopic::default().with_topic(name()).with_partitions(vec![asked]);
    FetchRequest::default()
        .with_max_wait_ms(10_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![asked])
        .into()
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("bench"))
}
