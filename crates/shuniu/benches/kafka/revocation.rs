//! How long a hub goes on after a grant was revoked: from the database's commit to the last byte that each of two hubs gave to an
//! open consumer with a steady stream.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shuniu_tests::{Raw, Replicas};
use shuniu_wire::messages::FetchResponse;
use shuniu_wire::{ApiKey, decode_response, encode_request};
use tokio::runtime::Handle;

use crate::register::{self, FILTERED, PLAIN, Register, WHOLE};
use crate::shared::{FETCH, fetch};
use crate::{figure, publish, until_there};

const HUBS: usize = 2;
/// As many grants follow each other, each of another system or resource; half of them are in force at a time.
const SLOTS: [(&str, &str); 8] = [
    ("hall-yuzhong", PLAIN),
    ("hall-jiangbei", PLAIN),
    ("bank-supervisor", PLAIN),
    ("civil-affairs", PLAIN),
    ("hall-yuzhong", FILTERED),
    ("hall-jiangbei", FILTERED),
    ("bank-supervisor", FILTERED),
    ("civil-affairs", FILTERED),
];
const AHEAD: usize = SLOTS.len() / 2;
const RECORDS: usize = 20_000;
/// Each consumer asks as often, and gets records as long as it may.
const PACE: Duration = Duration::from_millis(10);
/// A consumer with a steady stream got records within this before the commit.
const STEADY: Duration = Duration::from_millis(100);
const FLOWS_MAX: Duration = Duration::from_secs(30);
/// What P6 promises.
const GOAL_MS: f64 = 1_000.0;

/// When the last byte of each answer with records came, and when each refusal.
#[derive(Default)]
struct Notes {
    given: Vec<SystemTime>,
    refused: Vec<SystemTime>,
}

/// One revocation.
struct Revoked {
    grant: String,
    slot: usize,
    /// When its slot got another grant.
    until: Option<SystemTime>,
}

pub(crate) fn run(count: usize) {
    let Some(replicas) = Replicas::start(HUBS) else {
        println!("revocation is left out: PostgreSQL is not installed here");
        return;
    };
    let operator = &replicas.operator;
    operator.apply(&register::resources(operator));
    for topic in [PLAIN, FILTERED] {
        until_there(operator, topic);
    }
    let register = Register::new(operator, RECORDS);
    for topic in [PLAIN, FILTERED] {
        publish::once(operator, topic, &register.records(topic, 0..RECORDS));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let notes: Vec<Vec<Arc<Mutex<Notes>>>> = (0..SLOTS.len())
        .map(|slot| (0..HUBS).map(|hub| consume(runtime.handle(), &replicas, hub, slot)).collect())
        .collect();

    let mut grants = Grants { held: HashMap::new(), given: 0 };
    operator.apply(&(0..AHEAD).map(|slot| grants.give(slot)).collect::<String>());
    let mut all: Vec<Revoked> = Vec::new();
    let began = Instant::now();
    for n in 0..count {
        let (slot, next) = (n % SLOTS.len(), (n + AHEAD) % SLOTS.len());
        until_steady(&notes[slot]);
        let (grant, text) = grants.revoke(slot);
        // The slot's last revocation is over.
        if let Some(last) = all.iter_mut().rev().find(|it| it.slot == next) {
            last.until = Some(SystemTime::now());
        }
        operator.apply(&(text + &grants.give(next)));
        all.push(Revoked { grant, slot, until: None });
    }
    let took = began.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    report(&replicas, &all, &notes, took);
}

fn report(replicas: &Replicas, all: &[Revoked], notes: &[Vec<Arc<Mutex<Notes>>>], took: Duration) {
    let commits = commits(replicas);
    let (mut last_bytes, mut refusals, mut unsteady) = (Vec::new(), Vec::new(), 0);
    for revoked in all {
        let commit = commits[&revoked.grant];
        let until = revoked.until.unwrap_or_else(SystemTime::now);
        assert!(commit < until, "a slot's grants overlap");
        for notes in &notes[revoked.slot] {
            let notes = notes.lock().unwrap();
            let steady = notes.given.iter().any(|at| (commit - STEADY..=commit).contains(at));
            if !steady {
                unsteady += 1;
                continue;
            }
            let within = |at: &&SystemTime| (commit..until).contains(*at);
            let last = notes.given.iter().filter(within).max();
            let after = |at: &SystemTime| at.duration_since(commit).unwrap().as_secs_f64() * 1e3;
            last_bytes.push(last.map_or(0.0, after));
            // What is refused after the last byte: before it a refusal is of the grant before.
            refusals.extend(notes.refused.iter().filter(within).min().map(after));
        }
    }
    println!(
        "{} grants revoked in {:.0} s; {unsteady} of {} consumers had no steady stream and do not count",
        all.len(),
        took.as_secs_f64(),
        all.len() * HUBS
    );
    let still = last_bytes.iter().filter(|ms| **ms > 0.0).count();
    println!("{still} of {} consumers still got a byte after the commit", last_bytes.len());
    println!("refused after the commit within, ms: {}", percentiles(&mut refusals));
    println!("last byte after the commit, ms: {}", percentiles(&mut last_bytes));
    let count = last_bytes.len();
    for (name, at) in [("p50", count / 2), ("p99", count * 99 / 100), ("max", count - 1)] {
        let value = last_bytes[at];
        figure(&format!("kafka-revocation-last-byte-{name}"), value, "ms", GOAL_MS, value <= GOAL_MS);
    }
}

fn percentiles(values: &mut [f64]) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let mut text = String::new();
    for (name, at) in [("p50", values.len() / 2), ("p99", values.len() * 99 / 100), ("max", values.len() - 1)]
    {
        write!(text, "{name} {:.1} ", values[at]).unwrap();
    }
    text + &format!("of {}", values.len())
}

