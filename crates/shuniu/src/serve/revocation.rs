//! Certificates that are revoked are turned away at the handshake, with the alert that says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use shuniu_exchange::{Caller, Exchange, Strangers};

/// Where revoked certificates are looked up: the exchange, once it runs. Until then nobody is let in.
#[derive(Clone, Default)]
pub(super) struct Revocations {
    exchange: Arc<OnceLock<Arc<Exchange>>>,
    /// Those that are refused here for a reason that the door's own line does not know.
    refused: Strangers,
}

impl Revocations {
    /// Names the exchange; once, at the start.
    pub(super) fn follow(&self, exchange: &Arc<Exchange>) {
        self.exchange.get_or_init(|| Arc::clone(exchange));
    }

    /// The address is not known here: they are bounded together.
    fn tell(&self, reason: &str) {
        if self.refused.note(IpAddr::V4(Ipv4Addr::UNSPECIFIED), reason) {
            tracing::info!("a certificate of a trusted authority is refused: {reason}");
        }
    }

    fn refused(&self, certificate: &CertificateDer<'_>) -> Option<CertificateError> {
        let Some(exchange) = self.exchange.get() else {
            self.tell("the hub is still starting");
            return Some(CertificateError::ApplicationVerificationFailure);
        };
        // Where it comes from makes no difference to whether it is revoked.
        let source = SocketAddr::from(([0, 0, 0, 0], 0));
        let caller = match Caller::of_chain(std::slice::from_ref(certificate), source) {
            Ok(caller) => caller,
            Err(error) => {
                // The door's own line says no more than that this verification failed.
                self.tell(&error.to_string());
                return Some(CertificateError::ApplicationVerificationFailure);
            }
        };
        exchange.certificate_refused(&caller.certificate).then_some(CertificateError::Revoked)
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocations")
    }
}

/// The authority's signature first, then the list of revoked serial numbers.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) authority: Arc<dyn ClientCertVerifier>,
    pub(super) revocations: Revocations,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authority.verify_client_cert(end_entity, intermediates, now)?;
        match self.revocations.refused(end_entity) {
            None => Ok(verified),
            Some(error) => Err(Error::InvalidCertificate(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}
