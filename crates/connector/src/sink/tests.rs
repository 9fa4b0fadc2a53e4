//! The table's rules, on SQLite.

use std::collections::HashMap;
use std::sync::Arc;

use shuniu_model::Timestamp;

use super::SinkError;
use super::layout::Layout;
use super::table::{Pending, Start, Table};
use crate::avro::{Shape, put};
use crate::config::Sink;
use crate::state::{State, StateError};

const NARROW: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}"#;
const WIDE: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "a", "type": "string"}, {"name": "n", "type": ["null", "long"], "default": null},
    {"name": "d", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null}]}"#;

const DAY: i64 = 86_400_000_000;

fn sink(folder: &tempfile::TempDir) -> Sink {
    let toml = format!(
        "resource = \"things\"\ndatabase = \"sqlite:{}\"\ntable = \"things\"\ncreate = true\n",
        folder.path().join("a b#.db").display()
    );
    toml::from_str(&toml).unwrap()
}

fn body(schema: &str, texts: &[Option<&str>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, text) in Shape::parse(schema).unwrap().fields.iter().zip(texts) {
        put(&field.kind, *text, &mut body).unwrap();
    }
    body
}

async fn start(table: &mut Table, schema: &str, high: i64, day: i64) -> Start {
    let layout = Layout::new(schema).unwrap();
    table.start(&layout, schema, &[(0, 0, high)], Timestamp::from_micros(day * DAY)).await.unwrap()
}

/// Writes records of the schema from an offset on; `None` deletes.
async fn write(
    table: &mut Table,
    schema: &str,
    start: &Start,
    first: i64,
    records: &[(&str, Option<&[Option<&str>]>)],
) {
    let layout = Layout::new(schema).unwrap();
    let readers = HashMap::from([(1, Arc::new(layout.reader(schema).unwrap()))]);
    let mut pending = Pending::default();
    for ((key, texts), offset) in records.iter().zip(first..) {
        pending.take(0, offset, key, texts.map(|texts| (1, body(schema, texts))));
    }
    table
        .write(&layout, &readers, &pending, start.generation, Some(Timestamp::from_micros(0)))
        .await
        .unwrap();
}

#[tokio::test]
async fn rows_and_offsets_change_together_and_deletions_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::open(&sink(&folder)).await.unwrap();
    let begun = start(&mut table, WIDE, 0, 0).await;
    assert!(begun.full_read.is_some() && begun.sweeps && begun.offsets.is_empty());
    let x: &[Option<&str>] = &[Some("x"), Some("7"), Some("2020-02-29")];
    write(
        &mut table,
        WIDE,
        &begun,
        0,
        &[("x", Some(&[Some("x"), None, None])), ("x", Some(x)), ("y", Some(x)), ("y", None)],
    )
    .await;
    assert_eq!(table.sweep(begun.generation).await.unwrap(), 0);
    assert_eq!(table.texts("SELECT _key || a || n || d FROM things").await, ["xx72020-02-29"]);
    // A new process goes on where the last transaction ended.
    drop(table);
    let mut table = Table::open(&sink(&folder)).await.unwrap();
    let begun = start(&mut table, WIDE, 4, 6).await;
    assert_eq!((begun.full_read, begun.sweeps, begun.offsets), (None, false, HashMap::from([(0, 4)])));
}

#[tokio::test]
async fn what_a_full_read_does_not_see_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::open(&sink(&folder)).await.unwrap();
    let row: &[Option<&str>] = &[Some("x"), None, None];
    let begun = start(&mut table, WIDE, 0, 0).await;
    write(&mut table, WIDE, &begun, 0, &[("x", Some(row)), ("y", Some(row))]).await;
    table.sweep(begun.generation).await.unwrap();
    for (high, day) in [(2, 7), (1, 0)] {
        let again = start(&mut table, WIDE, high, day).await;
        assert!(again.full_read.is_some(), "after a week, and when the log is shorter");
        // A full read that is broken off goes on as one.
        assert!(start(&mut table, WIDE, 2, day).await.sweeps);
        write(&mut table, WIDE, &again, 0, &[("x", Some(row)), ("z", Some(row))]).await;
        assert_eq!(table.sweep(again.generation).await.unwrap(), u64::from(day == 7));
    }
    assert_eq!(table.texts("SELECT _key FROM things ORDER BY 1").await, ["x", "z"]);
}

