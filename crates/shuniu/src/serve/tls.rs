//! TLS 1.3 with client certificates.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use shuniu_exchange::Trust;
use shuniu_model::Timestamp;

use super::revocation::{Revocations, Verifier};
use crate::config::Tls;
use crate::secret_file::{self, SecretFileError};

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file cannot be read.
    #[error(
        "cannot read certificate `{path}` (`shuniu ca init` makes an authority, `shuniu ca issue-hub` the hub's certificate)"
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key file is missing or exposed.
    #[error("cannot read the hub's key")]
    KeyFile(#[source] SecretFileError),
    /// The key file holds no key.
    #[error("`{path}` holds no private key in PEM")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The authority's certificate cannot be trusted.
    #[error("cannot trust the authority in `{path}`")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Callers' certificates cannot be checked.
    #[error("cannot check callers' certificates")]
    Verifier(#[source] VerifierBuilderError),
    /// Key and certificate do not fit, as a rule.
    #[error("cannot use the hub's certificate with its key")]
    Fit(#[source] rustls::Error),
}

/// An entry of the audit log names no more authorities than this.
const AUTHORITIES_NAMED_MAX: usize = 32;

/// What the hub shows, and whom it believes.
pub(super) struct Papers {
    /// The doors' TLS.
    pub(super) server: Arc<ServerConfig>,
    /// The authorities, for connections that are open.
    pub(super) trust: Arc<dyn Trust>,
    /// SHA-256 of the hub's certificate, and of each authority's.
    shown: String,
    trusted: Vec<String>,
    /// When the hub's certificate ends, and the authority that ends first, in seconds since 1970.
    hub_ends: Option<i64>,
    authority_ends: Option<i64>,
}

/// For the audit log: certificates are public.
impl fmt::Display for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.trusted.get(..AUTHORITIES_NAMED_MAX).unwrap_or(&self.trusted);
        write!(f, "shows certificate {}, trusts {}", self.shown, named.join(", "))?;
        match self.trusted.len() - named.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Certificates of these authorities are believed, revoked or not: that is looked at elsewhere.
struct Authorities(Arc<dyn ClientCertVerifier>);

impl Trust for Authorities {
    fn believes(&self, chain: &[Vec<u8>], now: Timestamp) -> bool {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|it| it.as_slice().into()).collect();
        let Some((own, between)) = chain.split_first() else { return false };
        let now = Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(0));
        self.0.verify_client_cert(own, between, UnixTime::since_unix_epoch(now)).is_ok()
    }
}

impl Papers {
    /// Reads certificates and key; file names are within the data folder unless absolute.
    pub(super) fn read(folder: &Path, config: &Tls, revocations: Revocations) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let path = folder.join(&config.authority);
        let authorities = certificates(&path)?;
        let authority_ends = ends(&authorities);
        let trusted = authorities.iter().map(fingerprint).collect();
        let roots = trusting(&path, authorities)?;
        let authority = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(TlsError::Verifier)?;
        let trust = Arc::new(Authorities(Arc::clone(&authority)));
        let verifier = Arc::new(Verifier { authority, revocations });
        let chain = certificates(&folder.join(&config.certificate))?;
        // What is behind the first ends later, or is the authority's to watch.
        let hub_ends = ends(chain.get(..1).unwrap_or_default());
        let shown = chain.first().map(fingerprint).unwrap_or_default();
        let key = private_key(folder.join(&config.key))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(TlsError::Fit)?;
        // Every connection shows its certificate anew: a resumed one would be believed from before a revocation or an end.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { server: Arc::new(server), trust, shown, trusted, hub_ends, authority_ends })
    }

    /// Shows when they end; for those that are in use.
    pub(super) fn show_ends(&self) {
        for (whose, ends) in [("hub", self.hub_ends), ("authority", self.authority_ends)] {
            let Some(ends) = ends else { continue };
            #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles: exact up to 2^53")]
            metrics::gauge!("shuniu_certificate_ends_timestamp_seconds", "certificate" => whose)
                .set(ends as f64);
        }
    }
}

/// As `openssl x509 -fingerprint -sha256` shows it, without the colons.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// The certificates that are believed.
pub(crate) fn authority(path: PathBuf) -> Result<RootCertStore, TlsError> {
    let authorities = certificates(&path)?;
    trusting(&path, authorities)
}

fn trusting(path: &Path, authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// The key of the hub's own certificate.
pub(super) fn private_key(path: PathBuf) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = secret_file::read(&path).map_err(TlsError::KeyFile)?;
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| TlsError::Key { path, source })
}

/// When the first of the certificates to end does.
fn ends(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = certificates.iter().filter_map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::Certificate { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::Authority;

    #[test]
    fn the_doors_resume_no_session() {
        let data = tempfile::tempdir().unwrap();
        let now = crate::clock::system()();
        let authority = Authority::create(&data.path().join("ca"), "test", now).unwrap();
        authority.issue_hub(&["localhost".to_owned()], &[], now, 10).unwrap();
        let papers = Papers::read(data.path(), &Tls::default(), Revocations::default()).unwrap();
        assert_eq!(papers.server.send_tls13_tickets, 0);
        assert!(!papers.server.session_storage.can_cache());
    }
}
