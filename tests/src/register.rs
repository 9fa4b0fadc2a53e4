//! A register of people in records of 300 bytes, published as two resources, and who may see what of it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};

use crate::{Hub, citizen, repository};

/// A resource without row filters and subjects: its batches pass untouched where the whole view is granted.
pub const PLAIN: &str = "bench-plain";
/// A resource with both: every record carries the row before it, and the audit log names whom it is about.
pub const FILTERED: &str = "bench-filtered";
/// Publishes both.
pub const PUBLISHER: &str = "population-register";

/// The partitions of each.
pub const PARTITIONS: usize = 4;
/// Key and value together.
pub const RECORD_BYTES: usize = 300;
const KEY_BYTES: usize = 18;
/// The value alone.
pub const VALUE_BYTES: usize = RECORD_BYTES - KEY_BYTES;
/// A zero and the schema's id stand before it.
const BODY_BYTES: usize = VALUE_BYTES - 5;
/// One row in so many lives in [`RARE`].
pub const RARITY: usize = 100;
const RARE: &str = "500230";

const NAMES: [&str; 4] = ["王小明", "李四", "欧阳娜娜", "陈建国"];
const STREETS: [&str; 5] =
    ["解放碑街道民权路", "七星岗街道中山一路", "大溪沟街道人民路", "两路口街道长江一路", "菜园坝街道菜袁路"];

/// What the projected views show of a row.
const EIGHT: &str = "id_no = \"keep\"\nname = { mask = { first = 1, last = 0 } }\nsex = \"keep\"\nethnic = \"keep\"\n\
                     birth_date = \"keep\"\nhukou_division = \"keep\"\nlive_division = \"keep\"\nlive_addr = \"keep\"\n";

/// Adds resources and grants to the demonstration's directory, starts the hub and waits until it has made the topics.
pub fn start(hub: &mut Hub) {
    apply(hub);
    hub.restart();
    for topic in [PLAIN, FILTERED] {
        until_there(hub, topic);
    }
}

