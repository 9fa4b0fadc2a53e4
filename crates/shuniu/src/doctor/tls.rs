//! The handshake, and what its failures mean. With TLS 1.3 a client hears that its certificate is refused only when it
//! first reads: by then its own handshake is over.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Complaint;
use super::papers::{self, Papers};

const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// The certificate that the other end showed last, trusted or not.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl Seen {
    pub(super) fn last(&self) -> Option<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, certificate: Option<CertificateDer<'static>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
    }
}

/// Judges as every client does, and keeps what it judged.
#[derive(Debug)]
struct Witness {
    judge: Arc<WebPkiServerVerifier>,
    seen: Seen,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.set(Some(end_entity.clone().into_owned()));
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// A client's TLS, and where it leaves the certificates that it sees.
pub(super) fn config(
    authority: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> (Result<ClientConfig, Error>, Seen) {
    let seen = Seen::default();
    (build(authority, chain, key, seen.clone()), seen)
}

fn build(
    authority: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    seen: Seen,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate)?;
    }
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        // Not less careful than the usual one: it passes every question on to it.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Witness { judge, seen }))
        .with_client_auth_cert(chain, key)
}

/// Shakes hands, and waits a moment for the refusal that may come after.
pub(super) async fn open(
    stream: TcpStream,
    host: &str,
    papers: &Papers,
    grace: Duration,
) -> Result<TlsStream<TcpStream>, Complaint> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Complaint::new(
            format!("`{host}` is not a name that a certificate can carry"),
            "use the hub's DNS name",
        )
    })?;
    papers.seen.set(None);
    let shaken =
        timeout(HANDSHAKE_PATIENCE, TlsConnector::from(Arc::clone(&papers.tls)).connect(name, stream));
    let mut stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&error, papers)),
        Err(_) => {
            return Err(Complaint::new(
                format!("nothing answered the TLS handshake within {} s", HANDSHAKE_PATIENCE.as_secs()),
                "check that the port is one of the hub's TLS ports: what listens there seems to speak plain text",
            ));
        }
    };
    // Neither door speaks first, so whatever comes now is the end.
    let mut first = [0];
    match timeout(grace, stream.read(&mut first)).await {
        Err(_) => Ok(stream),
        Ok(Ok(0)) => Err(ended()),
        Ok(Ok(_)) => Err(Complaint::new(
            "it speaks before it is asked, as no hub does",
            "check the port: something else listens there",
        )),
        Ok(Err(error)) => Err(refused(&error)),
    }
}

/// What the handshake's own failure means.
fn failed(error: &io::Error, papers: &Papers) -> Complaint {
    match library(error) {
        Some(Error::InvalidCertificate(error)) => untrusted(error, papers),
        Some(Error::InvalidMessage(_)) => Complaint::new(
            "what listens there does not speak TLS",
            "check the port: the hub's doors speak TLS only, and this is a plain-text port or another program",
        ),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_)) => {
            Complaint::new(
                "the other end does not speak TLS 1.3",
                "check the port; if something between you and the hub ends TLS, let it pass the connection through",
            )
        }
        Some(Error::AlertReceived(_)) => refused(error),
        Some(error) => Complaint::new(
            format!("the TLS handshake failed: {error}"),
            "check that nothing between you and the hub ends or inspects TLS",
        ),
        None => Complaint::new(
            format!("the connection ended during the TLS handshake ({error})"),
            "check the port: what listens there seems not to speak TLS, or a firewall resets the connection",
        ),
    }
}

