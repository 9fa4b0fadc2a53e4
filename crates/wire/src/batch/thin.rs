//! Thinning: a batch with fewer of its records, as compaction leaves it.

use bytes::Bytes;

use super::compression::Compression;
use super::header::{BatchHeader, DELETE_HORIZON, KEPT_ATTRIBUTES};
use super::record::Records;
use super::{Batch, BatchError, Record, Scratch, varint};

/// The batch with only the records that `keep` wants, in its own codec. Offsets, timestamps, headers, the producer's
/// fields and what the batch covers stay; a batch that loses no record stays byte for byte. Without any record left it
/// is a header alone, which still tells of the producer's sequence and of the offsets it covers.
///
/// `delete_horizon`, in milliseconds, is noted in a batch that has none yet: where Kafka notes it (KIP-534), bit 6 of
/// the attributes and the base timestamp.
///
/// # Errors
/// A batch that cannot be read, or whose records are over `decompressed_bytes_max`.
pub fn thin(
    batch: &Batch,
    delete_horizon: Option<i64>,
    decompressed_bytes_max: usize,
    scratch: &mut Scratch,
    keep: &mut dyn FnMut(&Record<'_>) -> bool,
) -> Result<Bytes, BatchError> {
    let header = batch.header();
    let horizon = delete_horizon.filter(|_| header.attributes & DELETE_HORIZON == 0);
    let base_timestamp = horizon.unwrap_or(header.base_timestamp);
    let moved = header.base_timestamp.wrapping_sub(base_timestamp);
    let Scratch { decompressor, compressor, records: body, .. } = scratch;
    let bytes = decompressor.read(batch, decompressed_bytes_max)?;
    body.clear();
    let mut kept = 0_i32;
    for record in Records::new(batch, bytes) {
        let record = record?;
        if keep(&record) {
            write_whole(&record, record.timestamp_delta.wrapping_add(moved), body)?;
            kept += 1;
        }
    }
    if kept == header.records_count && horizon.is_none() {
        return Ok(batch.bytes().clone());
    }
    let codec = if kept == 0 { Compression::None } else { header.compression()? };
    let horizon_bit = if horizon.is_some() { DELETE_HORIZON } else { 0 };
    let new = BatchHeader {
        attributes: (header.attributes & KEPT_ATTRIBUTES) | horizon_bit | codec.attributes(),
        base_timestamp,
        records_count: kept,
        ..*header
    };
    let mut out = Vec::new();
    new.write(compressor.compress(body, codec)?, &mut out)?;
    scratch.trim();
    Ok(Bytes::from(out))
}

/// Appends a record with all that it has, its length in front.
fn write_whole(record: &Record<'_>, timestamp_delta: i64, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let offset_delta = i64::from(record.offset_delta);
    let headers_count = i64::from(record.headers.count);
    let part_bytes = |part: Option<&[u8]>| {
        part.map_or(1, |bytes| varint::length(i64::try_from(bytes.len()).unwrap_or(i64::MAX)) + bytes.len())
    };
    let length = 1
        + varint::length(timestamp_delta)
        + varint::length(offset_delta)
        + part_bytes(record.key)
        + part_bytes(record.value)
        + varint::length(headers_count)
        + record.headers.bytes.len();
    let length = i64::try_from(length).map_err(|_| BatchError::Build { what: "a record is over 2 GiB" })?;
    varint::write(length, out);
    // A record has no attributes in this format.
    out.push(0);
    varint::write(timestamp_delta, out);
    varint::write(offset_delta, out);
    for part in [record.key, record.value] {
        match part {
            None => varint::write(-1, out),
            Some(bytes) => {
                varint::write(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
                out.extend_from_slice(bytes);
            }
        }
    }
    varint::write(headers_count, out);
    out.extend_from_slice(record.headers.bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BuiltRecord, batches};

    const BYTES_MAX: usize = 1 << 20;

    fn built(codec: Compression) -> Batch {
        let mut builder = BatchBuilder::new(codec).producer(7, 1, 40).base_offset(100);
        for n in 0..10_i64 {
            let (key, value) = (n.to_string(), "v".repeat(50));
            builder.push(&BuiltRecord {
                timestamp: 1_700_000_000_000 + n,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[(b"batch", Some(b"1")), (b"batch", None)],
            });
        }
        batches(&builder.build().unwrap()).next().unwrap().unwrap()
    }

    fn told(batch: &Batch) -> Vec<String> {
        let mut scratch = Scratch::default();
        let tell = |record: Result<Record<'_>, BatchError>| {
            let record = record.unwrap();
            let headers: Vec<_> = record.headers.iter().collect();
            format!("{} {} {:?} {:?} {headers:?}", record.offset, record.timestamp, record.key, record.value)
        };
        batch.records(&mut scratch, BYTES_MAX).unwrap().map(tell).collect()
    }

    #[test]
    fn what_is_kept_keeps_offset_time_headers_and_the_producers_fields() {
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let batch = built(codec);
            for horizon in [None, Some(1_800_000_000_000)] {
                let mut keep = |record: &Record<'_>| record.offset % 3 == 0;
                let thinned = thin(&batch, horizon, BYTES_MAX, &mut Scratch::default(), &mut keep).unwrap();
                let thinned = batches(&thinned).next().unwrap().unwrap();
                thinned.verify_crc().unwrap();
                let expected: Vec<String> = told(&batch).into_iter().skip(2).step_by(3).collect();
                assert_eq!(told(&thinned), expected);
                let (old, new) = (batch.header(), thinned.header());
                assert_eq!((new.base_offset, new.last_offset()), (old.base_offset, old.last_offset()));
                assert_eq!((new.producer_id, new.producer_epoch, new.base_sequence), (7, 1, 40));
                assert_eq!(new.max_timestamp, old.max_timestamp);
                assert_eq!(new.base_timestamp, horizon.unwrap_or(old.base_timestamp));
                assert_eq!(new.compression().unwrap(), codec);
            }
        }
    }

    #[test]
    fn a_batch_that_loses_nothing_stays_byte_for_byte_and_one_that_loses_all_is_a_header() {
        let batch = built(Compression::Lz4);
        let mut scratch = Scratch::default();
        let same = thin(&batch, None, BYTES_MAX, &mut scratch, &mut |_| true).unwrap();
        assert_eq!(same, batch.bytes());
        let none = thin(&batch, None, BYTES_MAX, &mut scratch, &mut |_| false).unwrap();
        assert_eq!(none.len(), crate::batch::HEADER_BYTES);
        let none = batches(&none).next().unwrap().unwrap();
        none.verify_crc().unwrap();
        assert_eq!((none.header().base_offset, none.header().last_offset()), (100, 109));
        assert!(told(&none).is_empty());
    }

    #[test]
    fn a_delete_horizon_is_set_once() {
        let batch = built(Compression::None);
        let mut scratch = Scratch::default();
        let first = thin(&batch, Some(5), BYTES_MAX, &mut scratch, &mut |_| true).unwrap();
        let first = batches(&first).next().unwrap().unwrap();
        let second = thin(&first, Some(9), BYTES_MAX, &mut scratch, &mut |_| true).unwrap();
        assert_eq!(second, first.bytes());
        assert_eq!(told(&first), told(&batch));
    }
}