#[tokio::test]
async fn a_log_that_was_restored_from_a_backup_is_read_from_the_start_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::open(&sink(&folder)).await.unwrap();
    let row: &[Option<&str>] = &[Some("x"), None, None];
    let begun = start(&mut table, WIDE, 0, 0).await;
    write(&mut table, WIDE, &begun, 0, &[("x", Some(row)), ("lost", Some(row))]).await;
    table.sweep(begun.generation).await.unwrap();
    // The backup had one record, and nothing came since.
    let high = 1 + (1 << 30);
    let again = start(&mut table, WIDE, high, 0).await;
    assert_eq!(again.full_read.as_deref(), Some("the hub was restored from a backup"));
    let layout = Layout::new(WIDE).unwrap();
    let readers = HashMap::from([(1, Arc::new(layout.reader(WIDE).unwrap()))]);
    let mut pending = Pending::default();
    pending.take(0, 0, "x", Some((1, body(WIDE, row))));
    again.ends.iter().for_each(|(partition, end)| pending.reach(*partition, *end));
    let now = Some(Timestamp::from_micros(0));
    table.write(&layout, &readers, &pending, again.generation, now).await.unwrap();
    assert_eq!(table.sweep(again.generation).await.unwrap(), 1);
    assert_eq!(table.texts("SELECT _key FROM things").await, ["x"]);
    let begun = start(&mut table, WIDE, high + 5, 0).await;
    assert_eq!((begun.full_read, begun.offsets), (None, HashMap::from([(0, high)])));
}

#[tokio::test]
async fn a_narrower_view_leaves_nothing_of_the_wider_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::open(&sink(&folder)).await.unwrap();
    let begun = start(&mut table, WIDE, 0, 0).await;
    write(
        &mut table,
        WIDE,
        &begun,
        0,
        &[("x", Some(&[Some("x"), Some("7"), None])), ("y", Some(&[Some("y"), None, None]))],
    )
    .await;
    table.sweep(begun.generation).await.unwrap();
    let begun = start(&mut table, NARROW, 2, 0).await;
    assert_eq!(begun.full_read.as_deref(), Some("other columns are delivered than before"));
    write(&mut table, NARROW, &begun, 0, &[("x", Some(&[Some("x")]))]).await;
    assert_eq!(table.sweep(begun.generation).await.unwrap(), 1);
    assert_eq!(
        table.texts("SELECT name FROM pragma_table_info('things') ORDER BY cid").await,
        ["_key", "_seen", "a"]
    );
    let begun = start(&mut table, WIDE, 2, 0).await;
    write(&mut table, WIDE, &begun, 0, &[("x", Some(&[Some("x"), Some("8"), None]))]).await;
    assert_eq!(table.texts("SELECT _key || n FROM things").await, ["x8"]);
}

/// A PostgreSQL of the test's own, reached through a socket in its folder; `None` where there is none to start.
struct Cluster {
    programs: std::path::PathBuf,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let programs = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = programs.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let programs = programs.filter(|folder| folder.join("initdb").exists()).max()?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let cluster = Self { programs, folder };
        let path = cluster.folder.path().display().to_string();
        let (data, log) = (format!("{path}/data"), format!("{path}/log"));
        let socket = format!("-c listen_addresses='' -c unix_socket_directories='{path}'");
        let is_up = cluster
            .run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
            && cluster.run("pg_ctl", &["-D", &data, "-w", "-o", &socket, "-l", &log, "start"]);
        is_up.then_some(cluster)
    }

    fn sink(&self) -> Sink {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        let database = format!("postgres://postgres@localhost/postgres?host={host}");
        let toml =
            format!("resource = \"things\"\ndatabase = \"{database}\"\ntable = \"things\"\ncreate = true\n");
        toml::from_str(&toml).unwrap()
    }

    /// PostgreSQL does not run as root: then its own user runs it.
    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        use std::process::{Command, Stdio};
        let program = self.programs.join(program);
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let mut command = match is_root {
            true => Command::new("runuser"),
            false => Command::new(&program),
        };
        if is_root {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        let command = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.path().join("data").display().to_string();
        self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]);
    }
}

