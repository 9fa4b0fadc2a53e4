//! The client's own files: authority, certificate, key.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, InconsistentKeys};
use shuniu_exchange::Caller;
use shuniu_model::Timestamp;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::tls::{self, Seen};
use super::{Client, Complaint, Findings};
use crate::ca;

/// A certificate that ends sooner is worth a warning.
const WARNING_DAYS: i64 = 30;
const DAY_MICROSECONDS: i64 = 86_400 * 1_000_000;

/// What a connection is made with.
pub(super) struct Papers {
    /// TLS 1.3, trusting the authority, showing the certificate.
    pub(super) tls: Arc<ClientConfig>,
    /// What the other end showed last.
    pub(super) seen: Seen,
    /// The authority's name, for people.
    pub(super) authority: String,
}

/// Checks the files; `None` when no connection can be made with them.
pub(super) fn check(client: &Client, now: Timestamp, findings: &mut Findings<'_>) -> Option<Papers> {
    let authority = certificates(&client.authority, findings);
    let chain = certificates(&client.certificate, findings);
    let key = key(&client.key, findings);
    let name = authority.as_deref().map(|found| authority_name(&client.authority, found, now, findings));
    if let (Some(chain), Some(authority)) = (&chain, &name) {
        check_own(&client.certificate, chain, authority, now, findings);
    }
    let (authority, chain, key, name) = (authority?, chain?, key?, name?);
    let (built, seen) = tls::config(authority, chain, key);
    match built {
        Ok(tls) => {
            findings.ok("key", format_args!("{} is the key of the certificate", client.key.display()));
            Some(Papers { tls: Arc::new(tls), seen, authority: name })
        }
        Err(error) => {
            findings.trouble("key", &unfit(client, &error));
            None
        }
    }
}

fn unfit(client: &Client, error: &Error) -> Complaint {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Complaint::new(
            format!("{} is not the key of {}", client.key.display(), client.certificate.display()),
            "find the two files that were issued together; when a certificate is replaced, its key is too",
        ),
        error => Complaint::new(
            format!("the files cannot be used together: {error}"),
            "ask the hub's operator to issue the certificate again",
        ),
    }
}

fn read(path: &Path, findings: &mut Findings<'_>) -> Option<Vec<u8>> {
    let error = match shuniu_archive::read_bounded(path, ca::FILE_BYTES_MAX) {
        Ok(bytes) => return Some(bytes),
        Err(error) => error,
    };
    let (what, remedy) = match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".to_owned(), "check the path"),
        io::ErrorKind::PermissionDenied => (
            "this user may not read it".to_owned(),
            "run as the user who owns the file, or give it to this one",
        ),
        _ => (error.to_string(), "check that the path names a file"),
    };
    findings.trouble("file", &Complaint::new(format!("{}: {what}", path.display()), remedy));
    None
}

fn certificates(path: &Path, findings: &mut Findings<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(path, findings)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(found),
        _ => {
            let remedy = if text.starts_with(&[0x30]) {
                "it looks like DER: turn it into PEM with `openssl x509 -inform der`"
            } else {
                "name the file that begins with -----BEGIN CERTIFICATE-----"
            };
            let complaint = Complaint::new(format!("{} holds no certificate in PEM", path.display()), remedy);
            findings.trouble("file", &complaint);
            None
        }
    }
}

fn key(path: &Path, findings: &mut Findings<'_>) -> Option<PrivateKeyDer<'static>> {
    let text = read(path, findings)?;
    if let Ok(found) = std::fs::metadata(path) {
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            findings.warning(
                "key",
                &Complaint::new(
                    format!("{} can be read by others (mode {mode:03o})", path.display()),
                    "make it 600 and, if others had the time to copy it, ask for a new certificate and key",
                ),
            );
        }
    }
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
        return Some(key);
    }
    let encrypted = String::from_utf8_lossy(&text).contains("ENCRYPTED");
    let (what, remedy) = if encrypted {
        ("holds a key that is locked with a password", "unlock it with `openssl pkey -in FILE -out FILE`")
    } else {
        ("holds no private key in PEM", "name the file that begins with -----BEGIN PRIVATE KEY-----")
    };
    findings.trouble("file", &Complaint::new(format!("{} {what}", path.display()), remedy));
    None
}

