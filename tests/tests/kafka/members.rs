//! Groups of the newer kind (KIP-848), whose coordinator assigns, through a hub on a cluster that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use shuniu_tests::{Hub, Kafka, Publisher, citizen, repository};
use shuniu_wire::messages as m;
use shuniu_wire::messages::{ResponseError, StrBytes, TopicName};

use crate::equivalence::GRANT;
use crate::raw::Raw;

const LONG: Duration = Duration::from_secs(120);

fn consumer(hub: &Hub, group: &str, topics: &[&str]) -> BaseConsumer {
    let consumer: BaseConsumer = hub
        .client("hall-yuzhong")
        .set("group.id", group)
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(topics).unwrap();
    consumer
}

/// How often each key came.
#[derive(Default)]
struct Got {
    keys: BTreeMap<String, usize>,
    errors: Vec<KafkaError>,
}

impl Got {
    fn read(&mut self, consumer: &BaseConsumer) {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                *self.keys.entry(key).or_default() += 1;
            }
            Some(Err(error)) => self.errors.push(error),
            None => {}
        }
    }

    fn has(&self, numbers: std::ops::Range<u32>) -> bool {
        numbers.map(citizen).all(|key| self.keys.contains_key(&key))
    }

    fn is_refused(&self) -> bool {
        let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
        self.errors.iter().any(|error| error.rdkafka_error_code() == Some(denied))
    }
}

fn partitions(consumer: &BaseConsumer) -> usize {
    consumer.assignment().unwrap().count()
}

fn topics(consumer: &BaseConsumer) -> BTreeSet<String> {
    consumer.assignment().unwrap().elements().iter().map(|it| it.topic().to_owned()).collect()
}

/// Polls all of them until something holds.
fn until(what: &str, consumers: &[&BaseConsumer], got: &mut Got, holds: impl Fn(&Got) -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds(got) {
        let counts: Vec<_> = consumers.iter().map(|it| partitions(it)).collect();
        assert!(Instant::now() < deadline, "{what}: {counts:?} partitions, {:?}", got.errors);
        for consumer in consumers {
            got.read(consumer);
        }
    }
}

fn publish(publisher: &Publisher, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| publisher.publish(n));
    publisher.flush(Duration::from_secs(60));
}

/// The directory with a grant in another state, or another change of its text.
fn directory() -> String {
    std::fs::read_to_string(repository().join("config/directory.toml")).unwrap()
}

#[test]
fn p2_members_of_a_newer_group_get_what_they_are_granted_and_nothing_else() {
    let kafka = Kafka::start(1);
    let mut hub = Hub::on_kafka(&kafka);
    let publisher = Publisher::new(&hub);
    two_share_commit_and_resume(&hub, &publisher);
    only_readable_topics_can_be_subscribed(&hub);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(each_system_has_its_own_groups(&hub));
    runtime.block_on(a_pattern_follows_the_grants(&hub));
    runtime.block_on(a_stale_epoch_neither_commits_nor_fetches(&hub));
    a_revoked_grant_ends_it(&hub, &publisher);
    hub.stop();
    hub.verify();
}

fn two_share_commit_and_resume(hub: &Hub, publisher: &Publisher) {
    publish(publisher, 0..200);
    let mut got = Got::default();
    let one = consumer(hub, "newer", &["population"]);
    until("the first 200 come", &[&one], &mut got, |got| got.has(0..200));
    assert_eq!(partitions(&one), 4);
    one.commit_consumer_state(CommitMode::Sync).unwrap();

    let two = consumer(hub, "newer", &["population"]);
    until("they share", &[&one, &two], &mut got, |_| partitions(&one) == 2 && partitions(&two) == 2);
    publish(publisher, 200..300);
    until("100 more come", &[&one, &two], &mut got, |got| got.has(200..300));
    for consumer in [&one, &two] {
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    }
    drop(two);
    until("one has all again", &[&one], &mut got, |_| partitions(&one) == 4);
    publish(publisher, 300..310);
    until("10 more come", &[&one], &mut got, |got| got.has(300..310));
    one.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(one);

    publish(publisher, 310..320);
    let again = consumer(hub, "newer", &["population"]);
    until("the last come", &[&again], &mut got, |got| got.has(310..320));
    assert!(got.keys.values().all(|times| *times == 1), "a record came twice: {:?}", got.keys);
    assert!(got.errors.is_empty(), "{:?}", got.errors);
}

