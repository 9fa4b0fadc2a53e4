//! The rules of a run, on small files.

use super::*;

const PAIRS: &[(&str, &str)] = &[("a", TEXT), ("b", TEXT_OR_NULL)];
const MAPPED: &str = "a = \"a\"\nb = \"b\"";

fn pairs(source: &str) -> Bench {
    Bench::new(PAIRS, &format!("format = \"csv\"\n{source}"), MAPPED)
}

fn rejects(bench: &Bench) -> Vec<serde_json::Value> {
    let files = std::fs::read_dir(bench.path("rejects")).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_change_carries_the_row_before_and_a_new_row_none() {
    let mut bench = pairs("coverage = \"whole\"\ndelete_share_max = 1.0");
    let (first, second) = (bench.path("1.csv"), bench.path("2.csv"));
    bench.write("1.csv", "a,b\nx,1\ny,1\nz,1\n");
    bench.write("2.csv", "a,b\nx,1\ny,2\nw,1\n");
    let report = bench.run(&[&first, &second]).await.unwrap();
    assert_eq!(report.files.iter().map(counts).collect::<Vec<_>>(), [[3, 0, 0], [1, 1, 1]]);
    let log = &bench.recorder.log;
    assert!(log[..3].iter().all(|change| change.before.is_none()));
    // Rows in the file's order, then deletions.
    assert_eq!(log[3..].iter().map(|change| change.key.as_slice()).collect::<Vec<_>>(), [b"y", b"w", b"z"]);
    assert_eq!(log[3].before, log[1].after.clone().map(|body| (7, body)));
    assert_eq!((log[5].after.clone(), log[5].before.is_some()), (None, true));
    assert_eq!(bench.recorder.batches.len(), 2);
    assert!(bench.recorder.batches[0].name.starts_with("1.csv@"));
    assert!(bench.recorder.batches[0].source_time.is_some());
}

#[tokio::test]
async fn a_sheet_of_a_workbook_reads_as_text_whatever_its_cells_hold() {
    use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
    let items = [("id", TEXT), ("name", TEXT_OR_NULL), ("amount", TEXT_OR_NULL), ("since", TEXT_OR_NULL)];
    let mapping = "id = \"编号\"\nname = \"名称\"\namount = \"金额\"\nsince = \"日期\"";
    let mut bench = Bench::new(&items, "format = \"xlsx\"\nsheet = \"名册\"\ncoverage = \"whole\"", mapping);
    let mut book = Workbook::new();
    book.add_worksheet().write(0, 0, "another sheet").unwrap();
    let sheet = book.add_worksheet().set_name("名册").unwrap();
    // A sheet that begins below its first row, with a row without anything in it.
    for (column, name) in (0..).zip(["编号", "名称", "金额", "日期"]) {
        sheet.write(1, column, name).unwrap();
    }
    let date = Format::new().set_num_format("yyyy-mm-dd");
    sheet.write(2, 0, 91).unwrap().write(2, 1, "重庆，\"引号\"").unwrap().write(2, 2, 0.1).unwrap();
    sheet.write_with_format(2, 3, ExcelDateTime::from_ymd(2024, 2, 29).unwrap(), &date).unwrap();
    sheet.write(4, 0, "007").unwrap().write(4, 2, 51_471_628).unwrap();
    sheet.write(5, 1, "without a number").unwrap();
    let file = bench.path("1.xlsx");
    book.save(&file).unwrap();
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!(
        (report.files[0].rows, report.files[0].inserted, report.files[0].rejected),
        (3, 2, 1),
        "{report}"
    );
    let table = bench.recorder.table();
    assert_eq!(table["91"], ["91", "重庆，\"引号\"", "0.1", "2024-02-29"]);
    assert_eq!(table["007"], ["007", "", "51471628", ""]);
    let lines = rejects(&bench);
    assert_eq!((lines[0]["row"].as_u64(), lines[0]["column"].as_str()), (Some(6), Some("编号")));

    let mut absent = Bench::new(&items, "format = \"xlsx\"\nsheet = \"名冊\"\ncoverage = \"whole\"", mapping);
    let error = absent.run(&[&file]).await.unwrap_err();
    let error = std::error::Error::source(&error).unwrap();
    assert!(error.to_string().contains("is not a workbook with the declared sheet"), "{error}");
}

#[tokio::test]
async fn the_report_says_what_stands_for_what_and_counts_one_as_one() {
    let mut bench = pairs("coverage = \"part\"\nduplicates = \"last\"");
    let (first, second) = (bench.path("1.csv"), bench.path("2.csv"));
    bench.write("1.csv", "a,b\nx,1\n");
    bench.write("2.csv", "a,b\ny,1\ny,2\n");
    let report = bench.run(&[&first, &second]).await.unwrap().to_string();
    assert!(report.contains("1.csv: 1 row, 1 inserted, 0 updated"), "{report}");
    assert!(report.contains("  1 row repeats a key"), "{report}");
    // Where the state is lost, parts are laid over one another before they are compared.
    std::fs::remove_file(bench.path("state.db")).unwrap();
    let report = bench.run(&[&first, &second]).await.unwrap().to_string();
    assert!(report.contains("read back what the topic holds: 2 live records"), "{report}");
    assert!(report.contains("1.csv: 1 row, compared as one with the file after it"), "{report}");
    assert!(report.contains("2.csv: 2 rows, 0 inserted, 0 updated, 0 deleted, 2 unchanged"), "{report}");
}

#[tokio::test]
async fn a_part_never_deletes() {
    let mut bench = pairs("coverage = \"part\"");
    let (first, second) = (bench.path("1.csv"), bench.path("2.csv"));
    bench.write("1.csv", "a,b\nx,1\ny,1\n");
    bench.write("2.csv", "a,b\ny,2\n");
    let report = bench.run(&[&first, &second]).await.unwrap();
    assert_eq!(report.files.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0], [0, 0, 1]]);
    assert_eq!(bench.recorder.sink.len(), 2);
}

