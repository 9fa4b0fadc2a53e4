//! Zigzag variable-length integers, as Protocol Buffers has them, and the bytes that they give the length of.

/// Reads a 64-bit number at the start of `bytes`, and the rest. `None` when it is cut short or longer than 10 bytes.
pub(super) fn read_i64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    // Most numbers in a batch are one or two bytes long.
    if let [byte, rest @ ..] = bytes
        && *byte < 0x80
    {
        return Some((unzigzag(u64::from(*byte)), rest));
    }
    let mut value = 0_u64;
    let mut shift = 0_u32;
    for (at, byte) in bytes.iter().enumerate() {
        if shift > 63 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((unzigzag(value), bytes.get(at + 1..)?));
        }
        shift += 7;
    }
    None
}

/// Reads a 32-bit number; `None` also when it does not fit.
pub(super) fn read_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (value, rest) = read_i64(bytes)?;
    Some((i32::try_from(value).ok()?, rest))
}

/// Appends a number.
pub(super) fn write(value: i64, out: &mut Vec<u8>) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// How many bytes [`write`] takes.
pub(super) fn length(value: i64) -> usize {
    let bits = (64 - (zigzag(value) | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// How many bytes [`write_bytes`] takes.
pub(super) fn bytes_length(bytes: Option<&[u8]>) -> usize {
    // A slice is never longer than i64::MAX.
    bytes.map_or(1, |bytes| length(i64::try_from(bytes.len()).unwrap_or(i64::MAX)) + bytes.len())
}

/// Appends a length and the bytes; null is the length -1.
pub(super) fn write_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => write(-1, out),
        Some(bytes) => {
            write(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
            out.extend_from_slice(bytes);
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value: i64, tail: Vec<u8>) {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            prop_assert_eq!(bytes.len(), length(value));
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(read_i64(&bytes), Some((value, tail.as_slice())));
        }
    }

    #[test]
    fn a_number_that_never_ends_is_refused() {
        assert_eq!(read_i64(&[0xff; 11]), None);
        assert_eq!(read_i64(&[0x80]), None);
        assert_eq!(read_i64(&[]), None);
    }
}
