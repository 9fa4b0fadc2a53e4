//! What the batch code promises of single cases: gaps, old formats, bombs, what a producer may send.

use bytes::Bytes;

use super::tests::{BYTES_MAX, build, first, keep_some, options, plain, seen};
use super::*;

/// A batch with a field of its header changed, and the CRC made right again.
fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut patched = batch.to_vec();
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&patched[21..]);
    patched[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(patched)
}

const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const RECORDS_COUNT: usize = 57;

#[test]
fn p10_a_bomb_is_refused_by_its_bound() {
    let value = vec![0_u8; 8 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        builder.push(&BuiltRecord { value: Some(&value), ..BuiltRecord::default() });
        let bytes = builder.build().unwrap();
        assert!(bytes.len() < value.len() / 15, "{codec}");
        let mut scratch = Scratch::default();
        let error = first(&bytes).records(&mut scratch, BYTES_MAX).unwrap_err();
        assert_eq!(error, BatchError::Bomb { bytes_max: BYTES_MAX }, "{codec}");
        assert!(scratch.decompressed_capacity() <= 4 * BYTES_MAX, "{codec}");
    }
}

#[test]
fn p10_many_small_bombs_are_read_one_fetch_at_a_time() {
    let value = vec![0_u8; BYTES_MAX / 2];
    let bomb = |base| {
        let mut builder = BatchBuilder::new(Compression::Zstd).base_offset(base);
        builder.push(&BuiltRecord { value: Some(&value), ..BuiltRecord::default() });
        builder.build().unwrap()
    };
    let bytes = Bytes::from((0..100).map(bomb).collect::<Vec<_>>().concat());
    assert!(bytes.len() < BYTES_MAX);
    let none = options(Compression::None, 0);
    let rewritten = rewrite(&bytes, &none, &mut Scratch::default(), &mut keep_some(|_| true)).unwrap();
    assert!(rewritten.bytes.len() < 2 * BYTES_MAX);
    assert_eq!(rewritten.covered_to, Some(1));
    assert_eq!(seen(&rewritten.bytes).len(), 2);
}

#[test]
fn a_producer_sends_exactly_one_plain_dense_batch() {
    let good = build(&plain(3), Compression::Zstd, 0);
    assert!(Batch::of_producer(&good).is_ok());
    assert_eq!(Batch::of_producer(&Bytes::new()).unwrap_err(), BatchError::NotOne { found: 0 });
    let two = Bytes::from([&good[..], &good[..]].concat());
    assert_eq!(Batch::of_producer(&two).unwrap_err(), BatchError::NotOne { found: 2 });
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    assert!(matches!(Batch::of_producer(&Bytes::from(flipped)), Err(BatchError::Crc { .. })));
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(Batch::of_producer(&Bytes::from(old)).unwrap_err(), BatchError::Magic { magic: 1 });
    let mut gap = BatchBuilder::new(Compression::None);
    gap.push_at(1, &BuiltRecord::default());
    assert!(matches!(Batch::of_producer(&gap.build().unwrap()), Err(BatchError::Count { .. })));
}

#[test]
fn a_producer_marks_its_batch_with_nothing_but_the_codec() {
    let good = build(&plain(3), Compression::Lz4, 0);
    for (bit, kind) in [
        (3, "log-append-time"),
        (4, "transactional"),
        (5, "control"),
        (6, "specially marked"),
        (9, "specially marked"),
    ] {
        let marked = patched(&good, ATTRIBUTES, &(3_i16 | 1 << bit).to_be_bytes());
        assert_eq!(Batch::of_producer(&marked).unwrap_err(), BatchError::NotAllowed { kind });
    }
}

#[test]
fn an_old_message_set_is_named_even_where_it_is_shorter_than_a_header() {
    // Offset, size 14, CRC, magic 1, attributes, no key, no value.
    let mut old = vec![0; 8];
    old.extend_from_slice(&14_i32.to_be_bytes());
    old.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Batch::of_producer(&Bytes::from(old)).unwrap_err(), BatchError::Magic { magic: 1 });
}

#[test]
fn offsets_that_do_not_rise_are_refused() {
    for deltas in [[0, 0], [1, 0]] {
        let mut builder = BatchBuilder::new(Compression::None);
        for delta in deltas {
            builder.push_at(delta, &BuiltRecord::default());
        }
        let bytes = builder.last_offset_delta(1).build().unwrap();
        let batch = first(&bytes);
        let mut scratch = Scratch::default();
        let read: Result<Vec<_>, _> = batch.records(&mut scratch, 1000).unwrap().collect();
        assert!(matches!(read, Err(BatchError::Record { index: 1, .. })), "{deltas:?}");
    }
}

