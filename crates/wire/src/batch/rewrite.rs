//! Rewriting batches: some records out, others changed, everything else as it was.
//!
//! Kept: base offset, leader epoch, attribute bits 3-6, last offset delta, base and max timestamp, producer id, epoch
//! and sequence, and the survivors' deltas. Recomputed: length, CRC, codec bits, count, record lengths. Control batches
//! pass as they are. A batch without survivors is dropped.
//!
//! Clients stall when the last offset that an answer covers is not in it, so it then ends with a filler: a control
//! batch of a type that no client knows, which every client steps over.

use bytes::Bytes;

use super::compression::{Compression, Scratch};
use super::header::{BatchHeader, CONTROL_ATTRIBUTE, HEADER_BYTES, KEPT_ATTRIBUTES, NO_PRODUCER};
use super::record::{Record, Records};
use super::{Batch, BatchError, batches, varint};

/// Key of a filler: i16 version 0, i16 type 0x7fff.
const FILLER_KEY: [u8; 4] = [0, 0, 0x7f, 0xff];
/// Value of a filler: i16 version, i32 coordinator epoch. Empty or null values lose records in some clients.
const FILLER_VALUE: [u8; 6] = [0; 6];

/// How to rewrite.
#[derive(Debug, Clone, Copy)]
pub struct RewriteOptions {
    /// Records before this offset are dropped: a batch may begin before what was asked for.
    pub fetch_offset: i64,
    /// The codec of the rewritten batches.
    pub codec: Compression,
    /// A batch over this once decompressed is refused, and once that much was read, what follows is left for the next
    /// fetch: small batches may grow as much as large ones.
    pub decompressed_bytes_max: usize,
    /// Once that many records leave, what follows is left for the next fetch.
    pub records_max: u64,
    /// Once what leaves is that large, what follows is left for the next fetch.
    pub bytes_max: usize,
}

impl RewriteOptions {
    /// Without a bound on what leaves.
    #[must_use]
    pub fn new(fetch_offset: i64, codec: Compression, decompressed_bytes_max: usize) -> Self {
        Self { fetch_offset, codec, decompressed_bytes_max, records_max: u64::MAX, bytes_max: usize::MAX }
    }
}

/// What the callback decides about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It does not leave.
    Drop,
    /// It leaves, as [`RecordOut`] says.
    Deliver,
}

/// A part of a delivered record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// As it came.
    AsIs,
    /// Null.
    Null,
    /// What the callback wrote into the buffer.
    Written,
}

/// Where the callback says what leaves in place of the record. Reset before each record: key and value as they are, no header.
#[derive(Debug)]
pub struct RecordOut {
    /// What becomes of the key.
    pub key: Part,
    /// What becomes of the value.
    pub value: Part,
    /// The key, for [`Part::Written`]. Empty at first.
    pub key_bytes: Vec<u8>,
    /// The value, for [`Part::Written`]. Empty at first.
    pub value_bytes: Vec<u8>,
    /// The names of the headers that leave; all others stay.
    pub headers: &'static [&'static [u8]],
}

/// Offsets that were delivered, in rising order, as runs without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    runs: Vec<(i64, i64)>,
    records: u64,
}

impl Delivered {
    /// How many records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The runs: first and last offset, both inclusive.
    #[must_use]
    pub fn runs(&self) -> &[(i64, i64)] {
        &self.runs
    }

    /// Every offset.
    pub fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Adds the offsets from `first` to `last`; they are after all that are there.
    pub fn push(&mut self, first: i64, last: i64) {
        self.records += u64::try_from(last.saturating_sub(first)).map_or(0, |span| span + 1);
        match self.runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => self.runs.push((first, last)),
        }
    }
}

