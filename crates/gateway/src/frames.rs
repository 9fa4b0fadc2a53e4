//! Frames off and onto the connection.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use shuniu_exchange::{Budget, Share};
use shuniu_wire::frame_bytes_max;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// The length before each frame.
const PREFIX_BYTES: usize = 4;
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
    #[error("a frame did not arrive whole in time")]
    Slow,
    #[error("a frame claims {claimed} bytes, at most {bytes_max} are allowed")]
    Length { claimed: i32, bytes_max: usize },
    #[error("cannot read from the connection: {0}")]
    Io(#[from] io::Error),
}

/// A frame, without its length prefix, and its share of the memory that all frames may take.
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) share: Option<Share>,
}

/// Reads one connection's frames.
pub(crate) struct Frames {
    budget: Budget,
    produce_bytes_max: usize,
    idle_max: Duration,
    frame_max: Duration,
    /// The frame that is arriving, its prefix included.
    arrived: BytesMut,
    /// When it must be here: counted from its prefix.
    due: Option<Instant>,
    share: Option<Share>,
}

impl Frames {
    pub(crate) fn new(
        budget: Budget,
        produce_bytes_max: usize,
        idle_max: Duration,
        frame_max: Duration,
    ) -> Self {
        let arrived = BytesMut::new();
        Self { budget, produce_bytes_max, idle_max, frame_max, arrived, due: None, share: None }
    }

    /// The next frame. Dropped half-way, it loses nothing: the next call goes on.
    pub(crate) async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, ReadError> {
        timeout(self.idle_max, fill(stream, &mut self.arrived, PREFIX_BYTES))
            .await
            .map_err(|_| ReadError::Idle)??;
        let due = *self.due.get_or_insert_with(|| Instant::now() + self.frame_max);
        timeout_at(due, self.body(stream)).await.map_err(|_| ReadError::Slow)??;
        let mut whole = std::mem::take(&mut self.arrived);
        whole.advance(PREFIX_BYTES);
        self.due = None;
        Ok(Frame { bytes: whole.freeze(), share: self.share.take() })
    }

