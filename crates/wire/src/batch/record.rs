//! The records within a batch.

use super::compression::Scratch;
use super::{Batch, BatchError, varint};

/// One record, its parts borrowed from the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// `None` for a record without a key.
    pub key: Option<&'a [u8]>,
    /// `None` for a deletion.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
}

/// The headers of a record: read once when the record is, so that iterating cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    pub(super) count: i32,
    pub(super) bytes: &'a [u8],
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, usually UTF-8. Names may repeat.
    pub name: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// The headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let (header, tail) = read_header(rest)?;
            rest = tail;
            Some(header)
        })
    }

    /// The first header of that name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Header<'a>> {
        self.iter().find(|header| header.name == name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Batch {
    /// The batch's records, decompressed into `scratch` where they are compressed.
    ///
    /// # Errors
    /// When the codec is unknown, the data broken or over `decompressed_bytes_max`.
    pub fn records<'a>(
        &'a self,
        scratch: &'a mut Scratch,
        decompressed_bytes_max: usize,
    ) -> Result<Records<'a>, BatchError> {
        let bytes = scratch.decompressor.read(self, decompressed_bytes_max)?;
        Ok(Records::new(self, bytes))
    }
}

/// The walk over a batch's records. It ends after the header's count; what is left over then is an error, as is a
/// record that does not fit.
#[derive(Debug)]
pub struct Records<'a> {
    batch: &'a Batch,
    rest: &'a [u8],
    bytes_total: usize,
    index: i32,
    offset_delta_min: i32,
    broken: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(batch: &'a Batch, bytes: &'a [u8]) -> Self {
        Self { batch, rest: bytes, bytes_total: bytes.len(), index: 0, offset_delta_min: 0, broken: false }
    }

    /// Bytes of all records before compression.
    #[must_use]
    pub fn bytes_total(&self) -> usize {
        self.bytes_total
    }

    fn fail<T>(&mut self, what: &'static str) -> Option<Result<T, BatchError>> {
        self.broken = true;
        Some(Err(BatchError::Record { index: self.index, what }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let header = self.batch.header();
        if self.index >= header.records_count {
            if self.rest.is_empty() {
                return None;
            }
            self.broken = true;
            let found = self.index.saturating_add(1);
            return Some(Err(BatchError::Count { stated: header.records_count, found }));
        }
        let Some((length, rest)) = varint::read_i32(self.rest) else {
            return self.fail("its length is cut short");
        };
        let Some((body, rest)) =
            usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
        else {
            return self.fail("its length is beyond the batch");
        };
        let Some(mut record) = read_record(body) else {
            return self.fail("its fields do not fit its length");
        };
        // Offsets rise, in what compaction leaves too. So a batch with as many records as offsets has no gaps.
        if record.offset_delta < self.offset_delta_min || record.offset_delta > header.last_offset_delta {
            return self.fail("its offset does not rise, or is outside of the batch");
        }
        self.offset_delta_min = record.offset_delta.saturating_add(1);
        record.offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        record.timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(record.timestamp_delta)
        };
        self.rest = rest;
        self.index += 1;
        Some(Ok(record))
    }
}

fn read_record(body: &[u8]) -> Option<Record<'_>> {
    // No attributes of a record are defined.
    let (_attributes, rest) = body.split_first()?;
    let (timestamp_delta, rest) = varint::read_i64(rest)?;
    let (offset_delta, rest) = varint::read_i32(rest)?;
    let (key, rest) = read_bytes(rest)?;
    let (value, rest) = read_bytes(rest)?;
    let (count, rest) = varint::read_i32(rest)?;
    if count < 0 {
        return None;
    }
    let mut tail = rest;
    for _ in 0..count {
        let (_, after) = read_header(tail)?;
        tail = after;
    }
    if !tail.is_empty() {
        return None;
    }
    let headers = Headers { count, bytes: rest };
    Some(Record { offset: 0, timestamp: 0, key, value, headers, timestamp_delta, offset_delta })
}

fn read_header(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (name, rest) = read_bytes(bytes)?;
    let (value, rest) = read_bytes(rest)?;
    Some((Header { name: name?, value }, rest))
}

/// A length, -1 for null, then that many bytes.
fn read_bytes(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = varint::read_i32(bytes)?;
    if length == -1 {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(value), rest))
}
