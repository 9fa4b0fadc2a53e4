//! The way to a door: name, TCP, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use shuniu_model::Clock;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::papers::{self, Papers};
use super::{Address, Complaint, Findings, tls};

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a refusal may take to arrive after the handshake: at least this, and a few times what connecting took.
const GRACE_MIN: Duration = Duration::from_millis(300);
const GRACE_MAX: Duration = Duration::from_secs(3);
const GRACE_ROUND_TRIPS: u32 = 4;

/// Goes the whole way, telling each step. Without papers it goes as far as TCP.
pub(super) async fn open(
    address: &Address,
    papers: Option<&Papers>,
    clock: &Clock,
    findings: &mut Findings<'_>,
) -> Option<TlsStream<TcpStream>> {
    let resolved = match resolve(address).await {
        Ok(resolved) => resolved,
        Err(complaint) => {
            findings.trouble("name", &complaint);
            return None;
        }
    };
    let shown: Vec<_> = resolved.iter().map(|found| found.ip().to_string()).collect();
    findings.ok("name", format_args!("{} is {}", address.host, shown.join(", ")));
    let (stream, took) = match connect(address, &resolved).await {
        Ok(connected) => connected,
        Err(complaint) => {
            findings.trouble("network", &complaint);
            return None;
        }
    };
    findings.ok("network", format_args!("{address} takes connections, after {} ms", took.as_millis()));
    let papers = papers?;
    match tls::open(stream, &address.host, papers, grace(took)).await {
        Ok(stream) => {
            findings.ok(
                "tls",
                format_args!("{address} is a hub of the trusted authority and accepts the certificate"),
            );
            if let Some(parsed) = hub_certificate(&stream).and_then(papers::parse) {
                papers::check_validity("hub certificate", &parsed, clock(), findings);
            }
            Some(stream)
        }
        Err(complaint) => {
            findings.trouble("tls", &complaint.of(address));
            None
        }
    }
}

/// Goes the whole way without telling, for another connection to a door that is known to work.
pub(super) async fn reopen(address: &Address, papers: &Papers) -> Result<TlsStream<TcpStream>, Complaint> {
    let resolved = resolve(address).await?;
    let (stream, _) = connect(address, &resolved).await?;
    tls::open(stream, &address.host, papers, Duration::ZERO).await
}

fn hub_certificate(stream: &TlsStream<TcpStream>) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates().and_then(<[_]>::first)
}

fn grace(took: Duration) -> Duration {
    took.saturating_mul(GRACE_ROUND_TRIPS).clamp(GRACE_MIN, GRACE_MAX)
}

async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Complaint> {
    let unknown = |why: String| {
        Complaint::new(
            format!("the name `{}` is not known here: {why}", address.host),
            "check its spelling and this machine's DNS, or add it to /etc/hosts",
        )
    };
    match timeout(CONNECT_PATIENCE, lookup_host((address.host.as_str(), address.port))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown(format!("no answer within {} s", CONNECT_PATIENCE.as_secs()))),
    }
}

/// Connects to the first address that takes it, and says how long that took.
async fn connect(address: &Address, resolved: &[SocketAddr]) -> Result<(TcpStream, Duration), Complaint> {
    let mut last = Complaint::new(format!("{address} has no address"), "check the name");
    for found in resolved {
        let started = Instant::now();
        last = match timeout(CONNECT_PATIENCE, TcpStream::connect(found)).await {
            Ok(Ok(stream)) => return Ok((stream, started.elapsed())),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Complaint::new(
                format!(
                    "{address} ({found}) refuses the connection: the machine is there, but nothing listens"
                ),
                "check the port; if it is right, the hub is not running, or listens on another address only",
            ),
            Ok(Err(error)) => Complaint::new(
                format!("{address} ({found}) cannot be reached: {error}"),
                "check this machine's network and route to the hub",
            ),
            Err(_) => Complaint::new(
                format!("{address} ({found}) did not answer within {} s", CONNECT_PATIENCE.as_secs()),
                "check the address; if it is right, a firewall on the way drops the connection",
            ),
        };
    }
    Err(last)
}
