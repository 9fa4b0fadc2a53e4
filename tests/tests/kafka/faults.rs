//! Two hubs under faults, held to their promises by a checker that counts.
//!
//! Clients work all the time, and note what was acknowledged, delivered and committed. Faults come one after the other,
//! drawn from a seed. While each lasts a grant is revoked, and again when it is over. Then everything that was noted is held
//! against the topic and the audit log. Networks are cut by relays between the processes, and between
//! brokers in namespaces of their own. What a machine does not allow is left out for the nearest that it does.

mod draw;
mod log;
mod workload;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use shuniu_tests::{Replicas, repository};

use crate::probe::Probe;
use draw::{Fault, Random};
use log::Log;
use workload::{DISTRICTS, Place, Workload, in_view};

const HUBS: usize = 2;
/// For everything to be in order again once a fault is over.
const SETTLE_MAX: Duration = Duration::from_secs(150);
/// What a revocation may take.
const REVOKED_MAX: Duration = Duration::from_secs(1);
/// How often the whole topic is read.
const READ_WHOLE_EVERY: usize = 10;

#[test]
fn a_few_faults_break_no_promise() {
    run(6, seed());
}

/// `make test-faults FAULTS=200`, or of one kind: `make test-faults FAULTS=10 KIND=clock`
#[test]
#[ignore = "long: as many faults as FAULTS says"]
fn many_faults_break_no_promise() {
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    run(faults, seed());
}

