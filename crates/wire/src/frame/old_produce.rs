//! Produce 0 to 2: announced, since clients look for them there, and refused in their own form.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::{FrameError, RequestHeader, framed, guard, layout, served};

/// The first version with a time for each partition, and the first with a throttle time.
const TIME_FROM: i16 = 2;
const THROTTLE_FROM: i16 = 1;

/// The refusal of a Produce whose version is announced but not served, as Kafka 4 words it: UNSUPPORTED_VERSION for each
/// partition. `None` when the request is no such one, or wants no answer (`acks` 0).
///
/// # Errors
/// When the body is not what its layout says.
pub fn refuse_old_produce(header: &RequestHeader, mut body: Bytes) -> Result<Option<Bytes>, FrameError> {
    let (key, version) = (header.api_key, header.api_version);
    if key != ApiKey::Produce as i16
        || !served::announced(key, version)
        || served::served(key, version).is_some()
    {
        return Ok(None);
    }
    let api = layout::OLD_PRODUCE.name;
    guard::check(&layout::OLD_PRODUCE, version, &body)?;
    let unread = |what: String| FrameError::Field { api, what };
    let acks = body.try_get_i16().map_err(|error| unread(error.to_string()))?;
    if acks == 0 {
        return Ok(None);
    }
    framed(|out| {
        out.put_i32(header.correlation_id);
        answer(out, version, &mut body).map_err(|error| error.to_string())
    })
    .map(Some)
    .map_err(unread)
}

/// Answers each partition of a body that its layout fits, read from the timeout on.
fn answer(out: &mut BytesMut, version: i16, body: &mut Bytes) -> Result<(), TryGetError> {
    let _timeout_ms = body.try_get_i32()?;
    let topics = body.try_get_i32()?;
    out.put_i32(topics);
    for _ in 0..topics {
        let length = body.try_get_i16()?;
        out.put_i16(length);
        let name = passed_over(body, length.into());
        out.put(name);
        let partitions = body.try_get_i32()?;
        out.put_i32(partitions);
        for _ in 0..partitions {
            out.put_i32(body.try_get_i32()?);
            let records = body.try_get_i32()?;
            drop(passed_over(body, records));
            out.put_i16(ResponseError::UnsupportedVersion.code());
            // No offset, and no time.
            out.put_i64(-1);
            if version >= TIME_FROM {
                out.put_i64(-1);
            }
        }
    }
    if version >= THROTTLE_FROM {
        out.put_i32(0);
    }
    Ok(())
}

/// The next bytes; none of a null.
fn passed_over(body: &mut Bytes, length: i32) -> Bytes {
    body.split_to(usize::try_from(length).unwrap_or(0).min(body.len()))
}

#[cfg(test)]
mod tests {
    use super::super::request_header;
    use super::*;

    fn frame(version: i16, acks: i16) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_i16(0);
        frame.put_i16(version);
        frame.put_i32(5);
        frame.put_slice(b"\0\x01c");
        frame.put_i16(acks);
        frame.put_i32(1_000);
        frame.put_i32(1);
        frame.put_slice(b"\0\x04shop");
        frame.put_i32(2);
        for partition in [0, 7] {
            frame.put_i32(partition);
            frame.put_i32(3);
            frame.put_slice(b"abc");
        }
        frame.freeze()
    }

    #[test]
    fn a_produce_of_version_0_to_2_is_refused_in_its_own_form() {
        for version in 0..=2 {
            let mut body = frame(version, 1);
            let header = request_header(&mut body).unwrap();
            assert_eq!(header.client_id.as_deref(), Some("c"));
            for cut in 0..body.len() {
                assert!(refuse_old_produce(&header, body.slice(..cut)).is_err(), "{version} cut at {cut}");
            }
            let mut answer = refuse_old_produce(&header, body).unwrap().unwrap();
            assert_eq!(usize::try_from(answer.get_i32()).unwrap(), answer.len());
            assert_eq!((answer.get_i32(), answer.get_i32()), (5, 1));
            assert_eq!(answer.split_to(6), Bytes::from_static(b"\0\x04shop"));
            assert_eq!(answer.get_i32(), 2);
            for partition in [0, 7] {
                assert_eq!((answer.get_i32(), answer.get_i16(), answer.get_i64()), (partition, 35, -1));
                assert!(version < 2 || answer.get_i64() == -1);
            }
            assert!(version < 1 || answer.get_i32() == 0);
            assert!(answer.is_empty());
        }
    }

    #[test]
    fn what_wants_no_answer_or_is_another_version_gets_none() {
        let mut body = frame(2, 0);
        let header = request_header(&mut body).unwrap();
        assert_eq!(refuse_old_produce(&header, body), Ok(None));
        let served = RequestHeader { api_version: 3, ..header };
        assert_eq!(refuse_old_produce(&served, Bytes::new()), Ok(None));
    }
}
