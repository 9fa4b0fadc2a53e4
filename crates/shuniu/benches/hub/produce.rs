//! How fast a department publishes.

use shuniu_tests::Hub;
use shuniu_tests::machine::{self, figure, median};
use shuniu_tests::register::{FILTERED, PLAIN, RECORD_BYTES, Register};

use crate::{Scale, publish};

const RATE_GOAL: f64 = 100_000.0;

pub(crate) fn run(hub: &Hub, register: &Register, scale: &Scale) {
    for (resource, name) in [(PLAIN, "hub-produce"), (FILTERED, "hub-produce-with-before-and-subjects")] {
        let mut rates = Vec::new();
        let (cpu, disk) =
            (machine::cpu(hub.process_id()), machine::folder_bytes(&hub.folder().join("records")));
        for pass in 0..scale.passes {
            let records = register.records(resource, pass * scale.records..(pass + 1) * scale.records);
            rates.push(publish::once(hub, resource, &records));
        }
        let cpu = machine::cpu(hub.process_id()).saturating_sub(cpu);
        println!("{name}: {} passes of {} records, records/s: {rates:.0?}", scale.passes, scale.records);
        let mb = (scale.passes * scale.records * RECORD_BYTES) as f64 / 1e6;
        let disk = machine::folder_bytes(&hub.folder().join("records")) - disk;
        println!(
            "beside it: the hub took {:.2} ms of CPU per MB; one record takes {} bytes on disk, the audit log included",
            cpu.as_secs_f64() * 1e3 / mb,
            disk / u64::try_from(scale.passes * scale.records).unwrap()
        );
        let rate = median(rates);
        figure(name, rate, "records/s", RATE_GOAL, rate >= RATE_GOAL);
    }
}
