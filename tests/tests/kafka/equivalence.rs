//! The same requests to a bare broker and through the hub, in every version that the hub serves: equal answers, field by
//! field, but for what [`differences::DIFFERENCES`] lists.
//!
//! Requests that read ask for the same topic on the same broker. Those that write or are members write to, or are in,
//! a twin of their own on the bare side.

mod differences;
mod groups;
mod reads;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use shuniu_tests::{Hub, Kafka, repository};
use shuniu_wire::batch::{BatchBuilder, BuiltRecord, Compression};
use shuniu_wire::messages as m;
use shuniu_wire::messages::{StrBytes, TopicName};
use shuniu_wire::{Request, Response};
use uuid::Uuid;

use crate::raw::{Raw, fields};
use differences::DIFFERENCES;
pub(crate) use writes::produce;

/// The resource that all is tried on: one partition, no row filter, no subjects.
const TOPIC: &str = "division";
/// It has the whole of it, and publishes it.
const WHOLE: &str = "civil-affairs";
/// It has some items of it, one masked.
const PROJECTED: &str = "hall-jiangbei";
/// It has no grant on it.
const NONE: &str = "bank-supervisor";

/// A projected view for [`PROJECTED`].
pub(crate) const GRANT: &str = r#"
[[grant]]
id = "jiangbei-division"
system = "hall-jiangbei"
resource = "division"
modes = ["subscribe"]
purpose = "地址规范化"
basis = "《政务数据共享条例》第二十条"
ends_at = "2030-12-31"

[grant.items]
code = "keep"
name = { mask = { first = 1, last = 0 } }
"#;

/// A topic as requests name it.
#[derive(Clone, Copy)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) id: Uuid,
}

impl Topic {
    fn name(self) -> TopicName {
        TopicName(text(self.name))
    }
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A request of each of some versions, on a topic.
struct Case {
    name: &'static str,
    versions: RangeInclusive<i16>,
    request: Box<dyn Fn(i16, Topic) -> Request>,
}

fn case<R: Into<Request>>(
    name: &'static str,
    versions: RangeInclusive<i16>,
    request: impl Fn(i16, Topic) -> R + 'static,
) -> Case {
    Case { name, versions, request: Box::new(move |version, topic| request(version, topic).into()) }
}

/// What was found to differ: who was answered, in which case, at which field, and an example of it.
#[derive(Default)]
struct Found(BTreeMap<(&'static str, &'static str, String), String>);

impl Found {
    /// Holds an answer against the bare broker's. Both are looked at without what must differ: see [`normal`].
    fn compare(
        &mut self,
        who: &'static str,
        case: &'static str,
        version: i16,
        bare: &Response,
        hubs: &Response,
        other_words: &[(&str, &str)],
    ) {
        let (bare, hubs) = (normal(bare, other_words), normal(hubs, other_words));
        let paths: BTreeSet<_> = bare.keys().chain(hubs.keys()).collect();
        for path in paths {
            let (left, right) = (bare.get(path), hubs.get(path));
            if left != right {
                let field =
                    path.split('.').filter(|it| it.parse::<usize>().is_err()).collect::<Vec<_>>().join(".");
                let example = format!("version {version}, {path}: broker {left:?}, hub {right:?}");
                self.0.entry((who, case, field)).or_insert(example);
            }
        }
    }

    /// Holds what was found to the list, both ways.
    fn hold(&self) {
        let unlisted: Vec<_> = self
            .0
            .iter()
            .filter(|((who, case, field), _)| !DIFFERENCES.iter().any(|it| it.covers(who, case, field)))
            .collect();
        let gone: Vec<_> = DIFFERENCES
            .iter()
            .filter(|it| !self.0.keys().any(|(who, case, field)| it.covers(who, case, field)))
            .map(|it| (it.who, it.case, it.field, it.why))
            .collect();
        assert!(
            unlisted.is_empty() && gone.is_empty(),
            "not listed: {unlisted:#?}\nlisted, but equal: {gone:#?}"
        );
    }
}

/// An answer's fields, but for what differs by intent everywhere: where brokers are, and how long a client is to wait.
fn normal(answer: &Response, other_words: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut fields = fields(answer);
    for (path, value) in &mut fields {
        let last = path.rsplit('.').next().unwrap_or_default();
        if matches!(last, "host" | "port" | "throttle_time_ms") {
            "*".clone_into(value);
        }
        for (from, to) in other_words {
            *value = value.replace(from, to);
        }
    }
    fields
}

/// The three principals and the bare broker, each over one connection.
struct Sides {
    bare: Raw,
    whole: Raw,
    projected: Raw,
    none: Raw,
    topic: Topic,
    /// The bare side's own topic, for writing.
    twin: Topic,
    schema: u32,
}

impl Sides {
    async fn new(kafka: &Kafka, hub: &Hub) -> Self {
        let mut bare = Raw::bare(&kafka.bootstrap()[0]).await;
        let topic = Topic { name: TOPIC, id: topic_id(&mut bare, TOPIC).await };
        let twin = m::create_topics_request::CreatableTopic::default()
            .with_name(TopicName(text("twin")))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(vec![
                m::create_topics_request::CreatableTopicConfig::default()
                    .with_name(text("cleanup.policy"))
                    .with_value(Some(text("compact"))),
            ]);
        let request = m::CreateTopicsRequest::default().with_timeout_ms(10_000).with_topics(vec![twin]);
        let made: m::CreateTopicsResponse = bare.get(7, request).await;
        assert_eq!(made.topics[0].error_code, 0, "{made:?}");
        let twin = Topic { name: "twin", id: topic_id(&mut bare, "twin").await };
        let mut whole = Raw::of_system(hub, WHOLE).await;
        // The hub serves the topic from when its policy knows the id, a moment after the broker does.
        assert_eq!(topic_id(&mut whole, TOPIC).await, topic.id);
        Self {
            bare,
            whole,
            projected: Raw::of_system(hub, PROJECTED).await,
            none: Raw::of_system(hub, NONE).await,
            topic,
            twin,
            schema: hub.schema_id(WHOLE, TOPIC),
        }
    }

