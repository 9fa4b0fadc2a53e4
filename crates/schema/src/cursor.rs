//! Reading Avro binary: a position that only moves forward, with bounded work and depth.

/// Values nested deeper than this are refused: recursion is bounded by it.
pub(crate) const DEPTH_MAX: u32 = 32;

/// Bytes that are not Avro of their schema. It says what was met and where, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not Avro of its schema: {what} at byte {at}")]
pub struct Malformed {
    /// What was met.
    pub what: &'static str,
    /// The offset in the body.
    pub at: usize,
}

/// A position in a body.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    /// Never beyond the body.
    at: usize,
    /// Values without bytes (nulls, empty records) could otherwise be claimed without end.
    work_left: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, work_left: (body.len() as u64).saturating_mul(32).saturating_add(65_536) }
    }

    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.body.len()
    }

    #[inline]
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Goes to an offset of the body.
    #[inline]
    pub(crate) fn move_to(&mut self, at: usize) {
        self.at = at.min(self.body.len());
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// The bytes from `start` up to here.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.body.get(start..self.at).unwrap_or_default()
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// Counts one composite value against the bound on work.
    pub(crate) fn work(&mut self) -> Result<(), Malformed> {
        match self.work_left.checked_sub(1) {
            Some(left) => {
                self.work_left = left;
                Ok(())
            }
            None => Err(self.malformed("more values than a body of this size can hold")),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        match self.at.checked_add(length).and_then(|end| Some((end, self.body.get(self.at..end)?))) {
            Some((end, taken)) => {
                self.at = end;
                Ok(taken)
            }
            None => Err(self.malformed("a value longer than the bytes left")),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest().first_chunk() {
            Some(taken) => {
                self.at += N;
                Ok(*taken)
            }
            None => Err(self.malformed("a value longer than the bytes left")),
        }
    }

    /// A zig-zag variable-length integer.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Malformed> {
        match self.body.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                let value = i64::from(*byte);
                Ok((value >> 1) ^ -(value & 1))
            }
            _ => self.long_of_many_bytes(),
        }
    }

    fn long_of_many_bytes(&mut self) -> Result<i64, Malformed> {
        let mut value: u64 = 0;
        for (index, &byte) in self.rest().iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                return Err(self.malformed("an integer of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(self.malformed("an integer that does not end"))
    }

    pub(crate) fn int(&mut self) -> Result<i32, Malformed> {
        let at = self.at();
        i32::try_from(self.long()?).map_err(|_| Malformed { what: "an int of more than 32 bits", at })
    }

    #[inline]
    pub(crate) fn index(&mut self, bound: usize, what: &'static str) -> Result<usize, Malformed> {
        let at = self.at();
        match usize::try_from(self.long()?) {
            Ok(index) if index < bound => Ok(index),
            _ => Err(Malformed { what, at }),
        }
    }

    /// A length-prefixed value.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let at = self.at();
        let length =
            usize::try_from(self.long()?).map_err(|_| Malformed { what: "a negative length", at })?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let at = self.at();
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed { what: "text that is not UTF-8", at })
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.body.get(self.at) {
            Some(byte @ (0 | 1)) => {
                self.at += 1;
                Ok(*byte == 1)
            }
            Some(_) => Err(self.malformed("a boolean other than 0 and 1")),
            None => Err(self.malformed("a value longer than the bytes left")),
        }
    }

    /// The head of a block of an array or map; `None` at the end of the blocks.
    pub(crate) fn block(&mut self) -> Result<Option<Block>, Malformed> {
        let at = self.at();
        let count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        if count > 0 {
            return Ok(Some(Block { count: count.unsigned_abs(), bytes: None }));
        }
        // A negative count is followed by the block's size in bytes.
        let bytes =
            usize::try_from(self.long()?).map_err(|_| Malformed { what: "a negative block size", at })?;
        if bytes > self.rest().len() {
            return Err(Malformed { what: "a block longer than the bytes left", at });
        }
        Ok(Some(Block { count: count.unsigned_abs(), bytes: Some(bytes) }))
    }
}

/// One block of an array or map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// How many elements follow.
    pub(crate) count: u64,
    /// How many bytes they take, where the writer says so.
    pub(crate) bytes: Option<usize>,
}

/// Appends a zig-zag variable-length integer.
pub(crate) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push((left & 0x7f) as u8);
}

/// Appends a length-prefixed value.
pub(crate) fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    // A slice is never longer than i64::MAX.
    put_long(i64::try_from(value.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_survives_the_way_out_and_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_long(value, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.long().unwrap(), value);
            assert!(cursor.is_at_end());
        }
    }

    #[test]
    fn an_integer_of_eleven_bytes_is_refused() {
        assert!(Cursor::new(&[0xff; 11]).long().is_err());
        assert!(Cursor::new(&[0x80; 9]).long().is_err());
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]).long().is_err());
    }

    #[test]
    fn a_length_beyond_the_body_is_refused() {
        let mut bytes = Vec::new();
        put_long(i64::MAX, &mut bytes);
        assert!(Cursor::new(&bytes).bytes().is_err());
        bytes.clear();
        put_long(-1, &mut bytes);
        assert!(Cursor::new(&bytes).bytes().is_err());
    }
}