#[tokio::test]
async fn postgresql_gets_the_same_rows_in_its_own_types() {
    const TYPED: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "string"}, {"name": "n", "type": ["null", "long"], "default": null},
        {"name": "d", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
        {"name": "c", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 6}], "default": null},
        {"name": "i", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null},
        {"name": "b", "type": ["null", "boolean"], "default": null},
        {"name": "f", "type": ["null", "double"], "default": null}]}"#;
    let Some(cluster) = Cluster::start() else {
        println!("left out: no PostgreSQL to start");
        return;
    };
    let sink = cluster.sink();
    let mut table = Table::open(&sink).await.unwrap();
    let begun = start(&mut table, TYPED, 0, 0).await;
    let full: &[Option<&str>] = &[
        Some("x"),
        Some("-7"),
        Some("2020-02-29"),
        Some("5147.1628"),
        Some("2020-09-01T17:55:19Z"),
        Some("true"),
        Some("1.5"),
    ];
    let empty: &[Option<&str>] = &[Some("y"), None, None, None, None, None, None];
    write(
        &mut table,
        TYPED,
        &begun,
        0,
        &[("x", Some(full)), ("y", Some(empty)), ("z", Some(full)), ("z", None)],
    )
    .await;
    table.sweep(begun.generation).await.unwrap();
    let typed =
        "SELECT concat_ws(' ', a, n, d + 1, c * 2, i AT TIME ZONE 'UTC', b, f) FROM things ORDER BY _key";
    assert_eq!(table.texts(typed).await, ["x -7 2020-03-01 10294.3256 2020-09-01 17:55:19 t 1.5", "y"]);
    // The table follows a narrower view, and goes on from its offsets.
    let begun = start(&mut table, NARROW, 4, 0).await;
    write(&mut table, NARROW, &begun, 4, &[("x", Some(&[Some("x")]))]).await;
    assert_eq!(table.sweep(begun.generation).await.unwrap(), 1);
    assert_eq!(start(&mut table, NARROW, 5, 0).await.offsets, HashMap::from([(0, 5)]));
}

#[tokio::test]
async fn a_file_is_a_sinks_or_a_sources_and_never_both() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(&folder);
    let file = folder.path().join("a b#.db");
    drop(Table::open(&sink).await.unwrap());
    let refused = State::open(&file).await.err().unwrap();
    assert!(matches!(refused, StateError::Shared { .. }), "{refused}");
    assert!(refused.to_string().contains("a b#.db` holds the table `_shuniu_"), "{refused}");
    drop(Table::open(&sink).await.unwrap());

    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        drop(State::open(&file).await.unwrap());
    }
    let refused = Table::open(&sink).await.err().unwrap();
    assert!(matches!(refused, SinkError::State { .. }), "{refused}");
    drop(State::open(&file).await.unwrap());
}

#[tokio::test]
async fn a_key_that_comes_again_in_postgresqls_first_load_is_updated() {
    const BYTES: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "string"}, {"name": "f", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "n", "type": ["null", "long"], "default": null}]}"#;
    let Some(cluster) = Cluster::start() else {
        println!("left out: no PostgreSQL to start");
        return;
    };
    let mut table = Table::open(&cluster.sink()).await.unwrap();
    let begun = start(&mut table, BYTES, 6, 0).await;
    let layout = Layout::new(BYTES).unwrap();
    let readers = HashMap::from([(1, Arc::new(layout.reader(BYTES).unwrap()))]);
    // A text with what COPY escapes, two bytes, and a number that is null for 0.
    let row = |text: &str, number: u8| {
        let length = u8::try_from(text.len() * 2).unwrap();
        let number = if number == 0 { vec![0] } else { vec![2, number * 2] };
        Some((1, [&[length], text.as_bytes(), &[b'\\', 0xff], &number].concat()))
    };
    let odd = "\\N\tb\nc\rd\\.";
    for (first, records) in [
        (0, vec![("x", row(odd, 1)), ("y", row("y", 0))]),
        (2, vec![("w", row("w", 3)), ("x", row(odd, 4)), ("y", None)]),
        (5, vec![("v", row("v", 5))]),
    ] {
        let mut pending = Pending::default();
        for ((key, body), offset) in records.into_iter().zip(first..) {
            pending.take(0, offset, key, body);
        }
        table.write(&layout, &readers, &pending, begun.generation, None).await.unwrap();
    }
    assert_eq!(table.sweep(begun.generation).await.unwrap(), 0);
    let rows = table.texts("SELECT concat_ws(' ', _key, a, f, n) FROM things ORDER BY _key").await;
    assert_eq!(rows, ["v v \\x5cff 5".to_owned(), "w w \\x5cff 3".to_owned(), format!("x {odd} \\x5cff 4")]);
    assert_eq!(start(&mut table, BYTES, 6, 0).await.offsets, HashMap::from([(0, 6)]));
}
