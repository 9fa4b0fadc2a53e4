//! Connectors that are killed in the middle, at both ends.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shuniu_tests::{Hub, repository};

use crate::consume;

const ROWS: u32 = 30_000;

/// A source of divisions, of the file `divisions.csv`, and a sink of them, in a folder.
pub(crate) fn describe(hub: &Hub, folder: &Path) {
    let door = |system: &str| {
        let (certificate, key, authority) = hub.certificate(system);
        format!(
            "[hub]\nbrokers = \"{}\"\nregistry = \"{}\"\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            hub.bootstrap(),
            hub.registry(),
            authority.display(),
            certificate.display(),
            key.display()
        )
    };
    let source = format!(
        "{}[source]\nresource = \"division\"\nschema = \"{}/schemas/division/v1.avsc\"\nkey = \"code\"\n\
         files = [\"divisions.csv\"]\nformat = \"csv\"\ncoverage = \"whole\"\nduplicates = \"last\"\n\
         state = \"state.db\"\nrejects = \"rejects\"\n[source.items]\ncode = \"code\"\nname = \"name\"\n\
         county = \"areaCode\"\nprefecture = \"cityCode\"\nprovince = \"provinceCode\"\n",
        door("civil-affairs"),
        repository().display()
    );
    std::fs::write(folder.join("source.toml"), source).unwrap();
    let sink = format!(
        "{}[sink]\nresource = \"division\"\ndatabase = \"sqlite:sink.db\"\ntable = \"division\"\ncreate = true\n\
         group = \"sink\"\n",
        door("hall-yuzhong")
    );
    std::fs::write(folder.join("sink.toml"), sink).unwrap();
}

/// The source's file: the divisions of these numbers.
pub(crate) fn divisions(folder: &Path, numbers: impl Iterator<Item = u32>) {
    let mut rows = String::from("code,name,areaCode,provinceCode,cityCode\n");
    for n in numbers {
        writeln!(rows, "{},街道{n},500101,50,5001", 500_100_000 + n).unwrap();
    }
    std::fs::write(folder.join("divisions.csv"), rows).unwrap();
}

/// What a query on the sink's database gives, as text.
pub(crate) fn query(folder: &Path, sql: &str) -> String {
    let script =
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let output = Command::new(repository().join(".cache/venv/bin/python"))
        .args(["-c", script])
        .arg(folder.join("sink.db"))
        .arg(sql)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a connector and kills it after each of the given times, then lets it run to its end.
pub(crate) fn run(hub: &Hub, file: &str, killed_after_ms: &[u64]) -> String {
    for after in killed_after_ms {
        let mut child = hub.connector(file).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*after));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = hub.connector(file).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{file}: {out}{err}");
    format!("{out}{err}")
}

#[test]
fn p4_connectors_killed_at_both_ends_lose_nothing_and_repeat_nothing() {
    let hub = Hub::start();
    describe(&hub, hub.folder());
    divisions(hub.folder(), 0..ROWS);
    run(&hub, "source.toml", &[200, 700, 900, 1_100, 1_400, 1_700]);
    let got = consume(&hub, "hall-yuzhong", "division", "check");
    assert_eq!(got.len(), usize::try_from(ROWS).unwrap());
    let repeated = got.values().filter(|records| records.len() != 1).count();
    assert_eq!(repeated, 0, "records on the topic more than once");
    run(&hub, "sink.toml", &[300, 800, 1_200, 1_600]);
    assert_eq!(query(hub.folder(), "SELECT count(*) FROM division"), ROWS.to_string());
    assert_eq!(query(hub.folder(), "SELECT count(DISTINCT code) FROM division"), ROWS.to_string());
    // The same file again sends nothing.
    run(&hub, "source.toml", &[]);
    let again = consume(&hub, "hall-yuzhong", "division", "check-again");
    assert_eq!(again.values().map(Vec::len).sum::<usize>(), usize::try_from(ROWS).unwrap());
}
