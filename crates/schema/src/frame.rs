//! The Confluent wire format: byte 0, schema id as big-endian u32, Avro binary.

/// A value that is not framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer than five bytes.
    #[error("the value has {length} bytes: byte 0 and a schema id take 5")]
    Short {
        /// How many there are.
        length: usize,
    },
    /// The first byte is not 0.
    #[error("the value starts with byte {byte}, not 0: it is not in the Confluent wire format")]
    Magic {
        /// The first byte.
        byte: u8,
    },
}

/// The schema id and the Avro body.
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    match value.split_first_chunk::<5>() {
        Some(([0, a, b, c, d], body)) => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        Some(([byte, ..], _)) => Err(FrameError::Magic { byte: *byte }),
        None => Err(FrameError::Short { length: value.len() }),
    }
}

/// Appends the five bytes before a body.
pub fn put(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_as_it_was_put() {
        let mut value = Vec::new();
        put(0x0102_0304, &mut value);
        value.extend_from_slice(b"body");
        assert_eq!(split(&value), Ok((0x0102_0304, b"body".as_slice())));
        assert_eq!(split(b""), Err(FrameError::Short { length: 0 }));
        assert_eq!(split(&[1, 0, 0, 0, 1]), Err(FrameError::Magic { byte: 1 }));
    }
}
