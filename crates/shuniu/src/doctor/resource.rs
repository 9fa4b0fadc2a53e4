//! One resource, from its name to its first record.

use shuniu_model::ResourceName;
use shuniu_wire::batch::{Scratch, batches};
use shuniu_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use shuniu_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use shuniu_wire::messages::{FetchRequest, ListOffsetsRequest, ResponseError, StrBytes, TopicName};
use shuniu_wire::{Request, Response};

use super::kafka::{self, FETCH_VERSION, Kafka, LIST_OFFSETS_VERSION, unanswered};
use super::{Client, Complaint, Findings, Registry};
use crate::client::ClientError;
use crate::figure::counted;

/// Kafka's name for the first offset that is there.
const EARLIEST: i64 = -2;
const FETCH_WAIT_MILLISECONDS: i32 = 500;
/// As little as Kafka lets a client ask for: the hub still gives one batch.
const FETCH_BYTES: i32 = 1;
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// The first record that came, if one did.
struct First {
    offset: i64,
    /// Of its value's frame; `None` for a deletion or a value without one.
    schema: Option<u32>,
}

/// Looks at each resource that was asked for.
pub(super) async fn examine(
    mut kafka: Kafka,
    registry: Option<&Registry<'_>>,
    client: &Client,
    findings: &mut Findings<'_>,
) {
    for resource in &client.resources {
        if let Err(complaint) = examine_one(&mut kafka, registry, resource, findings).await {
            findings.trouble("resource", &complaint);
        }
    }
}

async fn examine_one(
    kafka: &mut Kafka,
    registry: Option<&Registry<'_>>,
    resource: &ResourceName,
    findings: &mut Findings<'_>,
) -> Result<(), Complaint> {
    let topic = kafka::topic(&mut kafka.client, resource).await?;
    if topic.error_code != 0 {
        let shown = kafka.granted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(refusal(resource, topic.error_code, &shown));
    }
    findings.ok(
        "resource",
        format_args!(
            "{resource} is there for your system, in {}",
            counted(topic.partitions.len() as u64, "partition", "partitions")
        ),
    );
    if let Some(registry) = registry {
        check_subject(registry, resource, findings).await?;
    }
    let mut first = None;
    for partition in &topic.partitions {
        first = first_record(kafka, resource, partition.partition_index).await?;
        if first.is_some() {
            break;
        }
    }
    let Some(first) = first else {
        findings.ok(
            "record",
            format_args!("{resource} can be read; at its beginning there is no record for you"),
        );
        return Ok(());
    };
    findings.ok("record", format_args!("{resource} can be read; a record came, at offset {}", first.offset));
    match (first.schema, registry) {
        (Some(id), Some(registry)) if !registry.has(id).await? => Err(Complaint::new(
            format!(
                "a record of {resource} is written with schema {id}, which the registry does not show you"
            ),
            "report this to the hub's operator",
        )),
        (Some(id), Some(_)) => {
            findings.ok("schema", format_args!("the record's schema {id} is in the registry"));
            Ok(())
        }
        (Some(_) | None, _) => Ok(()),
    }
}

async fn check_subject(
    registry: &Registry<'_>,
    resource: &ResourceName,
    findings: &mut Findings<'_>,
) -> Result<(), Complaint> {
    let subject = format!("{resource}-value");
    match registry.latest(&subject).await? {
        Some(found) => {
            findings.ok(
                "schema",
                format_args!("{subject} is at version {}, schema id {}", found.version, found.id),
            );
        }
        None => findings.trouble(
            "schema",
            &Complaint::new(
                format!("the registry shows no subject {subject}, though the resource is there for you"),
                "try again in a moment; if it stays so, report it to the hub's operator",
            ),
        ),
    }
    Ok(())
}

/// Asks one partition for its first batch. The hub records this in its audit log as any other reading.
async fn first_record(
    kafka: &mut Kafka,
    resource: &ResourceName,
    partition: i32,
) -> Result<Option<First>, Complaint> {
    let offset = earliest(kafka, resource, partition).await?;
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(FETCH_BYTES);
    let topic = FetchTopic::default().with_topic(name(resource)).with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_max_wait_ms(FETCH_WAIT_MILLISECONDS)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let answer = kafka.client.call(FETCH_VERSION, &Request::from(request)).await;
    let Response::Fetch(response) = answer.map_err(|error| unanswered(&error))? else {
        return Err(unanswered(&ClientError::Unfit));
    };
    let partition = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let error_code = partition.as_ref().map_or(response.error_code, |partition| partition.error_code);
    if error_code != 0 {
        return Err(refusal(resource, error_code, ""));
    }
    let records = partition.and_then(|partition| partition.records).unwrap_or_default();
    let mut scratch = Scratch::default();
    for batch in batches(&records) {
        let broken = |error| {
            Complaint::new(
                format!("a batch of {resource} cannot be read: {error}"),
                "report this to the hub's operator",
            )
        };
        let batch = batch.map_err(broken)?;
        // What fills the hub's gaps is a control batch, and no record.
        if batch.header().is_control() {
            continue;
        }
        if let Some(record) = batch.records(&mut scratch, DECOMPRESSED_BYTES_MAX).map_err(broken)?.next() {
            let record = record.map_err(broken)?;
            let frame = record.value.and_then(|value| shuniu_schema::frame::split(value).ok());
            return Ok(Some(First { offset: record.offset, schema: frame.map(|(id, _)| id) }));
        }
    }
    Ok(None)
}

async fn earliest(kafka: &mut Kafka, resource: &ResourceName, partition: i32) -> Result<i64, Complaint> {
    let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(EARLIEST);
    let topic = ListOffsetsTopic::default().with_name(name(resource)).with_partitions(vec![wanted]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let answer = kafka.client.call(LIST_OFFSETS_VERSION, &Request::from(request)).await;
    let Response::ListOffsets(response) = answer.map_err(|error| unanswered(&error))? else {
        return Err(unanswered(&ClientError::Unfit));
    };
    let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
    match partition {
        Some(partition) if partition.error_code == 0 => Ok(partition.offset),
        Some(partition) => Err(refusal(resource, partition.error_code, "")),
        None => Err(unanswered(&ClientError::Unfit)),
    }
}

fn name(resource: &ResourceName) -> TopicName {
    TopicName(StrBytes::from_string(resource.to_string()))
}

/// What a Kafka error means for who asked.
fn refusal(resource: &ResourceName, code: i16, shown: &str) -> Complaint {
    let error = ResponseError::try_from_code(code);
    match error {
        Some(ResponseError::TopicAuthorizationFailed) => {
            let shown = if shown.is_empty() { String::new() } else { format!(" (it may use: {shown})") };
            Complaint::new(
                format!(
                    "{resource}: TOPIC_AUTHORIZATION_FAILED. Your system has no grant in force for it{shown}, or there \
                     is no resource of that name: the hub gives the same answer on purpose"
                ),
                "check the name; then ask the provider or the hub's operator whether the grant was given, has begun, \
                 has ended, or is suspended or revoked",
            )
        }
        Some(ResponseError::LeaderNotAvailable | ResponseError::NotLeaderOrFollower) => Complaint::new(
            format!("{resource}: it is only just being made, or its broker is away"),
            "try again in a moment",
        ),
        Some(error) => Complaint::new(
            format!("{resource}: the hub answers with Kafka error {code} ({error:?})"),
            "try again; if it stays so, ask the hub's operator",
        ),
        None => Complaint::new(
            format!("{resource}: the hub answers with Kafka error {code}"),
            "ask the hub's operator",
        ),
    }
}