    /// Reads the frame that the prefix announces. Its length is held against the largest bound of any API, then
    /// against its own API's, and a large one waits for its share of memory, before more of it is taken.
    async fn body(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(), ReadError> {
        let claimed = self.arrived.first_chunk::<PREFIX_BYTES>().map_or(-1, |it| i32::from_be_bytes(*it));
        let any_max = self.produce_bytes_max.max(frame_bytes_max(11, self.produce_bytes_max));
        let too_long = |bytes_max| ReadError::Length { claimed, bytes_max };
        let length = usize::try_from(claimed).map_err(|_| too_long(any_max))?;
        if !(FRAME_BYTES_MIN..=any_max).contains(&length) {
            return Err(too_long(any_max));
        }
        fill(stream, &mut self.arrived, PREFIX_BYTES + FRAME_BYTES_MIN).await?;
        let key = self.arrived.get(PREFIX_BYTES..).and_then(<[u8]>::first_chunk::<2>);
        let bytes_max =
            frame_bytes_max(key.map_or(-1, |key| i16::from_be_bytes(*key)), self.produce_bytes_max);
        if length > bytes_max {
            return Err(too_long(bytes_max));
        }
        if length > RESERVED_BYTES && self.share.is_none() {
            self.share = Some(self.budget.take(length).await);
        }
        fill(stream, &mut self.arrived, PREFIX_BYTES + length).await
    }
}

/// Reads until there are `length` bytes, and no byte of the next frame.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    arrived: &mut BytesMut,
    length: usize,
) -> Result<(), ReadError> {
    while arrived.len() < length {
        let missing = length - arrived.len();
        if arrived.capacity() == arrived.len() {
            arrived.reserve(missing.min(arrived.len().max(RESERVED_BYTES)));
        }
        let mut limited = (&mut *stream).take(u64::try_from(missing).unwrap_or(u64::MAX));
        if limited.read_buf(arrived).await? == 0 {
            return Err(ReadError::Closed);
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
        let written = timeout(write_max, stream.write_buf(&mut bytes));
        if written.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    timeout(write_max, stream.flush()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;
    const SHORT: Duration = Duration::from_millis(50);

    fn frames(budget: &Budget) -> Frames {
        Frames::new(budget.clone(), MAX, SHORT, SHORT)
    }

    fn budget() -> Budget {
        Budget::of_all(MAX).of_one(MAX)
    }

    async fn read(mut bytes: &[u8]) -> Result<Frame, ReadError> {
        frames(&budget()).next(&mut bytes).await
    }

    #[tokio::test]
    async fn p10_a_frame_that_claims_two_gigabytes_is_refused_before_memory_is_taken() {
        for claimed in [i32::MAX, -1, 0, 7] {
            let error = read(&claimed.to_be_bytes()).await.err().unwrap();
            assert!(matches!(error, ReadError::Length { .. }), "{error}");
        }
        // Metadata may not be as large as Produce.
        let mut frame = 1_000_000_i32.to_be_bytes().to_vec();
        frame.extend_from_slice(&[0, 3, 0, 12, 0, 0, 0, 1]);
        let error = read(&frame).await.err().unwrap();
        assert!(matches!(error, ReadError::Length { bytes_max: 262_144, .. }), "{error}");
    }

    #[tokio::test]
    async fn frames_are_read_one_after_the_other_also_when_reading_was_broken_off() {
        let mut bytes = Vec::new();
        for body in [&[0, 0, 0, 9, 0, 0, 0, 1, 7][..], &[0, 0, 0, 9, 0, 0, 0, 2], &[5; 100_000]] {
            bytes.extend_from_slice(&i32::try_from(body.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(body);
        }
        // Produce, which may be as long.
        bytes[29..31].copy_from_slice(&[0, 0]);
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let mut frames = Frames::new(budget(), MAX, Duration::from_secs(9), Duration::from_secs(9));
        let mut read = Vec::new();
        for part in bytes.chunks(5_003) {
            client.write_all(part).await.unwrap();
            while let Ok(frame) = timeout(Duration::from_millis(5), frames.next(&mut server)).await {
                read.push(frame.unwrap().bytes);
            }
        }
        assert_eq!((read[0][7..].to_vec(), read[1][7..].to_vec()), (vec![1, 7], vec![2]));
        assert_eq!((read.len(), read[2].len(), &read[2][2..4]), (3, 100_000, &[5, 5][..]));
        drop(client);
        assert!(matches!(frames.next(&mut server).await, Err(ReadError::Closed)));
    }

    #[tokio::test]
    async fn p10_a_frame_that_never_ends_is_given_up() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(&[0, 0, 1, 0, 0, 3]).await.unwrap();
        assert!(matches!(frames(&budget()).next(&mut server).await, Err(ReadError::Slow)));
        let (_client, mut server) = tokio::io::duplex(64);
        assert!(matches!(frames(&budget()).next(&mut server).await, Err(ReadError::Idle)));
    }

    #[tokio::test]
    async fn p10_a_large_frame_waits_until_there_is_memory_for_it() {
        let budget = budget();
        let taken = budget.take(MAX).await;
        let frame = [&500_000_i32.to_be_bytes()[..], &[0; 500_000]].concat();
        let mut patient = Frames::new(budget.clone(), MAX, Duration::from_secs(9), Duration::from_secs(9));
        let mut stream = &frame[..];
        assert!(timeout(SHORT, patient.next(&mut stream)).await.is_err());
        assert!(patient.arrived.capacity() <= 2 * RESERVED_BYTES, "{}", patient.arrived.capacity());
        drop(taken);
        let frame = patient.next(&mut stream).await.unwrap();
        assert_eq!(frame.bytes.len(), 500_000);
        assert!(frame.share.is_some());
    }
}
