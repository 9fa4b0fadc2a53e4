//! A register's first load: made-up people through the hub into the PostgreSQL table of one consumer, hub and sink killed at
//! about the middle. PostgreSQL's own COPY of the same rows stands beside it.
//!
//! `load [PEOPLE] [engine|kafka]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has failed; it prints its figures and times itself"
)]

mod check;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord};
use shuniu_tests::machine::{self, figure};
use shuniu_tests::register::{self, FILTERED, PUBLISHER, Person, RECORD_BYTES, headers};
use shuniu_tests::{Hub, Kafka, Postgres, Taken, drain};

const DATABASE: &str = "consumer";
/// The sink's file in the hub's folder.
const CONNECTOR: &str = "sink.toml";
const MEMORY_GOAL_MB: f64 = 512.0;
/// What a plain COPY takes, this many times.
const COPY_RATIO_GOAL: f64 = 2.0;
/// PostgreSQL's own user must reach it, and it must be on a disk, as the temporary folder need not be.
const DATABASE_FOLDER: &str = "/var/tmp";
/// A prime above every number of people: steps of it come to each person once, in no order of their numbers.
const STRIDE: usize = 1_000_000_007;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benches once, to see that they work.
    let usual = if arguments.iter().any(|argument| argument == "--bench") { 200_000 } else { 2_000 };
    let people = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(usual);
    let folder = tempfile::tempdir_in(DATABASE_FOLDER).unwrap();
    let Some(postgres) = Postgres::start_in(folder, "") else {
        println!("left out: PostgreSQL is not installed here (tests/setup tests)");
        return;
    };
    let kafka = arguments.iter().any(|argument| argument == "kafka").then(|| Kafka::start(1));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut hub = Hub::prepare_on(folder, kafka.as_ref());
    register::start(&mut hub);
    machine::note();

    publish(&hub, people);
    write_connector(&hub, &postgres);
    let consumer = Consumer { postgres };
    consumer.run("CHECKPOINT");
    let taken = consumer.load(&mut hub, people);
    consumer.check(people);
    hub.stop();
    let copy = consumer.plain_copy(people);
    let (taken, copy) = (taken.as_secs_f64(), copy.as_secs_f64());
    println!(
        "the sink took {taken:.1} s, {:.0} rows/s; a plain COPY of the same rows into a table with the same key {copy:.1} s, \
         {:.0} rows/s",
        people as f64 / taken,
        people as f64 / copy
    );
    figure(
        "load-sink-to-plain-copy",
        taken / copy,
        "times",
        COPY_RATIO_GOAL,
        taken / copy <= COPY_RATIO_GOAL,
    );
}

/// The `k`th person that is published.
fn person(k: usize, people: usize) -> Person {
    Person::new(k * STRIDE % people)
}

fn publish(hub: &Hub, people: usize) {
    let producer: BaseProducer<Taken> = hub
        .client(PUBLISHER)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "100000")
        .create_with_context(Taken)
        .unwrap();
    let frame = [&[0], &hub.schema_id(PUBLISHER, FILTERED).to_be_bytes()[..]].concat();
    let cpu = machine::cpu(hub.process_id());
    let begun = Instant::now();
    for k in 0..people {
        let person = person(k, people);
        let value = [&frame[..], &person.body()].concat();
        let mut record =
            BaseRecord::to(FILTERED).key(&person.id_no).payload(&value).headers(headers(FILTERED));
        while let Err((_, again)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = again;
        }
        if k.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    drain(&producer);
    let taken = begun.elapsed().as_secs_f64();
    let cpu = machine::cpu(hub.process_id()).saturating_sub(cpu).as_secs_f64();
    println!(
        "published {people} people ({:.1} GB) in {taken:.1} s, {:.0} records/s; the hub took {cpu:.1} s of CPU",
        (people * RECORD_BYTES) as f64 / 1e9,
        people as f64 / taken
    );
}

/// Writes the sink's file.
fn write_connector(hub: &Hub, postgres: &Postgres) {
    let (certificate, key, authority) = hub.certificate("hall-yuzhong");
    let text = format!(
        "[hub]\nbrokers = {:?}\nregistry = {:?}\nca = {authority:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
         [sink]\nresource = {FILTERED:?}\ndatabase = {:?}\ntable = \"people\"\ncreate = true\n",
        hub.bootstrap(),
        hub.registry(),
        postgres.database(DATABASE),
    );
    std::fs::write(hub.folder().join(CONNECTOR), text).unwrap();
}

