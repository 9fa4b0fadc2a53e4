//! Frames off and onto the connection.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shuniu_wire::frame_bytes_max;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// API key, version and correlation id: no request is shorter.
const FRAME_BYTES_MIN: usize = 8;
/// What is set aside before any of a frame's bytes are there. The rest follows what arrives, not what is claimed.
const RESERVED_BYTES: usize = 16 << 10;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection was silent for too long")]
    Idle,
    #[error("a frame claims {claimed} bytes, at most {bytes_max} are allowed")]
    Length { claimed: i32, bytes_max: usize },
    #[error("cannot read from the connection")]
    Io(#[from] io::Error),
}

/// Reads one frame, without its length prefix.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    produce_bytes_max: usize,
    idle_max: Duration,
) -> Result<Bytes, ReadError> {
    let mut prefix = [0; 4];
    match tokio::time::timeout(idle_max, stream.read_exact(&mut prefix)).await {
        Err(_) => return Err(ReadError::Idle),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ReadError::Closed),
        Ok(read) => read?,
    };
    let claimed = i32::from_be_bytes(prefix);
    // Before the API is known, the largest bound of any.
    let any_max = produce_bytes_max.max(frame_bytes_max(11, produce_bytes_max));
    let too_long = |bytes_max| ReadError::Length { claimed, bytes_max };
    let length = usize::try_from(claimed).map_err(|_| too_long(any_max))?;
    if !(FRAME_BYTES_MIN..=any_max).contains(&length) {
        return Err(too_long(any_max));
    }
    let mut frame = BytesMut::with_capacity(length.min(RESERVED_BYTES));
    tokio::time::timeout(idle_max, fill(stream, &mut frame, FRAME_BYTES_MIN))
        .await
        .map_err(|_| ReadError::Idle)??;
    let api_key = frame.first_chunk::<2>().map_or(-1, |key| i16::from_be_bytes(*key));
    let bytes_max = frame_bytes_max(api_key, produce_bytes_max);
    if length > bytes_max {
        return Err(too_long(bytes_max));
    }
    tokio::time::timeout(idle_max, fill(stream, &mut frame, length)).await.map_err(|_| ReadError::Idle)??;
    Ok(frame.freeze())
}

/// Reads until the frame has `length` bytes, and no byte of the next one.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut BytesMut,
    length: usize,
) -> Result<(), io::Error> {
    while frame.len() < length {
        let mut limited = (&mut *stream).take(u64::try_from(length - frame.len()).unwrap_or(u64::MAX));
        if limited.read_buf(frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Writes bytes; a client that takes none for `write_max` is given up.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: Bytes,
    write_max: Duration,
) -> Result<(), io::Error> {
    while !bytes.is_empty() {
        let written = tokio::time::timeout(write_max, stream.write_buf(&mut bytes));
        if written.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    tokio::time::timeout(write_max, stream.flush())
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;
    const IDLE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn p10_a_frame_that_claims_two_gigabytes_is_refused_before_memory_is_taken() {
        for claimed in [i32::MAX, -1, 0, 7] {
            let bytes = claimed.to_be_bytes();
            let error = read(&mut &bytes[..], MAX, IDLE).await.unwrap_err();
            assert!(matches!(error, ReadError::Length { .. }), "{error}");
        }
        // Metadata may not be as large as Produce.
        let mut frame = 1_000_000_i32.to_be_bytes().to_vec();
        frame.extend_from_slice(&[0, 3, 0, 12, 0, 0, 0, 1]);
        let error = read(&mut &frame[..], MAX, IDLE).await.unwrap_err();
        assert!(matches!(error, ReadError::Length { bytes_max: 262_144, .. }), "{error}");
    }

    #[tokio::test]
    async fn frames_are_read_one_after_the_other() {
        let mut bytes = Vec::new();
        for body in [&[0, 0, 0, 9, 0, 0, 0, 1, 7][..], &[0, 0, 0, 9, 0, 0, 0, 2]] {
            bytes.extend_from_slice(&i32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(body);
        }
        let mut stream = &bytes[..];
        assert_eq!(read(&mut stream, MAX, IDLE).await.unwrap()[7..], [1, 7]);
        assert_eq!(read(&mut stream, MAX, IDLE).await.unwrap()[7..], [2]);
        assert!(matches!(read(&mut stream, MAX, IDLE).await, Err(ReadError::Closed)));
    }

    #[tokio::test]
    async fn p10_a_frame_that_never_ends_is_given_up() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(&[0, 0, 1, 0, 0, 3]).await.unwrap();
        assert!(matches!(read(&mut server, MAX, IDLE).await, Err(ReadError::Idle)));
    }
}