#[tokio::test]
async fn an_empty_file_is_stopped_by_the_guard_and_a_confirmation_is_good_for_one_file() {
    let mut bench = pairs("coverage = \"whole\"");
    let files = [bench.path("1.csv"), bench.path("2.csv"), bench.path("3.csv"), bench.path("4.csv")];
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    bench.write("1.csv", "a,b\nx,1\ny,1\n");
    for (name, content) in [("2.csv", "a,b\n"), ("3.csv", "a,b\nx,1\ny,1\n"), ("4.csv", "a,b\n")] {
        bench.write(name, content);
    }
    match bench.run(&files).await {
        Err(ConnectorError::Guarded { file, deletes, live, report, .. }) => {
            assert_eq!((file.as_path(), deletes, live), (files[1], 2, 2));
            assert_eq!(report.files.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0], [0, 2, 0]]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.recorder.sink.len(), 2);
    match bench.confirm(&files).await {
        Err(ConnectorError::Guarded { file, .. }) => assert_eq!(file.as_path(), files[3]),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.recorder.sink.len(), 2);
    bench.confirm(&files).await.unwrap();
    assert!(bench.recorder.sink.is_empty());
}

#[tokio::test]
async fn a_rejected_row_is_named_without_its_value_and_its_record_is_held() {
    let items = [("a", TEXT), ("b", "[\"null\", {\"type\": \"int\", \"logicalType\": \"date\"}]")];
    let source = "format = \"csv\"\ncoverage = \"whole\"\ndelete_share_max = 1.0";
    let mut bench = Bench::new(&items, source, MAPPED);
    let (first, second) = (bench.path("1.csv"), bench.path("2.csv"));
    bench.write("1.csv", "a,b\nx,2020-01-01\ny,2020-01-01\n");
    bench.write("2.csv", "a,b\nx,secret7\ny,2020-01-02,more\n,2020-01-01\n");
    bench.run(&[&first]).await.unwrap();
    let report = bench.run(&[&first, &second]).await.unwrap().files.pop().unwrap();
    assert_eq!((report.rows, report.rejected, report.held), (3, 3, 1));
    // The ragged row gives no key, so nothing tells that `y` is still meant.
    assert_eq!(counts(&report), [0, 1, 0]);
    let lines = rejects(&bench);
    assert_eq!(lines[0]["column"], "b");
    assert_eq!(lines[0]["row"], 2);
    assert_eq!(lines[0]["shape"], "7 characters: digits, small letters");
    assert_eq!(lines[0]["rule"], "a date as YYYY-MM-DD");
    assert_eq!(lines[1]["shape"], "3 fields");
    assert_eq!(lines[2]["rule"], "a value is required: it is the key");
    assert!(lines.iter().all(|line| !line.to_string().contains("secret7")));
}