/// What a rewrite gives.
#[derive(Debug, Clone, Default)]
pub struct Rewritten {
    /// The batches to send.
    pub bytes: Bytes,
    /// Which records are among them; control records are not counted.
    pub delivered: Delivered,
    /// The last offset that the read batches cover: the next fetch begins after it. `None` when there was no whole batch.
    pub covered_to: Option<i64>,
    /// Record bytes that were read: before compression, or as they came where they pass through.
    pub covered_bytes: usize,
    /// Whether the last batch is a filler.
    pub filler: bool,
}

/// Why a rewrite failed.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError<E> {
    /// The batches are not what they should be.
    #[error("the batch at offset {offset} cannot be read")]
    Batch {
        /// Its base offset; -1 when even that is unknown.
        offset: i64,
        /// Why.
        #[source]
        source: BatchError,
    },
    /// The callback failed.
    #[error("the record at offset {offset} cannot be rewritten")]
    Record {
        /// Its offset.
        offset: i64,
        /// Why.
        #[source]
        source: E,
    },
}

/// What one batch becomes.
#[derive(Debug, Clone, Default)]
pub struct RewrittenBatch {
    /// The batch that leaves in its place; empty without survivors.
    pub bytes: Bytes,
    /// Which records are in it.
    pub delivered: Delivered,
    /// Record bytes that were read, before compression.
    pub covered_bytes: usize,
    /// Whether the record at its last offset leaves.
    pub last_survives: bool,
}

/// Rewrites every whole batch of `records`, asking `each` about every record from the fetch offset on.
///
/// # Errors
/// A batch that cannot be read, or whatever `each` fails with, ends the rewrite: nothing of the partition leaves.
pub fn rewrite<E>(
    records: &Bytes,
    options: &RewriteOptions,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&Record<'_>, &mut RecordOut) -> Result<Disposition, E>,
) -> Result<Rewritten, RewriteError<E>> {
    let rewritten = rewrite_by(records, options, &mut |batch| rewrite_batch(batch, options, scratch, each));
    scratch.trim();
    rewritten
}

/// As [`rewrite`], asking `of` what becomes of each batch that has records from the fetch offset on: whatever
/// [`rewrite_batch`] gives, made now or kept from before.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_by<E>(
    records: &Bytes,
    options: &RewriteOptions,
    of: &mut dyn FnMut(&Batch) -> Result<RewrittenBatch, RewriteError<E>>,
) -> Result<Rewritten, RewriteError<E>> {
    let mut rewritten = Rewritten::default();
    let mut out: Vec<u8> = Vec::new();
    let mut last: Option<BatchHeader> = None;
    let mut last_survives = false;
    for batch in batches(records) {
        let batch = batch.map_err(|source| RewriteError::Batch { offset: -1, source })?;
        let header = *batch.header();
        let broken = |source| RewriteError::Batch { offset: header.base_offset, source };
        batch.verify_crc().map_err(broken)?;
        last = Some(header);
        // Before the fetch offset there is nothing to deliver: a record below it was delivered already.
        if header.last_offset() < options.fetch_offset {
            last_survives = false;
            continue;
        }
        if header.is_control() {
            out.extend_from_slice(batch.bytes());
            // Compaction can leave the mere shell of a batch, over which clients stall as over none.
            last_survives = header.records_count > 0;
            continue;
        }
        let batch = of(&batch)?;
        out.extend_from_slice(&batch.bytes);
        rewritten.covered_bytes += batch.covered_bytes;
        for (first, last) in batch.delivered.runs() {
            rewritten.delivered.push(*first, *last);
        }
        last_survives = batch.last_survives;
        if rewritten.covered_bytes >= options.decompressed_bytes_max
            || rewritten.delivered.records() >= options.records_max
            || out.len() >= options.bytes_max
        {
            break;
        }
    }
    if let Some(header) = last {
        rewritten.covered_to = Some(header.last_offset());
        // A filler below the fetch offset would send the client back.
        if !last_survives && header.last_offset() >= options.fetch_offset {
            write_filler(&header, &mut out)
                .map_err(|source| RewriteError::Batch { offset: header.base_offset, source })?;
            rewritten.filler = true;
        }
    }
    rewritten.bytes = Bytes::from(out);
    Ok(rewritten)
}