/// The consuming department.
struct Consumer {
    postgres: Postgres,
}

impl Consumer {
    fn run(&self, sql: &str) {
        self.postgres.sql(DATABASE, sql);
    }

    /// One number; 0 where there is none yet.
    fn number(&self, sql: &str) -> usize {
        self.postgres.query(DATABASE, sql).trim().parse().unwrap_or_default()
    }

    /// Offsets that took effect.
    fn offsets(&self) -> usize {
        self.number("SELECT sum(next_offset) FROM _shuniu_offset")
    }

    fn rows(&self) -> usize {
        self.number("SELECT count(*) FROM people")
    }

    /// Fills the table; the time that the sink's two processes ran.
    fn load(&self, hub: &mut Hub, people: usize) -> Duration {
        let begun = Instant::now();
        let cpu = machine::cpu(hub.process_id());
        let mut sink = hub.connector(CONNECTOR).spawn().unwrap();
        while self.offsets() < people / 2 {
            assert!(sink.try_wait().unwrap().is_none(), "the sink ended before its middle");
            std::thread::sleep(Duration::from_millis(100));
        }
        let used = machine::cpu(sink.id()).as_secs_f64();
        let hub_used = machine::cpu(hub.process_id()).saturating_sub(cpu).as_secs_f64();
        let before = machine::memory_peak_mb(hub.process_id());
        let sink_memory = machine::memory_peak_mb(sink.id());
        sink.kill().unwrap();
        hub.kill();
        sink.wait().unwrap();
        let first = begun.elapsed();
        // What was under way at the server ends when it sees that its client is gone.
        std::thread::sleep(Duration::from_secs(1));
        let (offsets, rows) = (self.offsets(), self.rows());
        assert_eq!(offsets, rows, "rows and offsets change together");
        assert!(offsets < people, "the kill came too late to be one in the middle");
        println!(
            "kill -9 of hub and sink after {:.1} s, with {rows} rows; until then the sink took {used:.1} s of CPU, the hub \
             {hub_used:.1} s",
            first.as_secs_f64()
        );
        let down = Instant::now();
        hub.restart();
        println!("the hub served again after {:.1} s", down.elapsed().as_secs_f64());
        let again = Instant::now();
        let done = hub.connector(CONNECTOR).spawn().unwrap().wait_with_output().unwrap();
        let second = again.elapsed();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        println!("the second sink took {:.1} s: {}", second.as_secs_f64(), said.trim());
        let after = machine::memory_peak_mb(hub.process_id());
        println!(
            "the hub's memory at its peak: {before:.0} MB until the kill, {after:.0} MB after it; the sink's {sink_memory:.0} MB"
        );
        let peak = before.max(after);
        figure("load-hub-memory-peak", peak, "MB", MEMORY_GOAL_MB, peak <= MEMORY_GOAL_MB);
        first + second
    }

    /// The rows as COPY writes them, for the check and for the plain COPY.
    fn file(&self) -> PathBuf {
        self.postgres.folder().join("people.copy")
    }

    /// Nothing lost, nothing doubled, each offset's effect once.
    fn check(&self, people: usize) {
        assert_eq!((self.rows(), self.offsets()), (people, people), "rows, offsets");
        // A row that was written a second time would be an update: no key comes twice on the topic.
        let again = "SELECT n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'people'";
        assert_eq!(self.number(again), 0, "rows that were written again");
        self.run(&format!("COPY people TO '{}'", self.file().display()));
        let held = check::of_file(&self.file());
        let expected = check::expected(people);
        assert_eq!(held, expected, "the checksum over the table");
        println!(
            "the table has {people} rows, none of them written twice, and the checksum {held:016x} of what was published"
        );
    }

    /// What PostgreSQL takes for the same rows in the same order, into a table with the same key.
    fn plain_copy(&self, people: usize) -> Duration {
        self.run("CREATE TABLE plain (LIKE people INCLUDING ALL)");
        self.run("CHECKPOINT");
        let begun = Instant::now();
        self.run(&format!("COPY plain FROM '{}'", self.file().display()));
        let taken = begun.elapsed();
        assert_eq!(self.number("SELECT count(*) FROM plain"), people);
        taken
    }
}
