//! Each promise that the exchange holds, broken on purpose by somebody who asks for more, or by a failing part.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod limits;
mod shared;
mod unrecorded;
mod world;

use std::time::Duration;

use shuniu_broker::memory::Failure;
use shuniu_exchange::Covered;
use shuniu_ledger::{Action, Outcome};
use shuniu_wire::Request;
use shuniu_wire::batch::{Compression, batches};
use shuniu_wire::messages::describe_configs_request::DescribeConfigsResource;
use shuniu_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use shuniu_wire::messages::{
    DescribeConfigsRequest, GroupId, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, OffsetFetchRequest, OffsetFetchResponse, ResponseError, StrBytes,
    TopicName,
};

use world::{Built, World, batch_at, batch_in, caller, citizen, deletion, fetch, person, put, seen};

const REGISTER: &str = "population-register";
const DENIED: i16 = ResponseError::TopicAuthorizationFailed.code();

/// What must be refused, each with the words that the publishing system is told.
fn broken(schema: u32) -> Vec<(&'static str, Built, &'static str)> {
    let id = citizen(1);
    let row = || person(schema, &id, "张三", Some("500103"));
    let good = || put(&id, row(), Vec::new());
    let value = |value: Vec<u8>| Built { value: Some(value), ..good() };
    let mut trailing = row();
    trailing.push(0);
    let wrong_digit = format!("{}{}", id.get(..17).unwrap(), if id.ends_with('1') { '2' } else { '1' });
    let header = |name: &str| {
        let mut record = good();
        record.headers.push((name.as_bytes().to_vec(), b"1".to_vec()));
        record
    };
    let before = |before: Vec<u8>| put(&id, row(), before);
    vec![
        ("no key", Built { key: None, ..good() }, "no key"),
        ("an unknown schema id", value(person(9_999, &id, "张三", None)), "schema id 9999"),
        ("an unframed value", value(b"{\"id_no\": 1}".to_vec()), "wire format"),
        ("trailing bytes", value(trailing), "follow the record"),
        ("a cut value", value(row()[..20].to_vec()), "record 0"),
        ("another's key", Built { key: Some(citizen(2).into_bytes()), ..good() }, "item `id_no`"),
        (
            "a broken check digit",
            put(&wrong_digit, person(schema, &wrong_digit, "张三", None), Vec::new()),
            "id_no",
        ),
        ("a division of letters", value(person(schema, &id, "张三", Some("50010x"))), "live_division"),
        ("an unknown header", header("x-trace"), "header `x-trace`"),
        (
            "a header that begins a line of a log",
            header("x\nERROR all is lost"),
            "header `x\\nERROR all is lost`",
        ),
        (
            "a null character",
            value(person(schema, &id, "张\0", None)),
            "item `name`: text with a control character",
        ),
        (
            "a terminal's other control character",
            value(person(schema, &id, "张\u{9b}2J", None)),
            "item `name`: text with a control character",
        ),
        (
            "a header whose value begins a line",
            Built { headers: vec![(b"batch".to_vec(), b"7\n\x1b[2J".to_vec())], ..good() },
            "header `batch` has a control character",
        ),
        ("a header twice", header("batch"), "stands twice"),
        ("no before", Built { headers: Vec::new(), ..good() }, "`before` is missing"),
        ("a before of another key", before(person(schema, &citizen(2), "李四", None)), "header `before`"),
        ("a before that is no record", before(vec![0, 0, 0]), "header `before`"),
        (
            "a deletion without before",
            Built { value: None, headers: Vec::new(), ..good() },
            "`before` is missing",
        ),
        ("a deletion with an empty before", deletion(&id, Vec::new()), "`before` is empty"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_bad_record_refuses_its_whole_batch_and_the_publisher_is_told_which_and_why() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let good = put(&citizen(3), person(schema, &citizen(3), "王五", Some("500103")), Vec::new());
    for (what, record, words) in broken(schema) {
        let answer = world.publish(REGISTER, "population", &[good.clone(), record.clone()]).await;
        assert_eq!(answer.error_code, ResponseError::InvalidRecord.code(), "{what}");
        assert_eq!(answer.record_errors.len(), 1, "{what}");
        let error = &answer.record_errors[0];
        assert_eq!(error.batch_index, 1, "{what}");
        // Alone, so that the message of the batch as a whole names it first.
        let answer = world.publish(REGISTER, "population", &[record]).await;
        let message = answer.error_message.unwrap();
        assert!(message.contains(words), "{what}: {}", message.as_str());
        assert!(!message.contains(&citizen(1)), "{what}: a value is told: {}", message.as_str());
    }
    assert!(world.records.stored("population", 0).is_empty(), "something was appended");
    let answer = world.publish(REGISTER, "population", &[good]).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_record_is_of_no_time_far_ahead_or_before_1970() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = put(&citizen(1), person(schema, &citizen(1), "张三", None), Vec::new());
    let now_ms = world::clock()().as_millis();
    let sent = |times: Vec<i64>| {
        let bytes = batch_at(&times, &row);
        world.publish_bytes(REGISTER, "population", bytes)
    };
    for good in [vec![-1], vec![0], vec![now_ms + 3_600_000, 1], vec![-1, now_ms]] {
        assert_eq!(sent(good.clone()).await.error_code, 0, "{good:?}");
    }
    for (times, words) in [
        (vec![i64::MAX], "ahead of the hub's clock"),
        (vec![now_ms, now_ms + 3_600_001], "ahead of the hub's clock"),
        (vec![-2], "before 1970"),
        (vec![i64::MIN], "before 1970"),
        (vec![now_ms, -2], "record 1: its time is before 1970"),
    ] {
        let answer = sent(times.clone()).await;
        assert_eq!(answer.error_code, ResponseError::InvalidRecord.code(), "{times:?}");
        let message = answer.error_message.unwrap();
        assert!(message.contains(words), "{times:?}: {}", message.as_str());
    }
    // What the batch states as its latest time is what searches by time believe; -1 states none.
    for (stated, code) in [(0, 87), (now_ms, 87), (now_ms - 1, 0), (-1, 0)] {
        let mut bytes = batch_at(&[now_ms - 1, now_ms - 2], &row).to_vec();
        bytes[35..43].copy_from_slice(&stated.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let answer = world.publish_bytes(REGISTER, "population", bytes.into()).await;
        assert_eq!(answer.error_code, code, "{stated}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_only_the_publishing_system_publishes() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = put(&citizen(1), person(schema, &citizen(1), "张三", None), Vec::new());
    for system in ["hall-yuzhong", "company-register", "nobody"] {
        let answer = world.publish(system, "population", std::slice::from_ref(&row)).await;
        assert_eq!(answer.error_code, DENIED, "{system}");
    }
    assert_eq!(world.publish(REGISTER, "shuniu-audit", &[row]).await.error_code, DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_the_row_before_never_leaves_even_where_batches_pass_as_they_are() {
    let world = World::start().await;
    // A resource without row filters or subjects asks for no `before`; connectors send it all the same.
    let sent = deletion("500103", Vec::new());
    assert_eq!(world.publish("civil-affairs", "division", &[sent]).await.error_code, 0);
    let back = world.read("civil-affairs", "division").await;
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].headers, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_exactly_the_granted_rows_and_items_leave() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let here = |n: u32| person(schema, &citizen(n), "欧阳修", Some("500103"));
    let there = |n: u32| person(schema, &citizen(n), "李四", Some("500105"));
    let records = [
        put(&citizen(1), here(1), Vec::new()),
        put(&citizen(2), there(2), Vec::new()),
        put(&citizen(3), person(schema, &citizen(3), "无处", None), Vec::new()),
        put(&citizen(1), there(1), here(1)),
        put(&citizen(2), there(2), there(2)),
        deletion(&citizen(2), there(2)),
        deletion(&citizen(3), person(schema, &citizen(3), "无处", None)),
    ];
    assert_eq!(world.publish(REGISTER, "population", &records).await.error_code, 0);

    let yuzhong = world.read("hall-yuzhong", "population").await;
    let got: Vec<_> =
        yuzhong.iter().map(|seen| (seen.offset, seen.key.clone(), seen.value.is_some())).collect();
    assert_eq!(
        got,
        [(0, citizen(1), true), (3, citizen(1), false)],
        "the person who moved away is deleted here"
    );
    let jiangbei = world.read("hall-jiangbei", "population").await;
    let got: Vec<_> = jiangbei.iter().map(|seen| (seen.offset, seen.value.is_some())).collect();
    assert_eq!(got, [(1, true), (3, true), (4, true), (5, false)]);

    let value = yuzhong[0].value.clone().unwrap();
    let id = world.schema_id("hall-yuzhong", "population").await;
    assert_eq!(value[1..5], id.to_be_bytes());
    assert_ne!(id, schema);
    let text = String::from_utf8_lossy(&value).into_owned();
    assert!(text.contains(&citizen(1)) && text.contains("欧**") && text.contains("500103"), "{text}");
    assert!(!text.contains("欧阳修"));
    for seen in yuzhong.iter().chain(&jiangbei) {
        assert!(!seen.headers.contains(&"before".to_owned()), "{seen:?}");
    }
    // Nothing in the whole answer tells of a row or name outside the view.
    let raw = world.fetch("hall-yuzhong", "population", 0, 0).await.records.unwrap();
    for hidden in [citizen(2), citizen(3), "500105".to_owned(), "李四".to_owned(), "阳修".to_owned()] {
        assert!(!raw.windows(hidden.len()).any(|window| window == hidden.as_bytes()), "{hidden}");
    }

    let bank = world.read("bank-supervisor", "population").await;
    assert_eq!(bank.len(), 7, "no filter: every record, deletions too");
    assert!(bank.iter().all(|seen| seen.key.len() == 32 && !seen.key.starts_with("5001")));
    assert_eq!(bank[0].key, bank[3].key, "one person has one pseudonym");
    assert_eq!(bank[5].value, None);
}

/// The codecs of an answer's batches, fillers left out.
fn codecs(records: &bytes::Bytes) -> Vec<Compression> {
    let batches = batches(records).map(Result::unwrap).filter(|batch| !batch.header().is_control());
    batches.map(|batch| batch.header().compression().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_in_the_codec_of_its_grant_whatever_the_publisher_used() {
    const NAMED: [(&str, Compression); 5] = [
        ("lz4", Compression::Lz4),
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("zstd", Compression::Zstd),
    ];
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = put(&citizen(1), person(schema, &citizen(1), "张三", Some("500103")), Vec::new());
    world.publish(REGISTER, "population", &[row]).await;
    // The whole view of this resource passes batches on as they are, where it can.
    let plain = Built { headers: Vec::new(), ..deletion("500103", Vec::new()) };
    for (_, codec) in NAMED {
        let sent = batch_in(codec, &[plain.clone(), plain.clone()]);
        assert_eq!(world.publish_bytes("civil-affairs", "division", sent).await.error_code, 0);
    }
    let session = world.session("hall-yuzhong").await;
    for (name, codec) in NAMED {
        let with_codec = |text: String, grant: &str| {
            let id = format!("id = \"{grant}\"");
            text.replace(&id, &format!("{id}\ncodec = \"{name}\""))
        };
        world.change(|text| with_codec(with_codec(text, "yuzhong-population"), "yuzhong-division")).await;
        for attempt in 0.. {
            let projected = fetch(&session, "population", 0, 0).await.records.unwrap();
            if codecs(&projected) == [codec] {
                break;
            }
            assert!(attempt < 100, "{name}: {:?}", codecs(&projected));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let whole = fetch(&session, "division", 0, 0).await;
        assert_eq!(seen(&whole).len(), 10, "{name}");
        let unfit = |found: &Compression| *found != codec && *found != Compression::None;
        assert!(!codecs(whole.records.as_ref().unwrap()).iter().any(unfit), "{name}");
        // The last batch alone, which is zstd: as it is for a client that reads that.
        let last = fetch(&session, "division", 8, 0).await.records.unwrap();
        let stored = world.records.stored("division", 0).pop().unwrap();
        assert_eq!(last == stored, codec == Compression::Zstd, "{name}");
        assert_eq!(codecs(&last), [codec], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_topic_without_a_grant_and_one_that_does_not_exist_get_the_same_answer() {
    let world = World::start().await;
    for system in ["hall-yuzhong", "nobody"] {
        let session = world.session(system).await;
        let mut answers = Vec::new();
        for topic in ["legal-person", "no-such-topic", "shuniu.audit", "__consumer_offsets"] {
            let data = world.fetch(system, topic, 0, 0).await;
            let name = TopicName(StrBytes::from_string(topic.to_owned()));
            let wanted = shuniu_wire::messages::metadata_request::MetadataRequestTopic::default();
            let request =
                MetadataRequest::default().with_topics(Some(vec![wanted.with_name(Some(name.clone()))]));
            let metadata = session.metadata(request).await.unwrap();
            let request = ListOffsetsRequest::default().with_topics(vec![
                shuniu_wire::messages::list_offsets_request::ListOffsetsTopic::default()
                    .with_name(name)
                    .with_partitions(vec![Default::default()]),
            ]);
            let offsets = session.call(Request::ListOffsets(request)).await.unwrap();
            let offsets = ListOffsetsResponse::try_from(offsets).unwrap();
            let produced = world.publish_bytes(system, topic, bytes::Bytes::from_static(b"x")).await;
            let message = produced.error_message.unwrap_or_default();
            assert!(message.contains("or there is none of this name"), "{message}");
            answers.push((
                produced.error_code,
                data.error_code,
                data.high_watermark,
                metadata.topics[0].error_code,
                metadata.topics[0].partitions.len(),
                offsets.topics[0].partitions[0].error_code,
            ));
        }
        assert!(
            answers.iter().all(|answer| *answer == (DENIED, DENIED, -1, DENIED, 0, DENIED)),
            "{system}: {answers:?}"
        );
    }
    let all = world
        .session("hall-yuzhong")
        .await
        .metadata(MetadataRequest::default().with_topics(None))
        .await
        .unwrap();
    let mut names: Vec<_> = all.topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string()).collect();
    names.sort();
    assert_eq!(names, ["division", "population"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_a_fetch_names_twice_is_answered_for_all_its_partitions() {
    let world = World::start().await;
    let session = world.session("hall-yuzhong").await;
    let topics = [("population", 0), ("division", 0), ("population", 1)].map(|(name, partition)| {
        let mut topic = world::fetch_request(&[(name, 0)], 0).topics.remove(0);
        topic.partitions[0].partition = partition;
        topic
    });
    let request = world::fetch_request(&[], 0).with_topics(topics.into());
    let recorded = session.fetch(request, world::FETCH_VERSION, 7, &|_| None).await.unwrap();
    let answer = world::taken(recorded).await;
    let mut answered: Vec<_> = answer
        .responses
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|it| (topic.topic.as_str(), it.partition_index, it.error_code))
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, [("division", 0, 0), ("population", 0, 0), ("population", 1, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_id_that_is_too_long_is_answered_as_one() {
    let world = World::start().await;
    let request =
        OffsetFetchRequest::default().with_group_id(GroupId(StrBytes::from_string("x".repeat(300))));
    let answer = world.session("hall-yuzhong").await.call(Request::OffsetFetch(request)).await.unwrap();
    let answer = OffsetFetchResponse::try_from(answer).unwrap();
    assert_eq!(answer.error_code, ResponseError::InvalidGroupId.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_what_leaves_is_on_the_log_before_it_leaves() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let rows =
        [1, 2, 3].map(|n| put(&citizen(n), person(schema, &citizen(n), "张三", Some("500103")), Vec::new()));
    world.publish(REGISTER, "population", &rows).await;
    let published = &world.drafts(Action::Published)[0];
    assert_eq!((published.count, published.ranges[0].first(), published.ranges[0].last()), (Some(3), 0, 2));
    assert_eq!(published.schemas, [schema]);
    assert!(published.subjects.is_some());

    assert!(world.drafts(Action::Delivered).is_empty());
    let data = world.fetch("hall-yuzhong", "population", 0, 0).await;
    let delivered = &world.drafts(Action::Delivered)[0];
    assert_eq!(delivered.grant.as_ref().unwrap().as_str(), "yuzhong-population");
    assert_eq!((delivered.count, delivered.ranges[0].last()), (Some(3), 2));
    assert_eq!(delivered.bytes, Some(data.records.unwrap().len() as u64));
    assert_eq!(delivered.purpose.as_deref(), Some("办理居住证和社会保障事项"));
    // An answer without records is no delivery.
    assert!(seen(&world.fetch("hall-jiangbei", "population", 0, 0).await).is_empty());
    assert_eq!(world.drafts(Action::Delivered).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_no_audit_no_delivery_and_no_acknowledgement() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = |n| put(&citizen(n), person(schema, &citizen(n), "张三", Some("500103")), Vec::new());
    world.publish(REGISTER, "population", &[row(1)]).await;
    for failure in [Failure::Full, Failure::Down, Failure::Hangs] {
        world.audit.fail(failure);
        let data = world.fetch("hall-yuzhong", "population", 0, 0).await;
        assert_eq!(data.error_code, ResponseError::KafkaStorageError.code(), "{failure:?}");
        assert!(data.records.unwrap_or_default().is_empty(), "{failure:?}: record bytes left unrecorded");
        let answer = world.publish(REGISTER, "population", &[row(2)]).await;
        assert_eq!(answer.error_code, ResponseError::KafkaStorageError.code(), "{failure:?}");
        world.audit.fail(Failure::None);
        // It goes on by itself.
        for attempt in 0.. {
            if world.fetch("hall-yuzhong", "population", 0, 0).await.error_code == 0 {
                break;
            }
            assert!(attempt < 100, "{failure:?}: deliveries do not go on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_revoked_grant_ends_a_waiting_fetch_and_every_later_one() {
    let world = World::start().await;
    let session = world.session("hall-yuzhong").await;
    let waiting = fetch(&session, "population", 0, 20_000);
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let marked = "id = \"yuzhong-population\"\nstate = \"revoked\"";
        world.change(|text| text.replace("id = \"yuzhong-population\"", marked)).await;
        tokio::time::Instant::now()
    };
    let (data, revoked_at) = tokio::join!(waiting, revoking);
    assert_eq!(data.error_code, DENIED);
    assert!(revoked_at.elapsed() < Duration::from_secs(1));
    assert_eq!(fetch(&session, "population", 0, 0).await.error_code, DENIED);
    // Its other grant stands.
    assert_eq!(fetch(&session, "division", 0, 0).await.error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_revoked_certificate_ends_the_session() {
    let world = World::start().await;
    let session = world.session("hall-yuzhong").await;
    world.revoke_certificate(&caller("hall-yuzhong").certificate).await;
    let withdrawn = tokio::time::timeout(Duration::from_secs(1), session.withdrawn()).await.unwrap();
    assert_eq!(withdrawn.code, "certificate-revoked");
    assert_eq!(world.fetch("hall-yuzhong", "division", 0, 0).await.error_code, DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_an_unreachable_directory_pauses_deliveries_and_then_refuses_them() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = put(&citizen(1), person(schema, &citizen(1), "张三", Some("500103")), Vec::new());
    world.publish(REGISTER, "population", &[row]).await;
    world.store.close().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let started = tokio::time::Instant::now();
    let data = world.fetch("hall-yuzhong", "population", 0, 0).await;
    assert_eq!(data.error_code, ResponseError::KafkaStorageError.code());
    assert!(data.records.unwrap_or_default().is_empty());
    assert!(started.elapsed() > Duration::from_secs(5), "it paused first");
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_refusals_are_on_the_log() {
    let world = World::start().await;
    world.fetch("hall-yuzhong", "legal-person", 0, 0).await;
    world.publish(REGISTER, "population", &[Built::default()]).await;
    for attempt in 0.. {
        let refused = world.drafts(Action::Refused);
        let codes: Vec<_> = refused.iter().map(|draft| draft.reason.as_ref().unwrap().code.clone()).collect();
        if codes.contains(&"no-grant".to_owned()) && codes.contains(&"record-rule".to_owned()) {
            assert!(refused.iter().all(|draft| draft.outcome == Outcome::Refused));
            break;
        }
        assert!(attempt < 100, "{codes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_client_that_is_refused_when_it_looks_a_topic_up_is_on_the_log() {
    let world = World::start().await;
    let name = TopicName(StrBytes::from_static_str("legal-person"));
    let wanted = shuniu_wire::messages::metadata_request::MetadataRequestTopic::default();
    let request = MetadataRequest::default().with_topics(Some(vec![wanted.with_name(Some(name))]));
    world.session("hall-yuzhong").await.metadata(request).await.unwrap();
    for attempt in 0.. {
        let refused = world.drafts(Action::Refused);
        if refused.iter().any(|draft| draft.reason.as_ref().unwrap().code == "no-grant") {
            break;
        }
        assert!(attempt < 100, "the refusal is not on the log");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_request_full_of_invented_names_hides_no_probe_of_a_resource() {
    let world = World::start().await;
    let wanted = |name: String| {
        let wanted = shuniu_wire::messages::metadata_request::MetadataRequestTopic::default();
        wanted.with_name(Some(TopicName(StrBytes::from_string(name))))
    };
    let mut topics: Vec<_> = (0..9_000).map(|number| wanted(format!("invented-{number}"))).collect();
    topics.push(wanted("legal-person".to_owned()));
    let request = MetadataRequest::default().with_topics(Some(topics));
    world.session("hall-yuzhong").await.metadata(request).await.unwrap();
    refusals(&world, &["metadata legal-person"]).await;
    // A few of them are told apart; all are counted once the window is over.
    let invented = |draft: &&shuniu_ledger::Draft| draft.reason.as_ref().unwrap().code == "unknown-resource";
    let refused = world.drafts(Action::Refused);
    assert!((1..=9).contains(&refused.iter().filter(invented).count()), "{}", refused.len());
    assert!(refused.iter().all(|draft| draft.actor.system.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_transactions_and_producer_ids_of_strangers_are_refused() {
    let world = World::start().await;
    let id = |system: &'static str, request: InitProducerIdRequest| {
        let world = &world;
        async move {
            let answer = world.session(system).await.call(Request::InitProducerId(request)).await.unwrap();
            InitProducerIdResponse::try_from(answer).unwrap().error_code
        }
    };
    let transactional = InitProducerIdRequest::default()
        .with_transactional_id(Some(shuniu_wire::messages::TransactionalId(StrBytes::from_static_str("t"))));
    assert_eq!(id(REGISTER, InitProducerIdRequest::default().with_transactional_id(None)).await, 0);
    assert_ne!(id(REGISTER, transactional).await, 0);
    assert_ne!(id("hall-yuzhong", InitProducerIdRequest::default().with_transactional_id(None)).await, 0);
    refusals(&world, &["initproducerid"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_what_is_kept_about_the_log_gives_the_same_answers_as_the_whole_log() {
    let world = World::start().await;
    let schema = world.schema_id(REGISTER, "population").await;
    let row = |n| put(&citizen(n), person(schema, &citizen(n), "张三", Some("500103")), Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let mut sizes = Vec::new();
    for n in 0..6 {
        world.publish(REGISTER, "population", &[row(2 * n), row(2 * n + 1)]).await;
        let log = world.sequenced(folder.path()).await;
        let mut whole = Covered::default();
        whole.advance(&log).unwrap();
        let mut covered = Covered::read(&kept, &log).unwrap();
        assert_eq!(
            covered == Covered::default(),
            n == 0 || n == 4,
            "entries that were counted are not read again"
        );
        covered.advance(&log).unwrap();
        assert_eq!(covered, whole);
        covered.write(&kept).unwrap();
        sizes.push(log);
        if n == 3 {
            // Of another log, or of this one before it was put back: it does not count.
            assert_eq!(Covered::read(&kept, &sizes[0]).unwrap(), Covered::default());
            let text = std::fs::read_to_string(&kept).unwrap();
            std::fs::write(&kept, text.replace("\"entries\"", "\"Entries\"")).unwrap();
        }
    }
}

/// Waits until refusals of each of these requests are on the log.
async fn refusals(world: &World, asked: &[&str]) {
    for attempt in 0.. {
        let targets: Vec<String> =
            world.drafts(Action::Refused).into_iter().filter_map(|draft| draft.target).collect();
        if asked.iter().all(|asked| targets.iter().any(|target| target == asked)) {
            return;
        }
        assert!(attempt < 100, "{asked:?} is not among {targets:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_who_asks_for_the_offsets_of_a_topic_without_a_grant_is_on_the_log() {
    let world = World::start().await;
    let request = ListOffsetsRequest::default().with_topics(vec![
        shuniu_wire::messages::list_offsets_request::ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("legal-person")))
            .with_partitions(vec![Default::default()]),
    ]);
    world.session("hall-yuzhong").await.call(Request::ListOffsets(request)).await.unwrap();
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName(StrBytes::from_static_str("legal-person")))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    // The store in memory keeps no offsets: the refusal is noted before it is asked.
    world.session("hall-yuzhong").await.call(Request::OffsetFetch(request)).await.unwrap_err();
    refusals(&world, &["list offsets legal-person", "offset fetch legal-person"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_who_asks_for_settings_without_a_grant_or_of_a_broker_is_on_the_log() {
    let world = World::start().await;
    let of = |kind: i8, name: &'static str| {
        let resource = DescribeConfigsResource::default().with_resource_type(kind);
        resource.with_resource_name(StrBytes::from_static_str(name))
    };
    let wanted = vec![of(2, "legal-person"), of(4, "1"), of(2, "no-such-topic")];
    let request = DescribeConfigsRequest::default().with_resources(wanted);
    // The store in memory has no settings: the refusal is noted before it is asked.
    world.session("hall-yuzhong").await.call(Request::DescribeConfigs(request)).await.unwrap_err();
    let asked = ["describe configs legal-person", "describe configs no-such-topic", "describeconfigs"];
    refusals(&world, &asked).await;
}