/// Rewrites one batch of records.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_batch<E>(
    batch: &Batch,
    options: &RewriteOptions,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&Record<'_>, &mut RecordOut) -> Result<Disposition, E>,
) -> Result<RewrittenBatch, RewriteError<E>> {
    let header = batch.header();
    let broken = |source| RewriteError::Batch { offset: header.base_offset, source };
    let Scratch { decompressor, compressor, records: body, key, value } = scratch;
    let bytes = decompressor.read(batch, options.decompressed_bytes_max).map_err(broken)?;
    let mut rewritten = RewrittenBatch { covered_bytes: bytes.len(), ..RewrittenBatch::default() };
    body.clear();
    let mut record_out = RecordOut {
        key: Part::AsIs,
        value: Part::AsIs,
        key_bytes: std::mem::take(key),
        value_bytes: std::mem::take(value),
        headers: &[],
    };
    let mut survivors = 0_i32;
    let mut last_offset = None;
    for record in Records::new(batch, bytes) {
        let record = record.map_err(broken)?;
        if record.offset < options.fetch_offset {
            continue;
        }
        record_out.reset();
        let disposition = each(&record, &mut record_out)
            .map_err(|source| RewriteError::Record { offset: record.offset, source })?;
        if disposition == Disposition::Drop {
            continue;
        }
        write_record(&record, &record_out, body).map_err(broken)?;
        survivors += 1;
        rewritten.delivered.push(record.offset, record.offset);
        last_offset = Some(record.offset);
    }
    (*key, *value) = (record_out.key_bytes, record_out.value_bytes);
    if survivors == 0 {
        return Ok(rewritten);
    }
    let compressed = compressor.compress(body, options.codec).map_err(broken)?;
    let new = BatchHeader {
        attributes: (header.attributes & KEPT_ATTRIBUTES) | options.codec.attributes(),
        records_count: survivors,
        ..*header
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + compressed.len());
    new.write(compressed, &mut out).map_err(broken)?;
    rewritten.bytes = Bytes::from(out);
    rewritten.last_survives = last_offset == Some(header.last_offset());
    Ok(rewritten)
}

impl RecordOut {
    fn reset(&mut self) {
        self.key = Part::AsIs;
        self.value = Part::AsIs;
        self.key_bytes.clear();
        self.value_bytes.clear();
        self.headers = &[];
    }
}

/// Appends a record with its length in front, each byte written once.
pub(super) fn write_record(record: &Record<'_>, to: &RecordOut, out: &mut Vec<u8>) -> Result<(), BatchError> {
    const TOO_LONG: BatchError = BatchError::Build { what: "a record is over 2 GiB" };
    let key = part(to.key, record.key, &to.key_bytes);
    let value = part(to.value, record.value, &to.value_bytes);
    let kept = || record.headers.iter().filter(|header| to.headers.contains(&header.name));
    let mut headers_count = 0_i64;
    let mut length = 1
        + varint::length(record.timestamp_delta)
        + varint::length(i64::from(record.offset_delta))
        + varint::bytes_length(key)
        + varint::bytes_length(value);
    if !to.headers.is_empty() {
        for header in kept() {
            headers_count += 1;
            length += varint::bytes_length(Some(header.name)) + varint::bytes_length(header.value);
        }
    }
    length += varint::length(headers_count);
    varint::write(i64::try_from(length).map_err(|_| TOO_LONG)?, out);
    out.push(0);
    varint::write(record.timestamp_delta, out);
    varint::write(i64::from(record.offset_delta), out);
    varint::write_bytes(key, out);
    varint::write_bytes(value, out);
    varint::write(headers_count, out);
    if headers_count > 0 {
        for header in kept() {
            varint::write_bytes(Some(header.name), out);
            varint::write_bytes(header.value, out);
        }
    }
    Ok(())
}

