//! What every client must be able to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shuniu_tests::citizen;

use crate::clients::{Client, NewGroups};
use crate::program::{Arrived, Program};
use crate::world::{PUBLISHER, READER, Sparse, Store, WITHIN, World, file, now, record, start, topic};

/// One rule, held with one client.
pub(crate) struct Scenario {
    /// The rule, as tests are named.
    pub(crate) name: &'static str,
    /// The rule in the table of docs/CLIENTS.md.
    pub(crate) title: &'static str,
    pub(crate) run: fn(&World, &'static Client),
}

/// The title of what not every client does over every store.
pub(crate) const NEW_GROUPS: &str = "the same by the newer group protocol";

impl Scenario {
    /// Whether it is run with a client over a store.
    pub(crate) fn applies(&self, client: &Client, store: Store) -> bool {
        self.title != NEW_GROUPS
            || match client.new_groups {
                NewGroups::No => false,
                NewGroups::Told | NewGroups::Classic => true,
                NewGroups::Silent => store == Store::Kafka,
            }
    }
}

pub(crate) const SCENARIOS: [Scenario; 10] = [
    Scenario {
        name: "a_row_arrives_as_its_view_and_so_does_its_deletion",
        title: "publish, consume, delete",
        run: rows,
    },
    Scenario { name: "every_codec_is_taken_in", title: "codecs", run: codecs },
    Scenario {
        name: "two_members_share_a_topic_and_the_next_goes_on_where_they_ended",
        title: "group of two, commit, resume",
        run: group,
    },
    Scenario {
        name: "two_members_share_a_topic_by_the_newer_group_protocol",
        title: NEW_GROUPS,
        run: new_groups,
    },
    Scenario { name: "reading_begins_at_a_time", title: "seek by time", run: times },
    Scenario {
        name: "a_sparse_view_does_not_stall_committed",
        title: "1 in 100,000, read_committed",
        run: sparse_committed,
    },
    Scenario {
        name: "a_sparse_view_does_not_stall_uncommitted",
        title: "1 in 100,000, read_uncommitted",
        run: sparse_uncommitted,
    },
    Scenario {
        name: "a_revoked_grant_ends_the_stream_and_is_told",
        title: "revoked meanwhile",
        run: revoked,
    },
    Scenario { name: "a_refused_topic_is_told", title: "refused topic", run: refused_topic },
    Scenario { name: "a_refused_record_is_told", title: "refused record", run: refused_record },
];

fn event<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn keys(records: &[Arrived]) -> BTreeSet<String> {
    records.iter().map(|it| it.key.clone()).collect()
}

/// Starts `read` and waits until it has begun.
fn reader(world: &World, client: &'static Client, topic: &str, more: &[&str]) -> Program {
    world.run(client, READER, "read", topic, more)
}

fn rows(world: &World, client: &'static Client) {
    let topic = topic(client, "rows");
    let (moved, gone) = (citizen(1), citizen(2));
    let deletion = json!({"key": gone, "row": null});
    let records = [
        record(&moved, "张三"),
        record(&gone, "李四"),
        record(&moved, "欧阳修"),
        deletion,
        record(&citizen(3), "王五"),
    ];
    let said = world.publish(client, &topic, &records, "none");
    assert_eq!(event(&said, "sent").len(), records.len(), "{said:#?}");

    let mut reader = reader(world, client, &topic, &[]);
    let arrived = reader.records(records.len());
    let of = |key: &str| arrived.iter().filter(|it| it.key == key).map(|it| &it.row).collect::<Vec<_>>();
    let row = |key: &str, name: &str| json!({"id_no": key, "name": name, "live_division": WITHIN});
    assert_eq!(of(&moved), [&row(&moved, "张*"), &row(&moved, "欧**")]);
    assert_eq!(of(&gone), [&row(&gone, "李*"), &Value::Null]);
    let said = reader.stop();
    assert_eq!(event(&said, "record").len(), records.len(), "{said:#?}");
    assert!(event(&said, "error").is_empty(), "{said:#?}");
}

fn codecs(world: &World, client: &'static Client) {
    let topic = topic(client, "codecs");
    for (n, codec) in (0..).zip(client.codecs) {
        let said = world.publish(client, &topic, &[record(&citizen(n), "张三")], codec);
        assert_eq!(event(&said, "sent").len(), 1, "{codec}: {said:#?}");
    }
    let mut reader = reader(world, client, &topic, &[]);
    assert_eq!(keys(&reader.records(client.codecs.len())).len(), client.codecs.len());
    let stored = world.stored_codecs(&topic);
    assert_eq!(stored, client.codecs.iter().map(|it| (*it).to_owned()).collect(), "what was stored");
}

fn group(world: &World, client: &'static Client) {
    group_of_two(world, client, "group", "classic");
}

/// Served where the record store is a cluster. Over the engine a client goes on with the classic protocol, or tells its
/// user.
fn new_groups(world: &World, client: &'static Client) {
    if world.store() == Store::Kafka || client.new_groups == NewGroups::Classic {
        return group_of_two(world, client, "consumer", "consumer");
    }
    let topic = topic(client, "consumer");
    let mut member = world.run(client, READER, "group", &topic, &["--group", "m", "--protocol", "consumer"]);
    member.wait("that the newer group protocol is not served", |line| {
        let text = line["error"].as_str().unwrap_or_default().to_lowercase();
        line["event"] == "error" && text.contains("support")
    });
}

fn group_of_two(world: &World, client: &'static Client, name: &str, protocol: &str) {
    let topic = topic(client, name);
    // A group of its own: clients of different kinds cannot be members of one.
    let more = ["--group", topic.as_str(), "--protocol", protocol];
    let member = || world.run(client, READER, "group", &topic, &more);
    let first_keys = world.fill(&topic, 0..20, None);
    let mut first = member();
    first.records(20);

    let mut second = member();
    second.wait("that it has a partition", |line| {
        line["event"] == "assigned" && line["partitions"].as_array().is_some_and(|it| it.len() == 1)
    });
    let next_keys = world.fill(&topic, 20..60, None);
    // Each has one of the two partitions: both get a part, together all.
    let all = first_keys.iter().chain(&next_keys).cloned().collect::<BTreeSet<_>>();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        first.take();
        second.take();
        let got: BTreeSet<_> = keys(&first.arrived()).union(&keys(&second.arrived())).cloned().collect();
        if got == all {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "missing: {:?}\nfirst: {:#?}\nsecond: {:#?}",
            all.difference(&got),
            first.seen(),
            second.seen()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!second.arrived().is_empty(), "the second member got nothing");
    assert!(first.arrived().len() > 20, "the first member got nothing more");
    first.stop();
    second.stop();

    // What was committed does not come again.
    let last_keys = world.fill(&topic, 60..65, None);
    let mut third = member();
    let resumed = third.records(5);
    assert_eq!(keys(&resumed), last_keys.into_iter().collect(), "{:#?}", third.seen());
    third.stop();
}

fn times(world: &World, client: &'static Client) {
    let topic = topic(client, "times");
    let later = now() - 600_000;
    world.fill(&topic, 0..20, Some(later - 1));
    let wanted = world.fill(&topic, 20..30, Some(later));
    let mut reader = reader(world, client, &topic, &["--from-time", &later.to_string()]);
    assert_eq!(keys(&reader.records(10)), wanted.into_iter().collect());
    reader.stop();
}

fn sparse_committed(world: &World, client: &'static Client) {
    sparse(world, client, "committed");
}

fn sparse_uncommitted(world: &World, client: &'static Client) {
    sparse(world, client, "uncommitted");
}

fn sparse(world: &World, client: &'static Client, isolation: &str) {
    /// Far more than any client needs for 10 MB, and far fewer than one that turns in a circle.
    const FETCHES_MAX: usize = 600;
    let sparse = world.sparse();
    let id = format!("{}-{isolation}", client.name);
    let more = ["--isolation", isolation, "--client-id", &id];
    let mut reader = start(sparse.hub(), client, READER, "read", "sparse", &more);
    let found = reader.record(&Sparse::found());
    assert_eq!(found.row["name"], "张*");
    // Whoever gets this one has come to the end of the log, and to the end behind it with the next.
    for _ in 0..2 {
        let live = sparse.one_more();
        reader.record(&live);
    }
    let asked = sparse.tap.asked(&id);
    assert!(!asked.is_empty(), "the tap saw no fetch of {id}");
    assert!(asked.iter().all(|bytes| *bytes <= asked[0]), "its fetches grow: {asked:?}");
    assert!(asked.len() < FETCHES_MAX, "it turns in a circle: {} fetches", asked.len());
    let said = reader.stop();
    assert!(event(&said, "error").is_empty(), "{said:#?}");
}

fn revoked(world: &World, client: &'static Client) {
    let topic = topic(client, "revoked");
    world.fill(&topic, 0..1, None);
    let mut reader = reader(world, client, &topic, &[]);
    reader.record(&citizen(0));
    let stream = world.stream(&topic, 1);
    reader.records(20);
    world.revoke(&topic);
    let before = stream.sent();
    reader.wait("that it may not read any more", |line| line["event"] == "error" && unauthorised(line));
    while stream.sent() < before + 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let sent = stream.end();
    reader.take();
    let arrived = keys(&reader.arrived());
    let late = sent.get(before..).unwrap_or_default();
    assert!(late.iter().all(|key| !arrived.contains(key)), "{arrived:?}");
}

/// Whether what the client's user sees says that access is refused.
fn unauthorised(line: &Value) -> bool {
    let text = line["error"].as_str().unwrap_or_default().to_lowercase();
    text.contains("authoriz") || text.contains("authoris") || text.contains("not allowed to access")
}

fn refused_topic(world: &World, client: &'static Client) {
    for topic in ["closed", "no-such-topic"] {
        let mut reader = world.run(client, READER, "read", topic, &[]);
        reader.wait(&format!("that it may not read {topic}"), |line| {
            line["event"] == "error" && unauthorised(line)
        });
    }
    // A reader may not publish.
    let topic = topic(client, "rows");
    let row = json!({"id_no": citizen(9), "name": "张三", "live_division": WITHIN});
    let records = file(&[json!({"key": citizen(9), "row": row})]);
    let mut publisher =
        world.run(client, READER, "publish", &topic, &["--records", records.path().to_str().unwrap()]);
    publisher.wait("that it may not publish", |line| line["event"] != "sent" && unauthorised(line));
}

fn refused_record(world: &World, client: &'static Client) {
    let topic = topic(client, "refused");
    let mut wrong = record(&citizen(1), "张三");
    wrong["key"] = json!("not-the-key");
    let records = file(&[wrong, record(&citizen(2), "李四")]);
    let more = ["--records", records.path().to_str().unwrap()];
    let mut publisher = world.run(client, PUBLISHER, "publish", &topic, &more);
    let line = publisher.event("refused");
    let text = line["error"].as_str().unwrap().to_lowercase();
    assert!(
        [
            "invalid_record",
            "invalidrecord",
            "failed to validate record",
            "invalid record",
            "failed the validation"
        ]
        .iter()
        .any(|it| text.contains(it)),
        "{text}"
    );
    let tells_why = text.contains("id_no");
    assert_eq!(tells_why, client.tells_why, "whether its user reads why: {text}");
    // And it goes on.
    publisher.event("sent");
}