fn only_readable_topics_can_be_subscribed(hub: &Hub) {
    // A topic without a grant, and one that does not exist: the same refusal, and nothing of the rest either.
    for topic in ["legal-person", "no-such-topic"] {
        let mut got = Got::default();
        let greedy = consumer(hub, "greedy", &["population", topic]);
        until("it is refused", &[&greedy], &mut got, Got::is_refused);
        assert!(got.keys.is_empty() && partitions(&greedy) == 0);
    }
    hub.recorded(&["--action", "refused"], &["consumer group heartbeat legal-person"]);
    // A pattern that fits every topic of the cluster gets those that may be read.
    let mut got = Got::default();
    let all = consumer(hub, "pattern", &["^.*"]);
    let readable = BTreeSet::from(["division".to_owned(), "population".to_owned()]);
    until("it is assigned", &[&all], &mut got, |got| topics(&all) == readable && got.has(0..320));
    assert!(got.errors.is_empty(), "{:?}", got.errors);
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn joining(group: &str, member: &str) -> m::ConsumerGroupHeartbeatRequest {
    m::ConsumerGroupHeartbeatRequest::default()
        .with_group_id(m::GroupId(text(group)))
        .with_member_id(text(member))
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(vec![TopicName(text("population"))]))
        .with_topic_partitions(Some(Vec::new()))
}

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

