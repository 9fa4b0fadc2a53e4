//! The schema registry, and the hub's clock, which its answers carry.

use std::time::Duration;

use jiff::fmt::rfc2822;
use serde::Deserialize;
use shuniu_model::{Clock, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::papers::Papers;
use super::{Complaint, Findings, RegistryAddress, door, tls};

const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// HTTP tells the time in whole seconds, so less than this is no difference.
const CLOCK_WARNING_SECONDS: i64 = 5;
/// From here on, certificates and grants begin and end at noticeably wrong times.
const CLOCK_TROUBLE_SECONDS: i64 = 120;

/// A registry that answers.
pub(super) struct Registry<'a> {
    address: &'a RegistryAddress,
    papers: &'a Papers,
}

/// A schema as a version of its subject.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: u32,
    pub(super) id: u32,
}

struct Answer {
    status: u16,
    /// When the hub wrote it, by its own clock.
    date: Option<Timestamp>,
    body: String,
}

impl<'a> Registry<'a> {
    /// Goes to the registry, asks for its subjects and compares the clocks.
    pub(super) async fn examine(
        address: &'a RegistryAddress,
        papers: Option<&'a Papers>,
        clock: &Clock,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let stream = door::open(&address.door, papers, clock, findings).await?;
        let registry = Self { address, papers: papers? };
        let answer = match registry.ask(stream, "/subjects").await {
            Ok(answer) => answer,
            Err(complaint) => {
                findings.trouble("registry", &complaint);
                return None;
            }
        };
        check_clock(answer.date, clock(), findings);
        match serde_json::from_str::<Vec<String>>(&answer.body) {
            Ok(subjects) if answer.status == 200 => {
                findings
                    .ok("registry", format_args!("{address} shows your system {} subjects", subjects.len()));
                Some(registry)
            }
            _ => {
                findings.trouble("registry", &registry.strange(&answer));
                None
            }
        }
    }

    /// The latest version of a subject; `None` if the registry shows no such subject.
    pub(super) async fn latest(&self, subject: &str) -> Result<Option<Version>, Complaint> {
        let answer = self.get(&format!("/subjects/{subject}/versions/latest")).await?;
        match answer.status {
            404 => Ok(None),
            200 => serde_json::from_str(&answer.body).map(Some).map_err(|_| self.strange(&answer)),
            _ => Err(self.strange(&answer)),
        }
    }

    /// Whether the registry shows a schema of this id.
    pub(super) async fn has(&self, id: u32) -> Result<bool, Complaint> {
        let answer = self.get(&format!("/schemas/ids/{id}")).await?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.strange(&answer)),
        }
    }

    async fn get(&self, path: &str) -> Result<Answer, Complaint> {
        let stream = door::reopen(&self.address.door, self.papers).await?;
        self.ask(stream, path).await
    }

    /// One question on a connection of its own. In HTTP/1.0, so that the answer ends with the connection.
    async fn ask(&self, mut stream: TlsStream<TcpStream>, path: &str) -> Result<Answer, Complaint> {
        let request =
            format!("GET {}{path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address.path, self.address.door);
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
            Ok(answer)
        };
        match timeout(ANSWER_PATIENCE, exchange).await {
            Ok(Ok(answer)) => read(&answer).ok_or_else(|| {
                Complaint::new(
                    format!("{} does not answer in HTTP", self.address),
                    "check that --registry names the hub's registry (port 9443 unless changed), not its Kafka port",
                )
            }),
            Ok(Err(error)) => Err(tls::refused(&error)),
            Err(_) => Err(Complaint::new(
                format!("{} did not answer within {} s", self.address, ANSWER_PATIENCE.as_secs()),
                "try again; if it stays silent, ask the hub's operator",
            )),
        }
    }

    fn strange(&self, answer: &Answer) -> Complaint {
        let remedy = match answer.status {
            404 => "check the path of --registry: a hub has it at /registry",
            503 => "try again in a moment; if it stays so, the hub's operator must look at its log",
            _ => "check that --registry names a hub's registry",
        };
        let start: String = answer.body.chars().take(200).collect();
        Complaint::new(
            format!("{} answers with HTTP status {}: {start}", self.address, answer.status),
            remedy,
        )
    }
}

fn read(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().filter(|line| line.starts_with("HTTP/1."))?;
    let status = status_line.split(' ').nth(1)?.parse().ok()?;
    let date = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("date")
            .then(|| rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok())?
    });
    let date = date.map(|date| Timestamp::from_micros(date.as_microsecond()));
    Some(Answer { status, date, body: body.to_owned() })
}

fn check_clock(hub: Option<Timestamp>, own: Timestamp, findings: &mut Findings<'_>) {
    let Some(hub) = hub else {
        findings.warning(
            "clock",
            &Complaint::new(
                "the registry's answer does not tell the time",
                "check that --registry names a hub's",
            ),
        );
        return;
    };
    let ahead = own.as_micros().saturating_sub(hub.as_micros()) / 1_000_000;
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let complaint = Complaint::new(
        format!("this machine's clock is {} s {side} the hub's", ahead.abs()),
        "set it by NTP (chrony or ntpd); certificates and grants begin and end by the hub's clock",
    );
    match ahead.abs() {
        ..CLOCK_WARNING_SECONDS => findings.ok("clock", "this machine's clock agrees with the hub's"),
        CLOCK_WARNING_SECONDS..CLOCK_TROUBLE_SECONDS => findings.warning("clock", &complaint),
        _ => findings.trouble("clock", &complaint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hub: &str, own: &str) -> Vec<String> {
        let instant =
            |text: &str| Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let answer = format!("HTTP/1.1 200 OK\r\nDate: {hub}\r\n\r\n[]");
        let mut lines = Vec::new();
        let mut tell = |finding: &super::super::Finding| lines.push(finding.to_string());
        check_clock(read(answer.as_bytes()).unwrap().date, instant(own), &mut Findings::new(&mut tell));
        lines
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_side_and_size() {
        let hub = "Tue, 24 Nov 2026 13:00:00 GMT";
        assert!(told(hub, "2026-11-24T13:00:01.5Z")[0].starts_with("ok "));
        let lines = told(hub, "2026-11-24T13:01:00Z");
        assert!(lines[0].starts_with("warning") && lines[0].contains("60 s ahead of"), "{lines:?}");
        let lines = told(hub, "2026-11-24T12:00:00Z");
        assert!(lines[0].starts_with("trouble") && lines[0].contains("3600 s behind"), "{lines:?}");
        assert!(told("yesterday", "2026-11-24T12:00:00Z")[0].starts_with("warning"));
    }
}