    /// Asks each of the cases in each of its versions.
    async fn read(&mut self, cases: &[Case], found: &mut Found) {
        let nowhere = Topic { name: "no-such-topic", id: Uuid::from_u128(77) };
        for case in cases {
            for version in case.versions.clone() {
                let request = || (case.request)(version, self.topic);
                let bare = self.bare.ask(version, request()).await;
                let whole = self.whole.ask(version, request()).await;
                found.compare("whole", case.name, version, &bare, &whole, &[]);
                let projected = self.projected.ask(version, request()).await;
                found.compare("projected", case.name, version, &whole, &projected, &[]);
                // Without a grant the answer is that for a topic that there is not.
                let none = self.none.ask(version, request()).await;
                let absent = self.none.ask(version, (case.request)(version, nowhere)).await;
                let (id, no_id) = (self.topic.id.to_string(), nowhere.id.to_string());
                let words = [(self.topic.name, "*"), (nowhere.name, "*"), (&id, "*"), (&no_id, "*")];
                found.compare("none", case.name, version, &absent, &none, &words);
            }
        }
    }
}

/// The topic's id, once the broker has heard of it.
pub(crate) async fn topic_id(bare: &mut Raw, name: &str) -> Uuid {
    loop {
        let topic =
            m::metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let answer: m::MetadataResponse =
            bare.get(12, m::MetadataRequest::default().with_topics(Some(vec![topic]))).await;
        let topic = &answer.topics[0];
        if topic.error_code == 0 && topic.partitions.iter().all(|it| it.leader_id.0 > 0) {
            return topic.topic_id;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A row of the directory of divisions, framed.
pub(crate) fn division(schema: u32, code: &str, name: &str) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&schema.to_be_bytes());
    for value in [code, name] {
        out.push(u8::try_from(value.len() * 2).unwrap());
        out.extend_from_slice(value.as_bytes());
    }
    // county, prefecture and province
    out.extend_from_slice(&[0; 3]);
    out
}

/// A batch with a row for each of the codes.
fn batch(schema: u32, codec: Compression, producer: (i64, i16, i32), codes: &[&str]) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(codec).producer(producer.0, producer.1, producer.2);
    for (n, code) in (0..).zip(codes) {
        let value = division(schema, code, "渝中区");
        let timestamp = 1_760_000_000_000 + n * 1_000;
        builder.push(&BuiltRecord {
            timestamp,
            key: Some(code.as_bytes()),
            value: Some(&value),
            headers: &[],
        });
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_answers_as_its_broker_does_but_for_what_is_listed() {
    let kafka = Kafka::start(1);
    let hub = Hub::on_kafka(&kafka);
    let directory = std::fs::read_to_string(repository().join("config/directory.toml")).unwrap();
    hub.apply(&format!("{directory}{GRANT}"));
    let mut sides = Sides::new(&kafka, &hub).await;
    let mut found = Found::default();
    writes::compare(&mut sides, &mut found).await;
    writes::compare_no_row(&mut sides, &mut found).await;
    writes::compare_timeless(&mut sides).await;
    writes::transactions(&kafka, sides.schema);
    reads::settled(&mut sides).await;
    sides.read(&reads::fetches(), &mut found).await;
    sides.read(&reads::others(), &mut found).await;
    reads::long_poll(&kafka, &hub, &mut sides, &mut found).await;
    groups::classic(&mut sides, &mut found).await;
    groups::newer(&mut sides, &mut found).await;
    found.hold();
}
