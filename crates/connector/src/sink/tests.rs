//! The table's rules, on SQLite.

use std::collections::HashMap;

use shuniu_model::Timestamp;

use super::layout::Layout;
use super::table::{Pending, Start, Table};
use crate::avro::{Shape, put};
use crate::config::Sink;

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
    let readers = HashMap::from([(1, layout.reader(schema).unwrap())]);
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
