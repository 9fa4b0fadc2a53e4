//! One client's connection: a request, its answer, the next request, as Kafka's broker does it.

use bytes::Bytes;
use shuniu_exchange::{Caller, Recorded, Session, Withdrawn};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Answer};
use crate::door::Options;
use crate::frames::{self, ReadError};

/// How a connection ended.
enum End {
    /// Closed in order: by the client, by the hub's own end, or after a refusal.
    Closed(String),
    /// Reset, so that nothing of an answer under way arrives.
    Reset(Withdrawn),
}

/// Serves a connection until it ends.
pub(crate) async fn run(
    mut stream: TlsStream<TcpStream>,
    session: Session,
    caller: &Caller,
    options: &Options,
    cancel: CancellationToken,
) {
    let end = tokio::select! {
        // A revoked certificate ends the connection whatever it is doing.
        withdrawn = session.withdrawn() => End::Reset(withdrawn),
        end = serve(&mut stream, &session, options, &cancel) => end,
    };
    match end {
        End::Closed(reason) => {
            tracing::debug!(system = %caller.system, source = %caller.source, "a connection ended: {reason}");
            // The client may be gone: then there is nobody to say goodbye to.
            drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
        }
        End::Reset(withdrawn) => {
            tracing::info!(system = %caller.system, source = %caller.source, code = withdrawn.code, "a connection is reset");
            // Without this the kernel would still deliver what it has buffered.
            if let Err(error) = stream.get_ref().0.set_zero_linger() {
                tracing::warn!(%error, source = %caller.source, "a connection is closed but not reset");
            }
        }
    }
}

async fn serve(
    stream: &mut TlsStream<TcpStream>,
    session: &Session,
    options: &Options,
    cancel: &CancellationToken,
) -> End {
    loop {
        let frame = tokio::select! {
            () = cancel.cancelled() => return End::Closed("the hub is shutting down".to_owned()),
            frame = frames::read(stream, options.produce_bytes_max, options.idle_max) => frame,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                if let ReadError::Length { .. } = &error {
                    session.refused(None, "frame-too-long", &error.to_string());
                }
                return End::Closed(error.to_string());
            }
        };
        let end = match api::answer(session, frame, options).await {
            Ok(Answer::Frame(bytes)) => write(stream, bytes, options).await,
            Ok(Answer::Recorded(recorded)) => write_recorded(stream, recorded, options).await,
            Err(reason) => Some(End::Closed(reason)),
        };
        if let Some(end) = end {
            return end;
        }
    }
}

async fn write(stream: &mut TlsStream<TcpStream>, bytes: Bytes, options: &Options) -> Option<End> {
    frames::write(stream, bytes, options.write_max).await.err().map(|error| End::Closed(error.to_string()))
}

/// Writes a response with records: the permission is looked at before each chunk, and while a chunk waits for the
/// client to take it.
async fn write_recorded(
    stream: &mut TlsStream<TcpStream>,
    mut recorded: Recorded,
    options: &Options,
) -> Option<End> {
    loop {
        let chunk = match recorded.next_chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return None,
            Err(withdrawn) => return Some(End::Reset(withdrawn)),
        };
        let written = tokio::select! {
            withdrawn = recorded.withdrawn() => return Some(End::Reset(withdrawn)),
            written = write(stream, chunk, options) => written,
        };
        if written.is_some() {
            return written;
        }
    }
}
