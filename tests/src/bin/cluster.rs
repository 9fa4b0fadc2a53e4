//! `make cluster`: three brokers, PostgreSQL, an object store and two hubs on this machine, to try them with clients of one's
//! own. Ends all by Ctrl-C; with `--once` it shows one record through each hub and ends by itself.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "what goes wrong ends it, and it tells a person what to do"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use shuniu_tests::{Publisher, Replicas, Way, citizen, repository};

const HUBS: usize = 2;
const SYSTEM: &str = "hall-yuzhong";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--once"] => true,
        _ => {
            println!("usage: make cluster [ARGS=--once]");
            return ExitCode::from(2);
        }
    };
    println!("starting three brokers, PostgreSQL, an object store and two hubs; this takes half a minute");
    let Some(mut replicas) = Replicas::start(HUBS) else {
        println!("PostgreSQL is not installed here: tests/setup tests");
        return ExitCode::FAILURE;
    };
    let publisher = Publisher::new(&replicas.operator);
    for n in 0..10 {
        publisher.publish(n);
    }
    publisher.flush(Duration::from_secs(60));
    if once {
        check(&mut replicas, &publisher);
        println!("all held");
        return ExitCode::SUCCESS;
    }
    show(&replicas);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::signal::ctrl_c()).unwrap();
    println!("\nending all of it");
    ExitCode::SUCCESS
}

/// What was published comes through each hub alone; one is killed, and what is published then comes through the other.
fn check(replicas: &mut Replicas, publisher: &Publisher) {
    for hub in 0..HUBS {
        replicas.hub(1 - hub).from_clients(Way::Cut);
        arrives(replicas, 9);
        println!("  ten records came through hub {hub} alone");
        replicas.hub(1 - hub).from_clients(Way::Open);
    }
    replicas.kill(0);
    publisher.publish(10);
    publisher.flush(Duration::from_secs(60));
    arrives(replicas, 10);
    println!("  hub 0 was killed, and another record came through hub 1");
    replicas.spawn(0);
    replicas.wait_ready(0);
    for hub in 0..HUBS {
        replicas.stop(hub);
    }
    replicas.operator.verify();
    println!("  the audit log holds");
}

fn arrives(replicas: &Replicas, n: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let read = ["-C", "-t", "population", "-o", "beginning", "-e", "-E", "-m", "10"];
    while !replicas.operator.kcat(SYSTEM, &read).contains(&citizen(n)) {
        assert!(Instant::now() < deadline, "the record does not come");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What to paste.
fn show(replicas: &Replicas) {
    let (certificate, key, authority) = replicas.operator.certificate(SYSTEM);
    let (certificate, key, authority) = (certificate.display(), key.display(), authority.display());
    let (bootstrap, registry) = (replicas.operator.bootstrap(), replicas.operator.registry());
    let folder = replicas.operator.folder().display();
    println!("\nThe cluster runs. Ten people are published. Read them in the name of {SYSTEM}:\n");
    println!(
        "  kcat -b {bootstrap} -X security.protocol=ssl -X ssl.ca.location={authority} \\\n    \
         -X ssl.certificate.location={certificate} -X ssl.key.location={key} \\\n    \
         -C -t population -o beginning -f '%k\\n'"
    );
    println!("\nOr in Python:\n");
    println!(
        "{}/.cache/venv/bin/python - <<'END'\n\
         from confluent_kafka import Consumer\n\
         c = Consumer({{'bootstrap.servers': '{bootstrap}', 'group.id': 'mine', 'auto.offset.reset': 'earliest',\n    \
         'security.protocol': 'ssl', 'ssl.ca.location': '{authority}',\n    \
         'ssl.certificate.location': '{certificate}', 'ssl.key.location': '{key}'}})\n\
         c.subscribe(['population'])\n\
         while True:\n    \
         m = c.poll(1)\n    \
         if m and not m.error(): print(m.partition(), m.offset(), m.key().decode())\n\
         END",
        repository().display()
    );
    println!(
        "\nThe registry: curl --cacert {authority} --cert {certificate} --key {key} {registry}/subjects"
    );
    println!("\nIts directory, its log, and one hub less:\n");
    println!("  shuniu directory apply FILE --config {folder}/hub.toml");
    println!("  shuniu audit search --config {folder}/hub.toml --resource population");
    println!("  shuniu audit verify --config {folder}/hub.toml");
    for hub in 0..HUBS {
        let replica = replicas.hub(hub);
        println!(
            "  kill -9 {}    # hub {hub} at {}, folder {}",
            replica.process_id().unwrap_or_default(),
            replica.address(),
            replica.folder().display()
        );
    }
    println!("\nCtrl-C ends all of it, and removes the folders.");
}
