//! From an address to a stream of bytes.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::upstream::UpstreamError;

/// A connection's bytes, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Host and port of `host:port`; an IPv6 address stands in brackets.
pub(super) fn split(address: &str) -> Result<(String, u16), UpstreamError> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
        UpstreamError::Unreachable { detail: format!("`{address}` is not an address: write host:port") }
    })?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host.to_owned(), port))
}

/// Connects. Without TLS to this machine alone: what goes over a network is encrypted and both ends are known.
pub(super) async fn dial(
    host: &str,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Box<dyn Stream>, UpstreamError> {
    let failed = |what: &str, error: &io::Error| UpstreamError::Unreachable {
        detail: format!("{host}:{port} {what}: {error}"),
    };
    let addresses = tokio::net::lookup_host((host, port)).await;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.map_err(|error| failed("cannot be looked up", &error))? {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(UpstreamError::Unreachable {
                detail: format!(
                    "{host}:{port} is not on this machine and would be spoken to in plain text: set kafka.tls"
                ),
            });
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| failed("cannot be set up", &error))?;
                let Some(tls) = tls else { return Ok(Box::new(stream)) };
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|error| failed("has no name for TLS", &io::Error::other(error)))?;
                let stream = TlsConnector::from(tls)
                    .connect(name, stream)
                    .await
                    .map_err(|error| failed("refuses TLS, or its certificate is refused", &error))?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(failed("cannot be connected", &last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split("kafka-1.example:9092").unwrap(), ("kafka-1.example".to_owned(), 9092));
        assert_eq!(split("[::1]:9092").unwrap(), ("::1".to_owned(), 9092));
        for bad in ["kafka-1", ":9092", "kafka-1:", "kafka-1:99999", ""] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_broker_elsewhere_is_not_spoken_to_in_plain_text() {
        // Reserved for documentation: nobody is there, and nothing is sent.
        let refused = dial("192.0.2.1", 9092, None).await.err().unwrap();
        assert!(refused.to_string().contains("plain text"), "{refused}");
    }
}
