//! Record batches: the walk and the rewrite.

use std::convert::Infallible;

use bytes::Bytes;
use shuniu_wire::batch::{
    Batch, Compression, Disposition, HEADER_BYTES, RewriteOptions, Scratch, batches, pass_through,
    rewrite as rewrite_batches,
};

/// What a batch may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 10;

/// Reads the bytes as batches, and as the records of a batch with a right length and CRC.
pub fn batch_walk(input: &[u8]) {
    let mut scratch = Scratch::default();
    for records in [Bytes::copy_from_slice(input), framed(input)] {
        drop(Batch::of_producer(&records));
        for batch in batches(&records).flatten() {
            offsets(&batch, &mut scratch);
        }
    }
}

/// Rewrites two batches of the bytes, some records out: what is left is exactly the survivors, ends with the last
/// offset covered, and does not depend on the codec.
pub fn rewrite(input: &[u8]) {
    let [mask, at, fetch_offset, rest @ ..] = input else { return };
    let (one, two) = rest.split_at(usize::from(*at).min(rest.len()));
    let records = Bytes::from([&framed(one)[..], &framed(two)[..]].concat());
    let mut scratch = Scratch::default();
    let keep = |offset: i64| mask >> (offset & 7) & 1 == 1;
    let mut options = RewriteOptions::new(i64::from(*fetch_offset), Compression::Lz4, DECOMPRESSED_BYTES_MAX);
    drop(pass_through(&records, &options, &mut scratch));
    let mut run = |codec| {
        options.codec = codec;
        rewrite_batches(&records, &options, &mut scratch, &mut |record, _| {
            Ok::<_, Infallible>(if keep(record.offset) { Disposition::Deliver } else { Disposition::Drop })
        })
    };
    let Ok(plain) = run(Compression::None) else { return };
    let mut expected = Vec::new();
    let mut last = None;
    for batch in batches(&records).map(Result::unwrap) {
        let header = batch.header();
        last = Some(header.last_offset());
        // What ends before the fetch offset is not even read.
        if !header.is_control() && header.last_offset() >= i64::from(*fetch_offset) {
            expected.extend(offsets(&batch, &mut Scratch::default()).unwrap());
        }
    }
    expected.retain(|offset| *offset >= i64::from(*fetch_offset) && keep(*offset));
    // Two batches of the bytes may overlap, which no log does.
    if !expected.is_sorted_by(|a, b| a < b) {
        return;
    }
    assert_eq!(plain.covered_to, last);
    assert_eq!(plain.delivered.offsets().collect::<Vec<_>>(), expected);
    assert_eq!(delivered(&plain.bytes), expected);
    for codec in [Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip] {
        let compressed = run(codec).unwrap();
        assert_eq!(compressed.delivered, plain.delivered);
        assert_eq!(delivered(&compressed.bytes), expected);
    }
}

/// Offsets of what is delivered, every batch with a right CRC.
fn delivered(records: &Bytes) -> Vec<i64> {
    let mut all = Vec::new();
    for batch in batches(records).map(Result::unwrap) {
        batch.verify_crc().unwrap();
        if !batch.header().is_control() {
            all.extend(offsets(&batch, &mut Scratch::default()).unwrap());
        }
    }
    all
}

/// Every record's offset, if the batch can be read to its end.
fn offsets(batch: &Batch, scratch: &mut Scratch) -> Option<Vec<i64>> {
    let records = batch.records(scratch, DECOMPRESSED_BYTES_MAX).ok()?;
    let mut offsets = Vec::new();
    let mut whole = true;
    for record in records {
        let Ok(record) = record else {
            whole = false;
            break;
        };
        assert_eq!(record.headers.iter().count(), record.headers.len());
        offsets.push(record.offset);
    }
    whole.then_some(offsets)
}

/// A batch around the bytes: attributes, count and last offset by the first four, the rest its payload. Its length and
/// CRC are right, so that what is behind them is reached.
fn framed(input: &[u8]) -> Bytes {
    let (head, payload) = input.split_at(input.len().min(4));
    let field = |at: usize| head.get(at).copied().unwrap_or_default();
    let mut out = vec![0; HEADER_BYTES];
    out[7] = field(3);
    let length = i32::try_from(HEADER_BYTES - 12 + payload.len()).unwrap();
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[16] = 2;
    out[22] = field(0);
    out[26] = field(1);
    out[60] = field(2);
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(out)
}