/// When each revocation was committed.
fn commits(replicas: &Replicas) -> HashMap<String, SystemTime> {
    let rows = replicas.postgres.query(
        "directory",
        "SELECT id, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM grants \
         WHERE state = 'revoked'",
    );
    let commit = |micros: &str| UNIX_EPOCH + Duration::from_micros(micros.parse().unwrap());
    rows.lines().map(|row| row.split_once('|').unwrap()).map(|(id, at)| (id.to_owned(), commit(at))).collect()
}

/// Waits until each hub gives the slot's consumer records.
fn until_steady(notes: &[Arc<Mutex<Notes>>]) {
    let deadline = Instant::now() + FLOWS_MAX;
    let steady = |notes: &Arc<Mutex<Notes>>| {
        let last = notes.lock().unwrap().given.last().copied();
        last.is_some_and(|at| at.elapsed().unwrap_or_default() < STEADY / 2)
    };
    while !notes.iter().all(steady) {
        assert!(Instant::now() < deadline, "a consumer gets nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The parts of a directory file about the slots' grants.
struct Grants {
    /// The grant in force of each slot.
    held: HashMap<usize, String>,
    given: usize,
}

impl Grants {
    fn give(&mut self, slot: usize) -> String {
        let id = format!("measured-{}", self.given);
        self.given += 1;
        self.held.insert(slot, id.clone());
        Self::text(&id, slot)
    }

    fn revoke(&mut self, slot: usize) -> (String, String) {
        let id = self.held.remove(&slot).unwrap();
        let text = Self::text(&id, slot).replace("modes =", "state = \"revoked\"\nmodes =");
        (id, text)
    }

    fn text(id: &str, slot: usize) -> String {
        let (system, resource) = SLOTS[slot];
        let projected = register::projected();
        let view = if resource == PLAIN { WHOLE } else { &projected };
        register::grant_named(id, system, resource, view)
    }
}

/// Begins to fetch the same records from one hub over and over, whatever comes of it.
fn consume(runtime: &Handle, replicas: &Replicas, hub: usize, slot: usize) -> Arc<Mutex<Notes>> {
    let (system, resource) = SLOTS[slot];
    let leader = loop {
        if let Some(leader) = replicas.kafka.leader(resource, 0) {
            break i32::try_from(leader).unwrap();
        }
    };
    let (_, port) = replicas.doors().find(|(node, _)| *node == leader).unwrap();
    let address = format!("{}:{port}", replicas.hub(hub).address());
    let way = Raw::way(&replicas.operator, system);
    let notes = Arc::new(Mutex::new(Notes::default()));
    let noted = Arc::clone(&notes);
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut raw = None;
        loop {
            ticks.tick().await;
            let connection = match &mut raw {
                Some(connection) => connection,
                none => none.insert(Raw::by(&address, &way).await),
            };
            let frame = encode_request(FETCH, 1, "measured", &fetch(resource, 0, 1).into()).unwrap();
            // A response under way is cut by a reset.
            let Ok(answer) = connection.exchange(&frame[4..]).await else {
                raw = None;
                continue;
            };
            let at = SystemTime::now();
            let (_, answer) = decode_response(ApiKey::Fetch, FETCH, answer).unwrap();
            let answer = FetchResponse::try_from(answer).unwrap();
            let Some(data) = answer.responses.first().and_then(|topic| topic.partitions.first()) else {
                continue;
            };
            let mut notes = noted.lock().unwrap();
            if data.error_code != 0 {
                notes.refused.push(at);
            } else if data.records.as_ref().is_some_and(|records| !records.is_empty()) {
                notes.given.push(at);
            }
        }
    });
    notes
}
