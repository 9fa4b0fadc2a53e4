//! What is said over the Kafka door before any record: versions, brokers, topics.

use std::collections::BTreeSet;
use std::error::Error as _;

use shuniu_model::{Clock, ResourceName};
use shuniu_wire::messages::metadata_request::MetadataRequestTopic;
use shuniu_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use shuniu_wire::messages::{MetadataRequest, StrBytes, TopicName};
use shuniu_wire::{ApiKey, Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::papers::Papers;
use super::{Address, Complaint, Findings, door, tls};
use crate::client::{Announced, Client, ClientError};

/// Kafka's port is a signed 32-bit number; a port is not.
const PORT_WRONG: &str = "has no possible port";

/// The APIs that a reader needs, each with a version that takes topics by name.
const NEEDED: [(ApiKey, i16); 3] = [
    (ApiKey::Metadata, METADATA_VERSION),
    (ApiKey::ListOffsets, LIST_OFFSETS_VERSION),
    (ApiKey::Fetch, FETCH_VERSION),
];
const METADATA_VERSION: i16 = 9;
pub(super) const LIST_OFFSETS_VERSION: i16 = 6;
pub(super) const FETCH_VERSION: i16 = 12;

/// A Kafka door that answers.
pub(super) struct Kafka {
    pub(super) client: Client,
    /// What the hub shows of its own accord.
    pub(super) granted: BTreeSet<String>,
}

/// Asks for versions and topics, and looks at the brokers that are named.
pub(super) async fn examine(
    stream: TlsStream<TcpStream>,
    asked: &Address,
    papers: &Papers,
    clock: &Clock,
    findings: &mut Findings<'_>,
) -> Option<Kafka> {
    let mut client = Client::over(stream);
    match client.versions().await {
        Ok(versions) => check_versions(&versions, findings)?,
        Err(error) => {
            findings.trouble("kafka", &unanswered(&error));
            return None;
        }
    }
    let request = MetadataRequest::default().with_topics(None);
    let response = match client.call(METADATA_VERSION, &request.into()).await {
        Ok(Response::Metadata(response)) => response,
        Ok(_) => {
            findings.trouble("kafka", &unanswered(&ClientError::Unfit));
            return None;
        }
        Err(error) => {
            findings.trouble("kafka", &unanswered(&error));
            return None;
        }
    };
    check_brokers(&response.brokers, asked, papers, clock, findings).await;
    let granted: BTreeSet<String> =
        response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string()).collect();
    if granted.is_empty() {
        findings.warning(
            "grant",
            &Complaint::new(
                "no grant of your system is in force now, and it publishes nothing",
                "ask the provider of the resource, or the hub's operator, for a grant",
            ),
        );
    } else {
        let shown: Vec<_> = granted.iter().map(String::as_str).collect();
        findings.ok("grant", format_args!("your system may use: {}", shown.join(", ")));
    }
    Some(Kafka { client, granted })
}

/// One topic's metadata, asked for by name.
pub(super) async fn topic(
    client: &mut Client,
    resource: &ResourceName,
) -> Result<MetadataResponseTopic, Complaint> {
    let name = TopicName(StrBytes::from_string(resource.to_string()));
    let topic = MetadataRequestTopic::default().with_name(Some(name));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    let answer = client.call(METADATA_VERSION, &Request::from(request)).await;
    match answer.map_err(|error| unanswered(&error))? {
        Response::Metadata(response) => {
            response.topics.into_iter().next().ok_or_else(|| unanswered(&ClientError::Unfit))
        }
        _ => Err(unanswered(&ClientError::Unfit)),
    }
}

fn check_versions(versions: &[Announced], findings: &mut Findings<'_>) -> Option<()> {
    let mut missing = Vec::new();
    for (api, version) in NEEDED {
        let served = versions.iter().any(|announced| {
            announced.api == api as i16 && (announced.min..=announced.max).contains(&version)
        });
        if !served {
            missing.push(format!("{api:?} {version}"));
        }
    }
    if missing.is_empty() {
        findings.ok("kafka", format_args!("it speaks Kafka: {} APIs", versions.len()));
        return Some(());
    }
    findings.trouble(
        "kafka",
        &Complaint::new(
            format!("it speaks Kafka, but not {}", missing.join(", ")),
            "use a `shuniu` of the hub's own version, and check that --hub names a hub",
        ),
    );
    None
}

async fn check_brokers(
    brokers: &[MetadataResponseBroker],
    asked: &Address,
    papers: &Papers,
    clock: &Clock,
    findings: &mut Findings<'_>,
) {
    let advertise =
        "ask the hub's operator to set `host` and `port` under [gateway] to what its clients can reach";
    if brokers.is_empty() {
        let complaint =
            Complaint::new("the hub names no broker, so clients have nobody to read from", advertise);
        findings.trouble("broker", &complaint);
    }
    for broker in brokers {
        let host = broker.host.to_string();
        let Some(port) = u16::try_from(broker.port).ok().filter(|port| *port > 0) else {
            findings.trouble(
                "broker",
                &Complaint::new(format!("{host}:{} {PORT_WRONG}", broker.port), advertise),
            );
            continue;
        };
        let address = Address { host, port };
        if address == *asked {
            findings
                .ok("broker", format_args!("clients are sent on to {address}, the address that was asked"));
        } else if door::open(&address, Some(papers), clock, findings).await.is_some() {
            findings.ok("broker", format_args!("clients are sent on to {address}, which serves them"));
        } else {
            findings.trouble(
                "broker",
                &Complaint::new(
                    format!("clients that ask {asked} are sent on to {address}, which does not serve them"),
                    advertise,
                ),
            );
        }
    }
}

/// What it means that a question got no answer.
pub(super) fn unanswered(error: &ClientError) -> Complaint {
    match error {
        ClientError::Connection(error) => tls::refused(error),
        ClientError::Unfit | ClientError::Decode(_) => Complaint::new(
            "what answers there does not speak Kafka",
            "check that --hub names the hub's Kafka port (9093 unless changed), not that of its registry",
        ),
        ClientError::Silent => Complaint::new(
            "it takes the connection, but did not answer in time",
            "try again; if it stays silent, ask the hub's operator",
        ),
        error => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Complaint::new(format!("{error}{cause}"), "report this to the hub's operator")
        }
    }
}