/// The hub makes topics after it has started.
pub fn until_there(hub: &Hub, topic: &str) {
    let client: BaseConsumer = hub.client(PUBLISHER).create().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).unwrap();
        if metadata.topics().iter().any(|it| it.error().is_none() && it.partitions().len() == PARTITIONS) {
            return;
        }
        assert!(Instant::now() < deadline, "`{topic}` is not there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Adds resources and grants to the demonstration's directory.
pub fn apply(hub: &Hub) {
    let grants = [
        grant("bank-supervisor", PLAIN, WHOLE),
        grant("hall-yuzhong", FILTERED, &projected()),
        grant(
            "hall-jiangbei",
            FILTERED,
            &format!("filter = \"live_division == '{RARE}'\"\n[grant.items]\n{EIGHT}"),
        ),
    ];
    hub.apply(&(resources(hub) + &grants.concat()));
}

/// The demonstration's directory with the resources.
pub fn resources(hub: &Hub) -> String {
    let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    std::fs::write(hub.folder().join("person.avsc"), schema()).unwrap();
    directory + &resource(PLAIN, 91, false, "[]") + &resource(FILTERED, 92, true, "[\"id_no\"]")
}

/// A view of everything.
pub const WHOLE: &str = "whole = true\n";

/// A view of eight of the twenty items, one of them masked.
pub fn projected() -> String {
    format!("[grant.items]\n{EIGHT}")
}

fn resource(name: &str, sequence: u32, row_filters: bool, subjects: &str) -> String {
    format!(
        "\n[[resource]]\nname = \"{name}\"\ntitle_zh = \"人口基础信息\"\ncode = \"101001/{sequence}\"\n\
         provider = \"11500000XNG000011B\"\npublishing_system = \"{PUBLISHER}\"\nsharing = \"conditional\"\n\
         key = \"id_no\"\nsubjects = {subjects}\nrow_filters = {row_filters}\npartitions = {PARTITIONS}\n\
         schemas = [\"person.avsc\"]\n"
    )
}

/// A grant by the name of both.
pub fn grant(system: &str, resource: &str, view: &str) -> String {
    grant_named(&format!("{system}-{resource}"), system, resource, view)
}

/// A grant.
#[must_use]
pub fn grant_named(id: &str, system: &str, resource: &str, view: &str) -> String {
    format!(
        "\n[[grant]]\nid = \"{id}\"\nsystem = \"{system}\"\nresource = \"{resource}\"\n\
         modes = [\"subscribe\"]\npurpose = \"测量\"\nbasis = \"《政务数据共享条例》第二十条\"\nends_at = \"2030-12-31\"\n{view}"
    )
}

/// The population's schema with its twenty items, but for the photograph, which no view may hold.
fn schema() -> String {
    let population = std::fs::read_to_string(repository().join("schemas/population/v1.avsc")).unwrap();
    let mut schema: serde_json::Value = serde_json::from_str(&population).unwrap();
    for item in schema["fields"].as_array_mut().unwrap() {
        if item["name"] == "photo" {
            *item = serde_json::json!({"name": "occupation", "type": ["null", "string"], "default": null,
                "doc": "Occupation", "title_zh": "职业", "data_type": "C", "length": 20, "level": 2,
                "sharing": "conditional"});
        }
    }
    schema.to_string()
}

/// The rows, framed for both resources.
pub struct Register {
    rows: Vec<(String, Vec<u8>)>,
    schemas: [u32; 2],
}

impl Register {
    /// The first rows.
    #[must_use]
    pub fn new(hub: &Hub, rows: usize) -> Self {
        let schemas = [PLAIN, FILTERED].map(|resource| hub.schema_id(PUBLISHER, resource));
        Self {
            rows: (0..rows).map(Person::new).map(|person| (person.id_no.clone(), person.body())).collect(),
            schemas,
        }
    }

    /// The keys and framed values of some rows.
    #[must_use]
    pub fn records(&self, resource: &str, rows: std::ops::Range<usize>) -> Vec<(&str, Vec<u8>)> {
        let schema = self.schemas[usize::from(resource == FILTERED)].to_be_bytes();
        let framed = |body: &[u8]| [&[0], &schema[..], body].concat();
        self.rows[rows].iter().map(|(key, body)| (key.as_str(), framed(body))).collect()
    }
}

/// The headers that a resource asks for: a new row has had none before it.
#[must_use]
pub fn headers(resource: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new();
    if resource == FILTERED {
        headers.insert(Header { key: "before", value: Some(&[][..]) })
    } else {
        headers
    }
}

/// A row of the register.
pub struct Person {
    n: usize,
    /// The key.
    pub id_no: String,
    /// The name.
    pub name: &'static str,
    /// Its code.
    pub sex: &'static str,
    /// Days from 1970 to the day of birth.
    pub birth_date: i64,
    /// Where the person lives.
    pub live_division: String,
    /// The second address, which fills the row up to the length of all.
    pub live_addr: String,
}

/// Of every row.
pub const ETHNIC: &str = "01";
/// Of every row.
pub const HUKOU_DIVISION: &str = "500103";

impl Person {
    /// The `n`th.
    #[must_use]
    pub fn new(n: usize) -> Self {
        let elsewhere = format!("5001{:02}", 1 + n * 31 % 19);
        let mut person = Self {
            n,
            id_no: citizen(u32::try_from(n).unwrap()),
            name: NAMES[n % NAMES.len()],
            sex: if n.is_multiple_of(2) { "1" } else { "2" },
            birth_date: i64::try_from(n * 13 % 20_000).unwrap(),
            live_division: if n.is_multiple_of(RARITY) { RARE.to_owned() } else { elsewhere },
            live_addr: String::new(),
        };
        // A branch and a length of two bytes.
        let filled = BODY_BYTES - person.head().len() - TAIL.len() - 3;
        person.live_addr = noise(n, filled);
        person
    }

    /// The row as Avro.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut out = self.head();
        some(&self.live_addr, &mut out);
        out.extend_from_slice(TAIL);
        assert_eq!(out.len(), BODY_BYTES, "row {} has another length", self.n);
        out
    }

    /// What stands before the second address.
    fn head(&self) -> Vec<u8> {
        let n = self.n;
        let street = STREETS[n % STREETS.len()];
        let address = format!("重庆市渝中区{street}{}号{}幢{}单元", 1 + n * 7 % 389, 1 + n % 9, 1 + n % 4);
        let mut out = Vec::with_capacity(RECORD_BYTES);
        text(&self.id_no, &mut out);
        text(self.name, &mut out);
        // No former name.
        out.push(0);
        some(self.sex, &mut out);
        some(ETHNIC, &mut out);
        out.push(2);
        number(self.birth_date, &mut out);
        for place in ["500103", "500103", HUKOU_DIVISION] {
            some(place, &mut out);
        }
        some(&address, &mut out);
        some(&self.live_division, &mut out);
        out
    }
}

/// What follows the second address: three codes and a flag, and four items that are null.
const TAIL: &[u8] = b"\x02\x0420\x02\x0420\x02\x0401\x02\0\0\0\0\0";

/// Text that does not shrink: a register's free text is less alike from row to row than made-up addresses are.
fn noise(n: usize, length: usize) -> String {
    let mut state = 88_172_645_463_325_252 ^ (u64::try_from(n).unwrap() << 20);
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + u8::try_from(state % 75).unwrap())
    };
    (0..length).map(letter).collect()
}

fn some(value: &str, out: &mut Vec<u8>) {
    out.push(2);
    text(value, out);
}

fn text(value: &str, out: &mut Vec<u8>) {
    number(i64::try_from(value.len()).unwrap(), out);
    out.extend_from_slice(value.as_bytes());
}

/// Avro's zigzag in groups of seven bits.
fn number(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1) ^ (value >> 63);
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}