/// The hub's certificate does not pass.
fn untrusted(error: &CertificateError, papers: &Papers) -> Complaint {
    let seen = papers.seen.last();
    let parsed = seen.as_ref().and_then(papers::parse);
    let issuer = parsed.as_ref().map(|parsed| parsed.issuer().to_string()).unwrap_or_default();
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let hint = if issuer == papers.authority { " (another authority of the same name)" } else { "" };
            Complaint::new(
                format!(
                    "the hub's certificate was issued by `{issuer}`, which is not the trusted authority `{}`{hint}",
                    papers.authority
                ),
                "get ca.pem from the hub's operator and give it with --ca; if the hub is not the one you mean, check \
                 its address",
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => Complaint::new(
            format!(
                "the hub's certificate is not for `{}`; it is for {}",
                expected.to_str(),
                if presented.is_empty() { "no name at all".to_owned() } else { names(presented) }
            ),
            "use one of its names, or ask the operator to issue it for this name too (`shuniu ca issue-hub`)",
        ),
        CertificateError::ExpiredContext { .. } | CertificateError::Expired => {
            let end = parsed
                .map(|parsed| papers::shown(papers::instant(&parsed.validity().not_after)))
                .unwrap_or_default();
            Complaint::new(
                format!("the hub's certificate ended at {end}, by this machine's clock"),
                "if the clock is right, tell the hub's operator to issue a new one",
            )
        }
        CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet => {
            let start = parsed
                .map(|parsed| papers::shown(papers::instant(&parsed.validity().not_before)))
                .unwrap_or_default();
            Complaint::new(
                format!("the hub's certificate is good only from {start}, by this machine's clock"),
                "set the clock (chrony or ntpd)",
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Complaint::new(
            "what listens there shows a certificate that is not for servers",
            "tell the hub's operator: `shuniu ca issue-hub` makes the right one",
        ),
        error => {
            Complaint::new(format!("the hub's certificate does not pass: {error}"), "tell the hub's operator")
        }
    }
}

/// Names as `DnsName("a")` and `IpAddress(1.2.3.4)`, which the library gives, as people write them.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        format!("`{}`", inner.trim_matches('"'))
    };
    presented.iter().map(plain).collect::<Vec<_>>().join(", ")
}

/// What it means that the hub ends a connection whose handshake is over on our side.
pub(super) fn refused(error: &io::Error) -> Complaint {
    let again = "ask the hub's operator for a new certificate";
    match library(error) {
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateRevoked => {
                Complaint::new("the hub says that your certificate is revoked", again)
            }
            AlertDescription::CertificateExpired => Complaint::new(
                "the hub says that your certificate has ended or has not begun, by the hub's clock",
                "compare its dates above; if they are good, the hub's clock or yours is wrong, else ask for a new one",
            ),
            AlertDescription::UnknownCA => Complaint::new(
                "the hub does not know the authority that issued your certificate",
                "use the certificate that this hub's operator issued; one from another hub is not accepted",
            ),
            AlertDescription::CertificateRequired => Complaint::new(
                "the hub got no certificate from you",
                "check that nothing between you and the hub ends TLS",
            ),
            AlertDescription::AccessDenied => Complaint::new(
                "the hub does not accept your certificate: it names no system or is not for clients, or the hub is only just starting",
                "try again in a moment, then ask the hub's operator",
            ),
            AlertDescription::UnsupportedCertificate => {
                Complaint::new("the hub says that your certificate is not for clients", again)
            }
            AlertDescription::DecryptError => Complaint::new(
                "the hub cannot verify your certificate's signature: an authority of the same name issued it, but not \
                 the hub's",
                "use the certificate that this hub's operator issued",
            ),
            alert => Complaint::new(format!("the hub refuses your certificate (TLS alert {alert:?})"), again),
        },
        Some(error) => Complaint::new(
            format!("the TLS connection broke: {error}"),
            "check that nothing between you and the hub inspects TLS",
        ),
        None => ended(),
    }
}

fn ended() -> Complaint {
    Complaint::new(
        "the hub ended the connection after the TLS handshake, without a reason",
        "ask the hub's operator: its log says why (a system that is not in the directory, too many connections of \
         one system, or a hub that is shutting down)",
    )
}

/// The TLS library's own error inside of an input/output error.
fn library(error: &io::Error) -> Option<&Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<Error>().or_else(|| inner.source()?.downcast_ref::<Error>())
}