/// The next fault, of the kinds that KIND names a part of.
fn draw(random: &mut Random) -> (Fault, Duration) {
    let wanted = std::env::var("KIND").unwrap_or_default();
    (0..10_000)
        .map(|_| Fault::draw(random, HUBS))
        .find(|(fault, _)| fault.kind().contains(&wanted))
        .unwrap_or_else(|| panic!("no kind of fault is called `{wanted}`"))
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn run(faults: usize, seed: u64) {
    println!("{faults} faults from seed {seed}: SEED={seed} repeats them");
    let Some(replicas) = Replicas::start_with_clocks(HUBS) else {
        println!("left out: PostgreSQL is not installed here");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let probes =
        (0..HUBS).map(|hub| Probe::start(runtime.handle(), &replicas, hub, DISTRICTS[1].0)).collect();
    let workload = Workload::start(&replicas.operator);
    let mut run = Run {
        replicas,
        probes,
        workload,
        log: Log::default(),
        grant: "jiangbei-population".to_owned(),
        grants: 0,
        figures: Figures::default(),
        violations: Vec::new(),
    };
    run.until("the clients get going", Run::flows);
    let mut random = Random(seed);
    for number in 1..=faults {
        run.fault(number, faults, &mut random);
        if run.violations.len() > 20 {
            break;
        }
    }
    run.read_whole();
    println!("{}", run.report());
    for violation in &run.violations {
        println!("VIOLATION {violation}");
    }
    assert!(run.violations.is_empty(), "{} violations, seed {seed}", run.violations.len());
}

struct Run {
    // In this order: clients end before hubs do.
    workload: Workload,
    probes: Vec<Probe>,
    replicas: Replicas,
    log: Log,
    /// The grant in force of the system that the probes are of.
    grant: String,
    grants: usize,
    figures: Figures,
    violations: Vec<String>,
}

/// What is counted.
#[derive(Default)]
struct Figures {
    faults: BTreeMap<&'static str, usize>,
    /// From the commit to the last record that a hub gave, for each revocation and hub that gave records until then:
    /// while a fault lasted, and after it.
    revoked: [Vec<Duration>; 2],
    /// The same of hubs that were held.
    revoked_held: Vec<Duration>,
    /// From the end of a fault to the next acknowledgement, and until everything was in order.
    acknowledged_again: Vec<Duration>,
    in_order: Vec<Duration>,
    /// Records that were acknowledged without saying where they stand.
    without_place: usize,
}

impl Run {
    fn fault(&mut self, number: usize, faults: usize, random: &mut Random) {
        let (drawn, lasts) = draw(random);
        let fault = drawn.settled(&self.replicas);
        let kind = match drawn {
            Fault::KillSequencingHub | Fault::KillLogsLeader => drawn.kind(),
            _ => fault.kind(),
        };
        *self.figures.faults.entry(kind).or_default() += 1;
        let (began, before) = (Instant::now(), self.violations.len());
        fault.inflict(&mut self.replicas);
        std::thread::sleep(Duration::from_millis(500));
        let revoked = self.revoke(&format!("during `{fault}`"), Some(fault), 0);
        std::thread::sleep(lasts.saturating_sub(began.elapsed()));
        let lasted = began.elapsed();
        let healed = (Instant::now(), SystemTime::now());
        fault.heal(&mut self.replicas);
        let place = format!("fault {number} of {faults}, {fault} for {:.1} s", lasted.as_secs_f64());
        for hub in 0..HUBS {
            if !self.replicas.runs(hub) {
                self.violations.push(format!("{place}: hub {hub} ended by itself"));
                self.replicas.spawn(hub);
            }
            self.replicas.wait_ready(hub);
        }
        self.until(&place, |run| match run.workload.with(|known| known.acknowledged_at) {
            Some(at) if at > healed.1 => Ok(()),
            _ => Err("no record is acknowledged".to_owned()),
        });
        self.figures.acknowledged_again.push(healed.0.elapsed());
        self.until(&place, Self::brokers_in_step);
        self.figures.in_order.push(healed.0.elapsed());
        if revoked.is_some() {
            self.grant_anew();
        }
        self.until(&place, Self::flows);
        let after = self.revoke(&format!("after `{fault}`"), None, 1);
        self.grant_anew();
        self.settle(&place);
        if number.is_multiple_of(READ_WHOLE_EVERY) {
            self.read_whole();
        }
        let shown = |times: Option<Vec<String>>| times.map_or("none".to_owned(), |times| times.join(" and "));
        println!(
            "{place}: in order after {:.1} s; revoked within {} during it and {} after it; {}; {} violations",
            self.figures.in_order.last().unwrap().as_secs_f64(),
            shown(revoked),
            shown(after),
            self.counts(),
            self.violations.len()
        );
        for violation in self.violations.iter().skip(before) {
            println!("  VIOLATION {violation}");
        }
    }

    /// Tries until it is so; that it does not come to be is a violation.
    fn until(&mut self, place: &str, mut so: impl FnMut(&mut Self) -> Result<(), String>) {
        let deadline = Instant::now() + SETTLE_MAX;
        while let Err(what) = so(self) {
            if Instant::now() > deadline {
                self.violations.push(format!("{place}: {what}, {} s after it", SETTLE_MAX.as_secs()));
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Each hub delivers to its probe what is new.
    fn flows(&mut self) -> Result<(), String> {
        let since = SystemTime::now() - Duration::from_millis(500);
        for (hub, probe) in self.probes.iter().enumerate() {
            if !probe.with(|notes| notes.seen.last().is_some_and(|seen| seen.at > since)) {
                return Err(format!("hub {hub} delivers nothing"));
            }
        }
        Ok(())
    }

    fn brokers_in_step(&mut self) -> Result<(), String> {
        let consumer: BaseConsumer = self.replicas.kafka.client().create().unwrap();
        let metadata = consumer
            .fetch_metadata(None, Duration::from_secs(5))
            .map_err(|error| format!("the cluster does not answer: {error}"))?;
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                if partition.isr().len() < partition.replicas().len() || partition.leader() < 0 {
                    return Err(format!("replicas of {} {} are behind", topic.name(), partition.id()));
                }
            }
        }
        Ok(())
    }

    /// Revokes the probes' grant; how long each hub went on, for people. `None` when the directory could not be written.
    fn revoke(&mut self, place: &str, fault: Option<Fault>, figures: usize) -> Option<Vec<String>> {
        let text = self.grant_text().replace("modes =", "state = \"revoked\"\nmodes =");
        if let Err(error) = self.replicas.operator.applied(&text) {
            // Only a fault may keep the operator from it.
            if fault.is_none() {
                self.violations.push(format!("{place}: a grant cannot be revoked: {error}"));
            }
            return None;
        }
        let committed = self.replicas.postgres.query(
            "directory",
            &format!(
                "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM grants \
                 WHERE id = '{}'",
                self.grant
            ),
        );
        let revoked = UNIX_EPOCH + Duration::from_micros(committed.trim().parse().unwrap());
        while revoked.elapsed().unwrap_or_default() < REVOKED_MAX + Duration::from_millis(800) {
            std::thread::sleep(Duration::from_millis(50));
        }
        Some((0..HUBS).map(|hub| self.went_on(place, hub, revoked, fault, figures)).collect())
    }

    /// How long a hub went on after a revocation, for people.
    fn went_on(
        &mut self,
        place: &str,
        hub: usize,
        revoked: SystemTime,
        fault: Option<Fault>,
        figures: usize,
    ) -> String {
        let (live, late) = self.probes[hub].with(|notes| {
            let before = revoked - Duration::from_secs(1);
            let live =
                notes.seen.iter().rev().take_while(|seen| seen.at > before).any(|seen| seen.at <= revoked);
            let last = notes.seen.last().map(|seen| seen.at.duration_since(revoked).unwrap_or_default());
            (live, last.unwrap_or_default())
        });
        let held = fault.and_then(Fault::silenced) == Some(hub);
        if held {
            self.figures.revoked_held.push(late);
        } else if live {
            self.figures.revoked[figures].push(late);
        }
        if late > REVOKED_MAX && !held {
            self.violations.push(format!("{place}: hub {hub} delivered {late:?} after the revocation"));
        }
        if live || !late.is_zero() { format!("{} ms", late.as_millis()) } else { "nothing sent".to_owned() }
    }

    /// Gives the probes' system another grant, as one that was revoked stays so.
    fn grant_anew(&mut self) {
        self.check_probes();
        self.grants += 1;
        self.grant = format!("jiangbei-{}", self.grants);
        let text = self.grant_text();
        self.until("a grant is given", |run| run.replicas.operator.applied(&text).map(drop));
    }

    /// The directory file's part about the grant in force.
    fn grant_text(&self) -> String {
        let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
        let begins = directory.find("[[grant]]\nid = \"jiangbei-population\"").unwrap();
        let rest = &directory[begins..];
        let ends = rest[2..].find("[[grant]]").map_or(rest.len(), |at| at + 2);
        let ends = rest[..ends].rfind("\n#").unwrap_or(ends);
        rest[..ends].replace("jiangbei-population", &self.grant)
    }

    /// Everything that was noted against the group, the topic and the log.
    fn settle(&mut self, place: &str) {
        self.workload.hold(true);
        self.until(place, |run| run.workload.acknowledged());
        self.find_places();
        self.until(place, |run| run.workload.settled());
        self.until(place, |run| run.workload.commits_hold());
        self.check_probes();
        self.until(place, |run| {
            run.log.read_on(&run.replicas)?;
            run.log_covers()
        });
        if let Err(what) = self.replicas.operator.verified() {
            self.violations.push(format!("{place}: the log does not hold: {what}"));
        }
        let found = self.workload.with(|known| std::mem::take(&mut known.violations));
        self.violations.extend(found.into_iter().map(|what| format!("{place}: {what}")));
        self.workload.hold(false);
    }

    /// Holds what the probes were given against their view.
    fn check_probes(&mut self) {
        for (hub, probe) in self.probes.iter().enumerate() {
            let wrong = probe.with(|notes| {
                let wrong = notes.seen.iter().filter_map(|seen| {
                    in_view(&seen.key, &seen.value, DISTRICTS[1].1).err().map(|what| (seen.offset, what))
                });
                wrong.collect::<Vec<_>>()
            });
            self.violations
                .extend(wrong.into_iter().map(|(offset, what)| format!("hub {hub} gave {offset}: {what}")));
        }
    }

    /// What was acknowledged and what was delivered has its entry.
    fn log_covers(&self) -> Result<(), String> {
        let log = &self.log;
        let none = std::collections::BTreeSet::new();
        self.workload.with(|known| {
            let unrecorded: Vec<&Place> =
                known.acknowledged.values().filter(|place| !log.published.contains(place)).collect();
            if let Some(first) = unrecorded.first() {
                return Err(format!(
                    "{} acknowledged records have no entry, {first:?} first",
                    unrecorded.len()
                ));
            }
            let recorded = log.delivered.get("yuzhong-population").unwrap_or(&none);
            let unrecorded: Vec<&Place> =
                known.delivered.keys().filter(|place| !recorded.contains(place)).collect();
            match unrecorded.first() {
                None => Ok(()),
                Some(first) => {
                    Err(format!("{} delivered records have no entry, {first:?} first", unrecorded.len()))
                }
            }
        })?;
        // The probes' grants follow each other: whichever it was.
        for (hub, probe) in self.probes.iter().enumerate() {
            let missing = probe.with(|notes| {
                let recorded = |place: &Place| {
                    log.delivered
                        .iter()
                        .any(|(grant, places)| grant.starts_with("jiangbei-") && places.contains(place))
                };
                notes
                    .seen
                    .iter()
                    .map(|seen| (seen.partition, seen.offset))
                    .filter(|place| !recorded(place))
                    .count()
            });
            if missing > 0 {
                return Err(format!("{missing} records that hub {hub} delivered have no entry"));
            }
        }
        Ok(())
    }

    /// A batch that the cluster knows from before, and no longer where it stands, is acknowledged without an offset: it is
    /// looked for on the topic.
    fn find_places(&mut self) {
        let open = self.workload.with(|known| known.acknowledged.values().any(|place| place.1 < 0));
        if open {
            let places = self.topic();
            self.figures.without_place += self.workload.with(|known| {
                let mut found = 0;
                for (key, place) in known.acknowledged.iter_mut().filter(|(_, place)| place.1 < 0) {
                    if let Some(first) = places.get(key).and_then(|places| places.first()) {
                        *place = *first;
                        found += 1;
                    }
                }
                found
            });
        }
    }

    /// Reads the topic past every hub: what was acknowledged is there, where it was said to be, and once.
    fn read_whole(&mut self) {
        self.workload.hold(true);
        self.until("before the topic is read", |run| run.workload.acknowledged());
        let places = self.topic();
        let violations = self.workload.with(|known| {
            let mut violations = Vec::new();
            for (key, place) in &known.acknowledged {
                match places.get(key).map(Vec::as_slice) {
                    None => violations.push(format!("{key} was acknowledged at {place:?} and is lost")),
                    Some([found]) if found == place || place.1 < 0 => {}
                    Some(found) => {
                        violations
                            .push(format!("{key} was acknowledged at {place:?} and stands at {found:?}"));
                    }
                }
            }
            violations
        });
        self.violations.extend(violations);
        self.workload.hold(false);
    }

    /// Where each key stands on the topic.
    fn topic(&self) -> BTreeMap<String, Vec<Place>> {
        let mut client = self.replicas.kafka.client();
        client.set("group.id", "whole").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for partition in 0..4 {
            let (low, high) =
                consumer.fetch_watermarks("population", partition, Duration::from_secs(10)).unwrap();
            let mut one = TopicPartitionList::new();
            one.add_partition_offset("population", partition, Offset::Offset(low)).unwrap();
            consumer.assign(&one).unwrap();
            let mut next = low;
            let deadline = Instant::now() + SETTLE_MAX;
            while next < high && Instant::now() < deadline {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(500)) {
                    next = message.offset() + 1;
                    let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                    places.entry(key).or_default().push((partition, message.offset()));
                }
            }
        }
        places
    }

    fn counts(&self) -> String {
        let seen: usize = self.probes.iter().map(|probe| probe.with(|notes| notes.seen.len())).sum();
        self.workload.with(|known| {
            format!(
                "{} acknowledged, {} delivered, {} entries",
                known.acknowledged.len(),
                known.delivered.len() + seen,
                self.log.entries
            )
        })
    }

    fn report(&self) -> String {
        let figures = &self.figures;
        let mut text = format!(
            "\n{}; {} records acknowledged without a place, {} named by two entries\n",
            self.counts(),
            figures.without_place,
            self.log.published_again
        );
        for (kind, count) in &figures.faults {
            text.push_str(&format!("  {count:>4} {kind}\n"));
        }
        for (what, times) in [
            ("revoked during a fault", &figures.revoked[0]),
            ("revoked after a fault", &figures.revoked[1]),
            ("revoked at a hub that was held", &figures.revoked_held),
            ("from a fault's end to the next acknowledgement", &figures.acknowledged_again),
            ("from a fault's end to order", &figures.in_order),
        ] {
            let mut times = times.clone();
            times.sort();
            let at = |hundredth: usize| {
                times.get((times.len() * hundredth / 100).min(times.len().saturating_sub(1)))
            };
            let shown = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
            text.push_str(&format!(
                "figure {what}: {} times, p50 {} ms, p99 {} ms, max {} ms\n",
                times.len(),
                shown(at(50)),
                shown(at(99)),
                shown(times.last())
            ));
        }
        text
    }
}