async fn joined(
    client: &mut Raw,
    request: &m::ConsumerGroupHeartbeatRequest,
) -> m::ConsumerGroupHeartbeatResponse {
    let deadline = Instant::now() + LONG;
    loop {
        let answer: m::ConsumerGroupHeartbeatResponse = client.get(1, request.clone()).await;
        match error(answer.error_code) {
            None => return answer,
            // A coordinator that has just started.
            Some(ResponseError::CoordinatorLoadInProgress | ResponseError::CoordinatorNotAvailable) => {}
            other => panic!("{other:?}: {answer:?}"),
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn each_system_has_its_own_groups(hub: &Hub) {
    let mut yuzhong = Raw::of_system(hub, "hall-yuzhong").await;
    let mut jiangbei = Raw::of_system(hub, "hall-jiangbei").await;
    let one = joined(&mut yuzhong, &joining("shared-name", "member-of-yuzhong")).await;
    let two = joined(&mut jiangbei, &joining("shared-name", "member-of-jiangbei")).await;
    // Each alone in its group: the topic's four partitions for each.
    for answer in [&one, &two] {
        let assigned = &answer.assignment.as_ref().unwrap().topic_partitions;
        assert_eq!(assigned.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 4, "{answer:?}");
    }
    // A member of one is nobody in the other, and the message names the group as the client does.
    let foreign = joining("shared-name", "member-of-yuzhong").with_member_epoch(one.member_epoch);
    let refused: m::ConsumerGroupHeartbeatResponse = jiangbei.get(1, foreign).await;
    assert_eq!(error(refused.error_code), Some(ResponseError::UnknownMemberId), "{refused:?}");
    assert!(!refused.error_message.unwrap_or_default().contains("hall-jiangbei"));
    // A pattern that is none, and one that would take too much.
    for pattern in ["(", "(((a{1000}){1000}){1000})", &"a".repeat(2_000)] {
        let request = joining("patterns", "p").with_subscribed_topic_regex(Some(text(pattern)));
        let refused: m::ConsumerGroupHeartbeatResponse = yuzhong.get(1, request).await;
        assert_eq!(error(refused.error_code), Some(ResponseError::InvalidRegularExpression), "{refused:?}");
    }
    // Without a grant on anything that matches, the group is joined and nothing is assigned.
    let request = joining("patterns", "p")
        .with_subscribed_topic_names(Some(Vec::new()))
        .with_subscribed_topic_regex(Some(text("legal-.*|shuniu.*|__.*")));
    let nothing = joined(&mut yuzhong, &request).await;
    assert!(nothing.assignment.unwrap().topic_partitions.is_empty());
}

/// A topic that is granted while the member stays is subscribed at one of its next heartbeats.
async fn a_pattern_follows_the_grants(hub: &Hub) {
    let mut jiangbei = Raw::of_system(hub, "hall-jiangbei").await;
    let request = joining("follows", "f")
        .with_subscribed_topic_names(Some(Vec::new()))
        .with_subscribed_topic_regex(Some(text("div.*")));
    let mut answer = joined(&mut jiangbei, &request).await;
    assert!(answer.assignment.unwrap().topic_partitions.is_empty());
    hub.apply(&format!("{}{GRANT}", directory()));
    let deadline = Instant::now() + LONG;
    loop {
        let beat = m::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(m::GroupId(text("follows")))
            .with_member_id(text("f"))
            .with_member_epoch(answer.member_epoch);
        answer = joined(&mut jiangbei, &beat).await;
        if answer.assignment.as_ref().is_some_and(|it| !it.topic_partitions.is_empty()) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn a_stale_epoch_neither_commits_nor_fetches(hub: &Hub) {
    use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use m::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let mut client = Raw::of_system(hub, "hall-yuzhong").await;
    let epoch = joined(&mut client, &joining("epochs", "e")).await.member_epoch;
    let group = || m::GroupId(text("epochs"));
    let population = || TopicName(text("population"));
    let (good, stale) = (epoch, epoch - 1);
    for (epoch, expected) in [(good, None), (stale, Some(ResponseError::StaleMemberEpoch))] {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(i64::from(epoch) + 3);
        let topic =
            OffsetCommitRequestTopic::default().with_name(population()).with_partitions(vec![partition]);
        let request = m::OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(text("e"))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let answer: m::OffsetCommitResponse = client.get(9, request).await;
        assert_eq!(error(answer.topics[0].partitions[0].error_code), expected);
    }
    for (epoch, expected) in [(good, None), (stale, Some(ResponseError::StaleMemberEpoch))] {
        let topic =
            OffsetFetchRequestTopics::default().with_name(population()).with_partition_indexes(vec![0]);
        let of_group = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_member_id(Some(text("e")))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let request = m::OffsetFetchRequest::default().with_groups(vec![of_group]);
        let answer: m::OffsetFetchResponse = client.get(9, request).await;
        assert_eq!(error(answer.groups[0].error_code), expected, "{answer:?}");
        if expected.is_none() {
            assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, i64::from(good) + 3);
        }
    }
}

fn a_revoked_grant_ends_it(hub: &Hub, publisher: &Publisher) {
    let mut got = Got::default();
    let reader = consumer(hub, "revoked", &["population"]);
    until("all come", &[&reader], &mut got, |got| got.has(0..320));
    let revoked = directory()
        .replace("id = \"yuzhong-population\"\n", "id = \"yuzhong-population\"\nstate = \"revoked\"\n");
    hub.apply(&revoked);
    std::thread::sleep(Duration::from_secs(1));
    publish(publisher, 400..410);
    until("it is told", &[&reader], &mut got, Got::is_refused);
    assert!(!(400..410).any(|n| got.keys.contains_key(&citizen(n))), "a record came after the revocation");
    // Whoever joins now is refused before anything reaches the coordinator.
    let mut got = Got::default();
    let late = consumer(hub, "late", &["population"]);
    until("it is refused", &[&late], &mut got, Got::is_refused);
    assert_eq!((got.keys.len(), partitions(&late)), (0, 0));
}