fn part<'a>(part: Part, as_is: Option<&'a [u8]>, written: &'a [u8]) -> Option<&'a [u8]> {
    match part {
        Part::AsIs => as_is,
        Part::Null => None,
        Part::Written => Some(written),
    }
}

/// A control batch of one record at the last offset that `covered` covers.
fn write_filler(covered: &BatchHeader, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let (producer_id, producer_epoch, base_sequence) = NO_PRODUCER;
    let mut record = Vec::with_capacity(24);
    // Attributes, timestamp delta, offset delta, key, value, no headers.
    let mut body = vec![0, 0, 0];
    varint::write_bytes(Some(&FILLER_KEY), &mut body);
    varint::write_bytes(Some(&FILLER_VALUE), &mut body);
    varint::write(0, &mut body);
    varint::write(i64::try_from(body.len()).unwrap_or(i64::MAX), &mut record);
    record.extend_from_slice(&body);
    let header = BatchHeader {
        base_offset: covered.last_offset(),
        leader_epoch: covered.leader_epoch,
        crc: 0,
        attributes: CONTROL_ATTRIBUTE,
        last_offset_delta: 0,
        base_timestamp: covered.max_timestamp,
        max_timestamp: covered.max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        records_count: 1,
    };
    header.write(&record, out)
}

/// Passes batches on as they are, with what leaves so. Whole batches leave: where one begins before the fetch offset, its
/// records before that leave too and count as delivered. A filler follows as after [`rewrite`].
///
/// Headers alone are read, but for a batch with gaps, which is read for its offsets.
///
/// # Errors
/// As [`rewrite`].
pub fn pass_through(
    records: &Bytes,
    options: &RewriteOptions,
    scratch: &mut Scratch,
) -> Result<Rewritten, RewriteError<std::convert::Infallible>> {
    let mut rewritten = Rewritten::default();
    let (mut start, mut end) = (0, 0);
    let mut last: Option<BatchHeader> = None;
    let mut last_survives = false;
    for batch in batches(records) {
        let batch = batch.map_err(|source| RewriteError::Batch { offset: -1, source })?;
        let header = *batch.header();
        end += batch.bytes().len();
        last = Some(header);
        if header.last_offset() < options.fetch_offset && start + batch.bytes().len() == end {
            start = end;
            continue;
        }
        rewritten.covered_bytes += batch.payload().len();
        last_survives = if header.is_control() {
            header.records_count > 0
        } else {
            let broken = |source| RewriteError::Batch { offset: header.base_offset, source };
            passed_offsets(&batch, options, scratch, &mut rewritten.delivered).map_err(broken)?
        };
        if rewritten.delivered.records() >= options.records_max || end - start >= options.bytes_max {
            break;
        }
    }
    // The common case hands the very bytes on.
    rewritten.bytes = records.slice(start..end);
    if let Some(header) = last {
        rewritten.covered_to = Some(header.last_offset());
        if !last_survives && header.last_offset() >= options.fetch_offset {
            let mut longer = rewritten.bytes.to_vec();
            write_filler(&header, &mut longer)
                .map_err(|source| RewriteError::Batch { offset: header.base_offset, source })?;
            rewritten.bytes = Bytes::from(longer);
            rewritten.filler = true;
        }
    }
    scratch.trim();
    Ok(rewritten)
}

/// Notes a batch's offsets. Returns whether there is a record at its last one.
fn passed_offsets(
    batch: &Batch,
    options: &RewriteOptions,
    scratch: &mut Scratch,
    delivered: &mut Delivered,
) -> Result<bool, BatchError> {
    let header = batch.header();
    if i64::from(header.records_count) == i64::from(header.last_offset_delta) + 1 {
        delivered.push(header.base_offset, header.last_offset());
        return Ok(true);
    }
    let mut last_offset = None;
    for record in batch.records(scratch, options.decompressed_bytes_max)? {
        let record = record?;
        delivered.push(record.offset, record.offset);
        last_offset = Some(record.offset);
    }
    Ok(last_offset == Some(header.last_offset()))
}