#[tokio::test]
async fn duplicates_are_rejected_where_they_are_not_declared() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.write("1.csv", "a,b\nx,1\ny,1\nx,2\n");
    let file = bench.path("1.csv");
    let report = bench.run(&[&file]).await.unwrap().files.pop().unwrap();
    assert_eq!((report.inserted, report.rejected, report.duplicates), (2, 1, 1));
    assert_eq!(bench.recorder.table()["x"], ["x", "1"]);
    assert!(rejects(&bench)[0]["rule"].as_str().unwrap().contains("row 2"));
}

#[tokio::test]
async fn after_a_failure_at_any_record_nothing_is_lost_and_nothing_is_sent_twice() {
    let rows = |from: usize, value: &str| -> String {
        let rows: Vec<String> = (from..from + 40).map(|n| format!("k{n},{value}")).collect();
        format!("a,b\n{}\n", rows.join("\n"))
    };
    for fails_at in [0, 1, 17, 39, 40, 45, 63, 80, 84] {
        let mut bench = pairs("coverage = \"whole\"");
        bench.write("1.csv", rows(0, "1"));
        bench.write("2.csv", rows(4, "2"));
        let files = [bench.path("1.csv"), bench.path("2.csv")];
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        bench.recorder.fails_at = Some(fails_at);
        if bench.run(&files).await.is_err() {
            let live = bench.recorder.sink.len() as u64;
            let report = bench.run(&files).await.unwrap();
            assert_eq!(report.recovered, Some(live));
        }
        // 40 inserts, 36 updates, 4 inserts, 4 deletes: each once, as the recorder holds `before` against the topic.
        assert_eq!(bench.recorder.log.len(), 84, "failed at {fails_at}");
        assert_eq!(bench.recorder.sink.len(), 40);
        assert_eq!(bench.run(&files).await.unwrap(), Report::default());
    }
}

#[tokio::test]
async fn without_its_state_a_connector_reads_the_topic_back_before_it_sends() {
    for (coverage, expected) in [("whole", [0, 0, 0]), ("part", [0, 0, 0])] {
        let mut bench = pairs(&format!("coverage = \"{coverage}\"\ndelete_share_max = 1.0"));
        bench.write("1.csv", "a,b\nx,1\ny,1\n");
        bench.write("2.csv", "a,b\ny,2\nz,1\n");
        let files = [bench.path("1.csv"), bench.path("2.csv")];
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        bench.run(&files).await.unwrap();
        let sent = bench.recorder.log.len();
        for file in ["state.db", "state.db-wal", "state.db-shm"] {
            // The write-ahead log goes with its last user.
            let _gone = std::fs::remove_file(bench.path(file));
        }
        let report = bench.run(&files).await.unwrap();
        assert_eq!(report.recovered, Some(bench.recorder.sink.len() as u64));
        assert_eq!(counts(report.files.last().unwrap()), expected, "{coverage}");
        assert_eq!(bench.recorder.log.len(), sent, "history is not played again");
        assert_eq!(bench.run(&files).await.unwrap(), Report::default());
    }
}

#[tokio::test]
async fn a_topic_that_was_emptied_gets_everything_again() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.write("1.csv", "a,b\nx,1\n");
    let file = bench.path("1.csv");
    bench.run(&[&file]).await.unwrap();
    bench.recorder.log.clear();
    bench.recorder.sink.clear();
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!((report.recovered, counts(&report.files[0])), (Some(0), [1, 0, 0]));
}