/// Checks the authority's certificate and gives its name.
fn authority_name(
    path: &Path,
    found: &[CertificateDer<'static>],
    now: Timestamp,
    findings: &mut Findings<'_>,
) -> String {
    let Some(parsed) = found.first().and_then(|der| parse(der)) else {
        let complaint = Complaint::new(
            format!("the certificate in {} cannot be read", path.display()),
            "get ca.pem again from the hub's operator",
        );
        findings.trouble("authority", &complaint);
        return "unreadable".to_owned();
    };
    let name = parsed.subject().to_string();
    if parsed.is_ca() {
        findings.ok("authority", format_args!("{} is `{name}`", path.display()));
    } else {
        findings.trouble(
            "authority",
            &Complaint::new(
                format!("{} is the certificate of `{name}`, which is no authority", path.display()),
                "name the file of the authority that issued the hub's certificate (ca.pem)",
            ),
        );
    }
    check_validity("authority", &parsed, now, findings);
    name
}

fn check_own(
    path: &Path,
    chain: &[CertificateDer<'static>],
    authority: &str,
    now: Timestamp,
    findings: &mut Findings<'_>,
) {
    let Some((der, parsed)) = chain.first().and_then(|der| Some((der, parse(der)?))) else {
        let complaint = Complaint::new(
            format!("the certificate in {} cannot be read", path.display()),
            "ask the hub's operator for a new one",
        );
        findings.trouble("certificate", &complaint);
        return;
    };
    // The hub reads it with the same function; where it comes from is not known here and makes no difference.
    match Caller::of_chain(&[der], SocketAddr::from(([0, 0, 0, 0], 0))) {
        Ok(caller) => findings.ok(
            "certificate",
            format_args!("{} is that of the system `{}`, serial {}", path.display(), caller.system, caller.certificate),
        ),
        Err(error) => findings.trouble(
            "certificate",
            &Complaint::new(
                format!("{}: {error}; the hub lets nobody in with it", path.display()),
                "use the certificate that the hub's operator issued for your system (`shuniu ca issue-system`)",
            ),
        ),
    }
    let issuer = parsed.issuer().to_string();
    if issuer != authority && chain.len() == 1 {
        findings.warning(
            "certificate",
            &Complaint::new(
                format!("it was issued by `{issuer}`, but the trusted authority is `{authority}`"),
                "check that both files come from the same hub",
            ),
        );
    }
    check_validity("certificate", &parsed, now, findings);
}

/// Compares a certificate's dates with this machine's clock.
pub(super) fn check_validity(
    about: &'static str,
    certificate: &X509Certificate<'_>,
    now: Timestamp,
    findings: &mut Findings<'_>,
) {
    let starts_at = instant(&certificate.validity().not_before);
    let ends_at = instant(&certificate.validity().not_after);
    let renew = if about == "authority" {
        "get the hub's new ca.pem from its operator"
    } else {
        "ask the hub's operator for a new certificate and key"
    };
    if now < starts_at {
        findings.trouble(
            about,
            &Complaint::new(
                format!(
                    "it is good only from {}, and this machine's clock says {}",
                    shown(starts_at),
                    shown(now)
                ),
                "set the clock (chrony or ntpd); if it is right, wait until then",
            ),
        );
        return;
    }
    let days = ends_at.as_micros().saturating_sub(now.as_micros()).div_euclid(DAY_MICROSECONDS);
    if now > ends_at {
        let text = format!("it ended at {}, and this machine's clock says {}", shown(ends_at), shown(now));
        findings.trouble(about, &Complaint::new(text, format!("if the clock is right, {renew}")));
    } else if days < WARNING_DAYS {
        findings
            .warning(about, &Complaint::new(format!("it ends in {days} days, at {}", shown(ends_at)), renew));
    } else {
        findings.ok(about, format_args!("it is good until {}", shown(ends_at)));
    }
}

/// A certificate's instant: whole seconds.
pub(super) fn instant(at: &ASN1Time) -> Timestamp {
    Timestamp::from_micros(at.timestamp().saturating_mul(1_000_000))
}

/// An instant as people read it, to the second.
pub(super) fn shown(at: Timestamp) -> String {
    match jiff::Timestamp::from_second(at.as_micros().div_euclid(1_000_000)) {
        Ok(second) => second.to_string(),
        Err(_) => at.to_string(),
    }
}

pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}