#[test]
fn the_time_of_the_append_is_every_records_and_survives_a_rewrite() {
    let bytes = patched(&build(&plain(3), Compression::None, 4), ATTRIBUTES, &[0, 0b1000]);
    let rewritten =
        rewrite(&bytes, &options(Compression::Lz4, 0), &mut Scratch::default(), &mut keep_some(|at| at > 4))
            .unwrap();
    let (old, new) = (*first(&bytes).header(), *first(&rewritten.bytes).header());
    assert!(new.is_log_append_time());
    assert_eq!((new.base_timestamp, new.max_timestamp), (old.base_timestamp, old.max_timestamp));
    let times: Vec<i64> = seen(&rewritten.bytes).iter().map(|row| row.1).collect();
    assert_eq!(times, [old.max_timestamp, old.max_timestamp]);
}

#[test]
fn bytes_after_the_compressed_data_do_not_travel_along() {
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Snappy] {
        let good = build(&plain(3), codec, 0);
        let mut longer = good.to_vec();
        longer.extend_from_slice(b"stowaway");
        let length = i32::try_from(longer.len() - 12).unwrap();
        let longer = patched(&Bytes::from(longer), 8, &length.to_be_bytes());
        let mut scratch = Scratch::default();
        let error = first(&longer).records(&mut scratch, BYTES_MAX).unwrap_err();
        assert_eq!(error, BatchError::Decompress { codec });
        // What an error leaves behind does not spoil the next batch.
        assert_eq!(first(&good).records(&mut scratch, BYTES_MAX).unwrap().flatten().count(), 3, "{codec}");
    }
}

#[test]
fn compressed_data_that_is_cut_short_is_refused() {
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Snappy] {
        let good = build(&plain(200), codec, 0);
        for cut in [5, good.len() / 3] {
            let shorter = good.slice(..good.len() - cut);
            let length = i32::try_from(shorter.len() - 12).unwrap();
            let batch = first(&patched(&shorter, 8, &length.to_be_bytes()));
            let mut scratch = Scratch::default();
            let read = batch.records(&mut scratch, BYTES_MAX);
            assert!(read.is_err() || read.unwrap().any(|record| record.is_err()), "{codec} cut by {cut}");
        }
    }
}

#[test]
fn p10_the_old_lz4_format_is_refused_before_it_sets_memory_aside() {
    let good = build(&plain(3), Compression::Lz4, 0);
    let old = patched(&good, HEADER_BYTES, &[0x02, 0x21, 0x4c, 0x18]);
    let mut scratch = Scratch::default();
    let error = first(&old).records(&mut scratch, BYTES_MAX).unwrap_err();
    assert_eq!(error, BatchError::Decompress { codec: Compression::Lz4 });
}

#[test]
fn snappy_is_read_in_the_frames_of_java_too() {
    let raw = build(&plain(3), Compression::None, 0);
    let body = &raw[HEADER_BYTES..];
    let mut framed = raw[..HEADER_BYTES].to_vec();
    framed.extend_from_slice(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    for block in body.chunks(50) {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        framed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&block);
    }
    let length = i32::try_from(framed.len() - 12).unwrap();
    let framed = patched(&Bytes::from(framed), 8, &length.to_be_bytes());
    assert_eq!(seen(&patched(&framed, ATTRIBUTES, &[0, 2])), seen(&raw));
}

#[test]
fn the_shell_of_a_compacted_control_batch_is_followed_by_a_filler() {
    let shell = patched(&build(&plain(1), Compression::None, 7), ATTRIBUTES, &[0, 0b11_0000]);
    let shell = patched(&patched(&shell, RECORDS_COUNT, &[0; 4]), LAST_OFFSET_DELTA, &[0; 4]);
    let options = options(Compression::None, 0);
    let rewritten = rewrite(&shell, &options, &mut Scratch::default(), &mut keep_some(|_| true)).unwrap();
    let passed = pass_through(&shell, &options, &mut Scratch::default()).unwrap();
    assert!(rewritten.filler && passed.filler);
    assert!(rewritten.bytes.starts_with(&shell));
    assert_eq!(passed.bytes, rewritten.bytes);
}

#[test]
fn what_passes_through_is_counted_whole_and_without_a_copy() {
    let batches: Vec<Bytes> =
        [0, 3, 6].map(|base| build(&plain(3), Compression::Lz4, base)).into_iter().collect();
    let bytes = Bytes::from(batches.concat());
    // The first batch is wholly before the fetch offset and stays; the second begins before it and leaves whole.
    let passed = pass_through(&bytes, &options(Compression::None, 4), &mut Scratch::default()).unwrap();
    assert_eq!(passed.delivered.runs(), [(3, 8)]);
    assert_eq!((passed.covered_to, passed.filler), (Some(8), false));
    assert_eq!(passed.bytes, bytes.slice(batches[0].len()..));
    assert_eq!(passed.bytes.as_ptr(), bytes[batches[0].len()..].as_ptr());
}