#[tokio::test]
async fn after_a_restore_from_a_backup_the_newest_state_is_published_again() {
    for (coverage, again) in [("whole", [1, 1, 1]), ("part", [1, 0, 1])] {
        let mut bench = pairs(&format!("coverage = \"{coverage}\"\ndelete_share_max = 1.0"));
        bench.write("1.csv", "a,b\nw,1\nx,1\ny,1\n");
        bench.write("2.csv", "a,b\nw,1\ny,2\nz,1\n");
        let files = [bench.path("1.csv"), bench.path("2.csv")];
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        bench.run(&files[..1]).await.unwrap();
        let kept = bench.recorder.log.len();
        bench.run(&files).await.unwrap();
        let newest = bench.recorder.table();
        // What the second file changed is lost, and the connector's state says that it is there.
        bench.recorder.restore(kept);
        let report = bench.run(&files).await.unwrap();
        assert_eq!(report.recovered, Some(3));
        assert_eq!(counts(report.files.last().unwrap()), again, "{coverage}");
        assert_eq!(bench.recorder.table(), newest, "{coverage}");
        assert_eq!(bench.run(&files).await.unwrap(), Report::default(), "once");
        // Nothing was lost: nothing is sent.
        bench.recorder.restore(bench.recorder.log.len());
        let sent = bench.recorder.log.len();
        assert_eq!(bench.run(&files).await.unwrap().recovered, Some(newest.len() as u64));
        assert_eq!(bench.recorder.log.len(), sent);
    }
}

#[tokio::test]
async fn refused_records_are_named_and_the_rest_goes_on() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.write("1.csv", "a,b\nx,1\ny,1\nz,1\n");
    let file = bench.path("1.csv");
    bench.recorder.refuses = vec![b"y".to_vec()];
    match bench.run(&[&file]).await {
        Err(ConnectorError::Refused { records: 1, named, .. }) => assert_eq!(named[0].row, Some(3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.recorder.sink.len(), 2);
    bench.recorder.refuses.clear();
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!(report.recovered, None, "what was refused is known not to be there");
    assert_eq!(counts(&report.files[0]), [1, 0, 0]);
}

#[tokio::test]
async fn a_run_told_to_stop_goes_on_later_without_reading_back() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.write("1.csv", "a,b\nx,1\n");
    let file = bench.path("1.csv");
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(bench.run_with(&[&file], false, &cancel).await, Err(ConnectorError::Cancelled)));
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!((report.recovered, counts(&report.files[0])), (None, [1, 0, 0]));
}

#[tokio::test]
async fn a_column_that_is_not_compared_changes_nothing() {
    let mut bench = pairs("coverage = \"whole\"\ncompare_ignore = [\"b\"]");
    let (first, second) = (bench.path("1.csv"), bench.path("2.csv"));
    bench.write("1.csv", "a,b\nx,1\n");
    bench.write("2.csv", "a,b\nx,2\n");
    let report = bench.run(&[&first, &second]).await.unwrap();
    assert_eq!(counts(&report.files[1]), [0, 0, 0]);
}

