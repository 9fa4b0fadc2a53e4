//! Killed at random moments, torn, full, damaged: what was acknowledged is there, once, at its offset.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shuniu_wire::Request;
use shuniu_wire::messages::{ProduceResponse, ResponseError};

use crate::support::*;

const PARTITIONS: i32 = 3;

/// Not a test of its own: the process that is killed. Its folder, producer id and next sequences come on standard
/// input; it writes a line for every batch that was acknowledged, and only then.
#[test]
#[ignore = "run by the tests beside it, in a process of its own"]
fn child() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let parts: Vec<&str> = line.trim().split('|').collect();
    let folder = std::path::PathBuf::from(parts[0]);
    let producer: i64 = parts[1].parse().unwrap();
    let next: Vec<i32> = parts[2].split(',').map(|n| n.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let hub = Hub::open(&folder).await;
        println!("ready");
        let writers = (0..PARTITIONS).zip(next).map(|(partition, first)| {
            let connection = hub.connection.clone();
            tokio::task::spawn(async move {
                let mut waiting = std::collections::VecDeque::new();
                for n in first.. {
                    let records = batch(producer, partition, n);
                    let call = connection.call(Request::from(produce("t", partition, records)));
                    waiting.push_back((n, call));
                    if waiting.len() == 5 {
                        let (n, call) = waiting.pop_front().unwrap();
                        let answer = ProduceResponse::try_from(call.await.unwrap()).unwrap();
                        let answer = &answer.responses[0].partition_responses[0];
                        println!("{partition} {n} {} {}", answer.error_code, answer.base_offset);
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// Batch `n` of a partition: two records, sequences 2n and 2n + 1.
pub(crate) fn batch(producer: i64, partition: i32, n: i32) -> bytes::Bytes {
    let padding = "p".repeat((n as usize * 31) % 400);
    let (a, b) = (format!("{partition}-{n}-a"), format!("{partition}-{n}-b-{padding}"));
    Batch::of(&[&a, &b]).by(producer, 0, n * 2).bytes()
}

/// This test binary again, running [`child`] alone. `limits` is shell code that runs before it.
fn spawn(limits: &str) -> Child {
    let own = std::env::current_exe().unwrap();
    let command = format!("{limits} exec \"$0\" --exact crash::child --ignored --nocapture");
    Command::new("sh")
        .arg("-c")
        .arg(command)
        .arg(own)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_killed_at_random_nothing_acknowledged_is_lost_moved_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", PARTITIONS, &[("segment.bytes", "20000")]).await;
    let producer = hub.producer_id().await;
    hub.engine.close().await;
    drop(hub);
    // By partition: each acknowledged batch's offset, and how many batches are in the log for sure.
    let mut acknowledged: Vec<BTreeMap<i32, i64>> = vec![BTreeMap::new(); PARTITIONS as usize];
    let mut next = vec![0_i32; PARTITIONS as usize];
    for round in 0..40_u64 {
        let mut child = spawn("");
        let list: Vec<String> = next.iter().map(ToString::to_string).collect();
        let line = format!("{}|{producer}|{}\n", folder.path().display(), list.join(","));
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child did not open");
        }
        tokio::time::sleep(Duration::from_micros(500 + (round * 7_919) % 60_000)).await;
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        // A line that was cut in the middle says nothing.
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let fields: Vec<i64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
            let [partition, n, code, offset] = fields[..] else { panic!("{line}") };
            assert_eq!(code, 0, "{line}");
            acknowledged[partition as usize].insert(n as i32, offset);
        }
        next = check(folder.path(), producer, &acknowledged).await;
    }
    let total: usize = acknowledged.iter().map(BTreeMap::len).sum();
    assert!(total > 1_000, "only {total} batches were acknowledged");
}

/// Reopens, and holds what is there against what was acknowledged. Returns the next batch of each partition.
async fn check(folder: &Path, producer: i64, acknowledged: &[BTreeMap<i32, i64>]) -> Vec<i32> {
    let hub = Hub::open(folder).await;
    let mut next = Vec::new();
    for (partition, acknowledged) in (0..).zip(acknowledged) {
        let records = hub.records("t", partition, 0).await;
        for (at, record) in records.iter().enumerate() {
            // Batch n is at offset 2n: no gap, nothing twice, nothing in between.
            let n = at / 2;
            let half = if at % 2 == 0 { "a" } else { "b" };
            assert_eq!(record.offset, at as i64);
            let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
            assert!(value.starts_with(&format!("{partition}-{n}-{half}")), "{value} at {at}");
        }
        assert_eq!(records.len() % 2, 0, "a batch is there whole or not at all");
        let present = (records.len() / 2) as i32;
        for (n, offset) in acknowledged {
            assert!(*n < present, "batch {n} of partition {partition} was acknowledged and is lost");
            assert_eq!(*offset, i64::from(*n) * 2);
        }
        // The last of them comes again, as after a lost answer, and is known.
        if present > 0 {
            let answer = hub.produce("t", partition, batch(producer, partition, present - 1)).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(present - 1) * 2));
        }
        next.push(present);
    }
    hub.engine.close().await;
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_full_disk_acknowledges_nothing_and_what_was_acknowledged_stays() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", PARTITIONS, &[]).await;
    let producer = hub.producer_id().await;
    hub.engine.close().await;
    drop(hub);
    // No file of the child may grow beyond 150 blocks; a write beyond fails, as on a full disk.
    let mut child = spawn("trap '' XFSZ; ulimit -f 150;");
    let line = format!("{}|{producer}|0,0,0\n", folder.path().display());
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged: Vec<BTreeMap<i32, i64>> = vec![BTreeMap::new(); PARTITIONS as usize];
    let mut refused = 0;
    let mut line = String::new();
    while refused < 30 {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended");
        let fields: Vec<i64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let [partition, n, code, offset] = fields[..] else { continue };
        if code == 0 {
            acknowledged[partition as usize].insert(n as i32, offset);
        } else {
            let known = [ResponseError::KafkaStorageError, ResponseError::OutOfOrderSequenceNumber];
            assert!(known.iter().any(|known| i64::from(known.code()) == code), "{line}");
            refused += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let next = check(folder.path(), producer, &acknowledged).await;
    assert!(next.iter().any(|next| *next > 10));
    let hub = Hub::open(folder.path()).await;
    let answer = hub.produce("t", 0, batch(producer, 0, next[0])).await;
    assert_eq!(answer.error_code, 0, "with room again it goes on where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_torn_tail_is_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).await;
    hub.create("t", 1, &[]).await;
    for n in 0..3 {
        hub.produce("t", 0, batch(1, 0, n)).await;
    }
    hub.engine.close().await;
    drop(hub);
    let log = partition_folder(folder.path(), "t", 0).join("00000000000000000000-0.log");
    let mark = log.with_file_name("durable");
    let (whole, marked) = (std::fs::read(&log).unwrap(), std::fs::read(&mark).unwrap());
    let torn = batch(1, 0, 3).len();
    for cut in 1..torn {
        let mut bytes = whole.clone();
        let mut more = batch(1, 0, 3).to_vec();
        more[..8].copy_from_slice(&6_i64.to_be_bytes());
        more.truncate(cut);
        bytes.extend_from_slice(&more);
        std::fs::write(&log, &bytes).unwrap();
        let hub = Hub::open(folder.path()).await;
        assert_eq!(hub.records("t", 0, 0).await.len(), 6);
        assert_eq!(hub.produce("t", 0, batch(1, 0, 3)).await.base_offset, 6, "its place is taken anew");
        hub.engine.close().await;
        drop(hub);
        std::fs::write(&log, &whole).unwrap();
        std::fs::write(&mark, &marked).unwrap();
    }
}
