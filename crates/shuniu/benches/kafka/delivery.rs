//! What a fetch costs and how fast it is: straight from the broker, through the hub, and through Kroxylicious. Mutual TLS on
//! every way.

use rdkafka::ClientConfig;
use shuniu_tests::Kroxylicious;

use crate::register::{FILTERED, PLAIN, RARITY, VALUE_BYTES};
use crate::{Scale, World, figure, machine, median, read};

/// A way to the records.
struct Door {
    name: &'static str,
    client: ClientConfig,
    resource: &'static str,
    /// The process on the way, if there is one.
    process: Option<u32>,
    /// One in so many records arrives, and of each the whole value or a part.
    rarity: usize,
    whole: bool,
    passes: Vec<Pass>,
}

/// What one pass took, in milliseconds of CPU for each MB, and the records a second that it covered.
struct Pass {
    between: f64,
    broker: f64,
    client: f64,
    rate: f64,
}

const WHOLE: &str = "hub, whole view";
const DIRECT: &str = "broker";
const PROXY: &str = "Kroxylicious";
const PROXY_REBUILDS: &str = "Kroxylicious, records built anew";

pub(crate) fn run(world: &World, scale: &Scale) {
    let World { kafka, hub, .. } = world;
    let [proxy, rebuilding] = [false, true].map(|rebuilds| Kroxylicious::start(kafka, hub, rebuilds));
    let (of_hub, of_proxy) = (Some(hub.process_id()), Some(proxy.process_id()));
    let of_rebuilding = Some(rebuilding.process_id());
    let through = |proxy: &Kroxylicious| proxy.client(hub, "bank-supervisor");
    let mut doors = [
        Door::new(DIRECT, kafka.client_tls(), PLAIN, None),
        Door::new(WHOLE, hub.client("bank-supervisor"), PLAIN, of_hub),
        Door::new(PROXY, through(&proxy), PLAIN, of_proxy),
        Door::new(PROXY_REBUILDS, through(&rebuilding), PLAIN, of_rebuilding),
        Door::new("broker, with `before`", kafka.client_tls(), FILTERED, None),
        Door { whole: false, ..Door::new("hub, projected", hub.client("hall-yuzhong"), FILTERED, of_hub) },
        Door {
            whole: false,
            rarity: RARITY,
            ..Door::new("hub, projected and filtered", hub.client("hall-jiangbei"), FILTERED, of_hub)
        },
        Door::new(
            "Kroxylicious, records with `before` built anew",
            through(&rebuilding),
            FILTERED,
            of_rebuilding,
        ),
    ];
    let broker = kafka.process_id(1);
    for pass in 0..scale.warm_up + scale.passes {
        for door in &mut doors {
            let passed = door.once(broker, scale.records);
            if pass >= scale.warm_up {
                door.passes.push(passed);
            }
        }
    }
    println!("delivery, medians of {} passes in turns after {} to warm up:", scale.passes, scale.warm_up);
    for door in &doors {
        println!(
            "{:>48}: {:>9.0} records/s covered; CPU in ms/MB: between {:.2}, broker {:.2}, client {:.2}",
            door.name,
            door.median(|pass| pass.rate),
            door.median(|pass| pass.between),
            door.median(|pass| pass.broker),
            door.median(|pass| pass.client),
        );
    }
    report(&doors);
    println!("the hub's memory at its peak: {:.0} MB", machine::memory_peak_mb(hub.process_id()));
}

fn report(doors: &[Door]) {
    let door = |name: &str| doors.iter().find(|door| door.name == name).unwrap();
    let cpu = |name: &str| door(name).median(|pass| pass.between);
    let ratio = |one: &str, other: &str, of: fn(&Pass) -> f64| door(one).median(of) / door(other).median(of);
    for (name, of, goal) in [
        ("whole", WHOLE, 2.0),
        ("projected", "hub, projected", 5.0),
        ("filtered", "hub, projected and filtered", 5.0),
    ] {
        figure(&format!("kafka-delivery-{name}-cpu"), cpu(of), "ms/MB", goal, cpu(of) <= goal);
    }
    println!(
        "records/s where all share the machine: the hub gives {:.2} of what the broker gives, Kroxylicious {:.2}, and {:.2} \
         where it builds records anew",
        ratio(WHOLE, DIRECT, |pass| pass.rate),
        ratio(PROXY, DIRECT, |pass| pass.rate),
        ratio(PROXY_REBUILDS, DIRECT, |pass| pass.rate),
    );
    // Beside the one that touches no record stands the whole view; beside the other the projected one, which does more.
    for (name, of, beside) in [
        ("whole", WHOLE, PROXY),
        ("projected", "hub, projected", "Kroxylicious, records with `before` built anew"),
    ] {
        let to = cpu(of) / cpu(beside);
        figure(&format!("kafka-delivery-{name}-cpu-to-kroxylicious"), to, "times", 1.0, to <= 1.0);
    }
}

impl Door {
    fn new(name: &'static str, client: ClientConfig, resource: &'static str, process: Option<u32>) -> Self {
        Self { name, client, resource, process, rarity: 1, whole: true, passes: Vec::new() }
    }

    fn once(&mut self, broker: u32, produced: usize) -> Pass {
        // Without a process between, its place is taken by the broker's, and not used.
        let between = self.process.unwrap_or(broker);
        let read = read::whole(&mut self.client, self.resource, &[between, broker, std::process::id()]);
        assert!(read.covered >= produced);
        assert!(
            read.received >= produced / self.rarity && read.received <= read.covered.div_ceil(self.rarity)
        );
        let whole = read.received_bytes == read.received * VALUE_BYTES;
        assert_eq!(whole, self.whole, "`{}` gives other values", self.name);
        Pass {
            between: if self.process.is_some() { read.ms_per_mb(0) } else { 0.0 },
            broker: read.ms_per_mb(1),
            client: read.ms_per_mb(2),
            rate: read.covered as f64 / read.took.as_secs_f64(),
        }
    }

    fn median(&self, of: fn(&Pass) -> f64) -> f64 {
        median(self.passes.iter().map(of).collect())
    }
}