#[tokio::test]
async fn a_key_of_several_columns_is_joined_and_no_part_holds_the_bar() {
    let items = [("id", TEXT), ("a", TEXT), ("b", TEXT_OR_NULL)];
    let mapping = "id = { columns = [\"a\", \"b\"], transforms = [\"trim\"] }\na = \"a\"\nb = \"b\"";
    let mut bench = Bench::new(&items, "format = \"csv\"\ncoverage = \"whole\"", mapping);
    bench.write("1.csv", "a,b\nx, 1\ny,\nz|w,1\n");
    let file = bench.path("1.csv");
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!(report.files[0].rejected, 1);
    assert_eq!(
        bench.recorder.sink.keys().map(|key| std::str::from_utf8(key).unwrap()).collect::<Vec<_>>(),
        ["x|1", "y|"]
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_as_declared_sends_nothing() {
    let error = async |source: &str, content: &[u8]| {
        let mut bench = pairs(&format!("coverage = \"whole\"\n{source}"));
        bench.write("1.csv", content);
        let file = bench.path("1.csv");
        match bench.run(&[&file]).await {
            Err(ConnectorError::File { source }) => {
                assert!(bench.recorder.log.is_empty());
                source.to_string().replace(&bench.folder.path().display().to_string(), "")
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error("", b"a,\xff\nx,1\n").await, "`/1.csv`: byte 0 is not UTF-8, so no row can be told");
    assert!(error("", b"a,c\nx,1\n").await.contains("has no column `b`"));
    assert!(error("", b"a,b,b\nx,1,2\n").await.contains("column `b` more than once"));
    assert!(
        error("encoding = \"big5\"", b"\xef\xbb\xbfa,b\n").await.contains("starts with the mark of UTF-8")
    );
    assert!(error("", b"a,b\nx,\"1\ny,2\n").await.contains("a quote is opened and never closed"));
}

#[tokio::test]
async fn undecodable_bytes_reject_their_row_alone() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.write("1.csv", b"\xef\xbb\xbfa,b\r\nx,\"1\n2\"\r\ny,ab\xff\r\nz,1\r\n");
    let file = bench.path("1.csv");
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!((report.files[0].inserted, report.files[0].rejected), (2, 1));
    assert_eq!(bench.recorder.table()["x"], ["x", "1\n2"]);
    let line = &rejects(&bench)[0];
    assert_eq!((line["rule"].as_str(), line["byte"].as_u64()), (Some("UTF-8"), Some(17)));
    assert_eq!(line["shape"], "byte 2 of the field, in the row that starts at byte 17");
}

#[tokio::test]
async fn mandatory_items_without_a_value_are_a_warning() {
    let mut bench = pairs("coverage = \"whole\"\nmandatory = [\"b\"]");
    bench.write("1.csv", "a,b\nx,\ny,1\n");
    let file = bench.path("1.csv");
    let report = bench.run(&[&file]).await.unwrap();
    assert_eq!(report.files[0].absent[0].rows, 1);
    assert_eq!(report.files[0].inserted, 2);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_one_and_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let message = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let message = crate::Connector::load(&path).err().unwrap().to_string();
        message.split_once(", ").unwrap().1.to_owned()
    };
    std::fs::write(folder.path().join("v1.avsc"), schema(PAIRS)).unwrap();
    let source = "[source]\nresource = \"r\"\nschema = \"v1.avsc\"\nkey = \"a\"\nfiles = [\"f\"]\nstate = \"s\"\nrejects = \"r\"\nformat = \"csv\"\n";
    assert_eq!(
        message(&format!("{source}coverrage = \"whole\"\n")),
        "line 9: unknown field `coverrage`: did you mean `coverage`?"
    );
    assert_eq!(
        message(&format!("{source}coverage = \"hole\"\n")),
        "line 9: unknown variant `hole`: did you mean `whole`?"
    );
    assert_eq!(
        message(&format!("{source}coverage = \"part\"\n[source.items]\na = \"x\"\nbb = \"y\"\n")),
        "line 12: the schema has no item `bb`: did you mean `b`?"
    );
    assert_eq!(
        message(&format!("{source}coverage = \"part\"\n[source.items]\na = {{ colunm = \"x\" }}\n")),
        "line 11: unknown field `colunm`: did you mean `column`?"
    );
    assert!(
        message(&format!("{source}coverage = \"part\"\n[source.items]\nb = \"x\"\n"))
            .contains("item `a` is required")
    );
    assert_eq!(message(""), "line 1: a connector needs [source] or [sink]");
}

#[test]
fn a_file_is_known_by_the_name_that_the_connector_gives_it() {
    let mut bench = pairs("coverage = \"whole\"");
    bench.toml = bench.toml.replace("[source]\n", "[source]\nglob = true\n");
    let (source, _) = bench.load(&[Path::new("../sources/*.csv")]);
    assert_eq!(source.name_of(Path::new(&source.files[0])), "../sources/*.csv");
    let (source, _) = bench.load(&[Path::new("/registers/1.csv")]);
    assert_eq!(source.name_of(Path::new(&source.files[0])), "/registers/1.csv");
}

#[tokio::test]
async fn parts_are_played_one_by_one_beside_records_of_another_connector() {
    let mut bench = pairs("coverage = \"part\"");
    bench.write("other.csv", "a,b\no,1\n");
    let other = bench.path("other.csv");
    bench.run(&[&other]).await.unwrap();
    std::fs::remove_file(bench.path("state.db")).unwrap();
    bench.write("1.csv", "a,b\nx,1\ny,1\n");
    bench.write("2.csv", "a,b\ny,2\n");
    let files = [bench.path("1.csv"), bench.path("2.csv")];
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let report = bench.run(&files).await.unwrap();
    assert_eq!(report.recovered, Some(1));
    assert_eq!(report.files.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0], [0, 0, 1]]);
    assert_eq!(bench.recorder.sink.len(), 3);
}
