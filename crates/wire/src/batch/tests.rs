//! What the batch code promises, with kafka-protocol as the oracle where it is right.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

use super::*;

pub(super) const BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Row {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::btree_map("[a-z]{1,8}", bytes(), 0..3);
    let row = (1_600_000_000_000_i64..1_600_000_100_000, bytes(), bytes(), headers).prop_map(
        |(timestamp, key, value, headers)| Row {
            timestamp,
            key,
            value,
            headers: headers.into_iter().collect(),
        },
    );
    proptest::collection::vec(row, 1..30)
}

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Lz4),
        Just(Compression::Zstd)
    ]
}

pub(super) fn build(rows: &[Row], codec: Compression, base_offset: i64) -> Bytes {
    let mut builder = BatchBuilder::new(codec).base_offset(base_offset).producer(7, 1, 40);
    for row in rows {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            row.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
        builder.push(&BuiltRecord {
            timestamp: row.timestamp,
            key: row.key.as_deref(),
            value: row.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build().unwrap()
}

pub(super) fn options(codec: Compression, fetch_offset: i64) -> RewriteOptions {
    RewriteOptions::new(fetch_offset, codec, BYTES_MAX)
}

pub(super) fn first(records: &Bytes) -> Batch {
    batches(records).next().unwrap().unwrap()
}

/// Offset, timestamp, key, value of every record that is not a control record.
pub(super) type Seen = Vec<(i64, i64, Option<Vec<u8>>, Option<Vec<u8>>)>;

pub(super) fn seen(records: &Bytes) -> Seen {
    let mut seen = Vec::new();
    for batch in batches(records).map(Result::unwrap).filter(|batch| !batch.header().is_control()) {
        batch.verify_crc().unwrap();
        for record in batch.records(&mut Scratch::default(), BYTES_MAX).unwrap().map(Result::unwrap) {
            let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
            seen.push((record.offset, record.timestamp, owned(record.key), owned(record.value)));
        }
    }
    seen
}

pub(super) fn keep_some(
    keep: impl Fn(i64) -> bool,
) -> impl FnMut(&Record<'_>, &mut RecordOut) -> Result<Disposition, String> {
    move |record, _| Ok(if keep(record.offset) { Disposition::Deliver } else { Disposition::Drop })
}

proptest! {
    #[test]
    fn a_built_batch_reads_the_same_in_kafka_protocol(rows in rows(), base in 0_i64..1 << 40) {
        let bytes = build(&rows, Compression::None, base);
        let set = RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
        prop_assert_eq!(set.records.len(), rows.len());
        for (index, (theirs, ours)) in set.records.iter().zip(&rows).enumerate() {
            prop_assert_eq!(theirs.offset, base + index as i64);
            prop_assert_eq!(theirs.timestamp, ours.timestamp);
            prop_assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            prop_assert_eq!(theirs.headers.len(), ours.headers.len());
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch), (7, 1));
        }
    }

    #[test]
    fn a_rewrite_keeps_survivors_and_the_rest_of_the_batch(
        rows in rows(), from in codec(), to in codec(), base in 0_i64..1 << 40, mask: u32, skip in 0_i64..5,
    ) {
        let bytes = build(&rows, from, base);
        let keep = |offset: i64| mask >> ((offset - base) % 32) & 1 == 1;
        let fetch_offset = base + skip.min(rows.len() as i64 - 1);
        let rewritten = rewrite(&bytes, &options(to, fetch_offset), &mut Scratch::default(), &mut keep_some(keep)).unwrap();
        let expected: Seen = seen(&bytes).into_iter().filter(|row| row.0 >= fetch_offset && keep(row.0)).collect();
        prop_assert_eq!(&seen(&rewritten.bytes), &expected);
        let offsets: Vec<i64> = rewritten.delivered.offsets().collect();
        prop_assert_eq!(offsets, expected.iter().map(|row| row.0).collect::<Vec<_>>());
        prop_assert_eq!(rewritten.delivered.records(), expected.len() as u64);
        let last = base + rows.len() as i64 - 1;
        prop_assert_eq!(rewritten.covered_to, Some(last));
        prop_assert_eq!(rewritten.filler, expected.last().map(|row| row.0) != Some(last));
        let parsed: Vec<Batch> = batches(&rewritten.bytes).map(Result::unwrap).collect();
        prop_assert_eq!(parsed.last().unwrap().header().last_offset(), last);
        if !expected.is_empty() {
            let (old, new) = (*first(&bytes).header(), *parsed[0].header());
            prop_assert_eq!(new, BatchHeader {
                crc: new.crc, attributes: to.attributes(), records_count: i32::try_from(expected.len()).unwrap(), ..old
            });
        }
    }

    #[test]
    fn p10_no_bytes_panic_or_go_on_for_ever(bytes: Vec<u8>, flips in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6), rows in rows(), from in codec()) {
        let mut broken = build(&rows, from, 5).to_vec();
        for (at, byte) in flips {
            let at = at % broken.len();
            broken[at] = byte;
        }
        for input in [Bytes::from(bytes), Bytes::from(broken)] {
            let walked = rewrite(&input, &options(Compression::Lz4, 0), &mut Scratch::default(), &mut keep_some(|_| true));
            drop(walked);
            drop(Batch::of_producer(&input));
            drop(pass_through(&input, &options(Compression::None, 0), &mut Scratch::default()));
            for batch in batches(&input).flatten() {
                if let Ok(records) = batch.records(&mut Scratch::default(), BYTES_MAX) {
                    for record in records.flatten() {
                        let _count = record.headers.iter().count();
                    }
                }
            }
        }
    }
}

pub(super) fn plain(count: i64) -> Vec<Row> {
    (0..count)
        .map(|n| Row {
            timestamp: 1_600_000_000_000 + n,
            key: Some(format!("k{n}").into_bytes()),
            value: Some(format!("value {n}").into_bytes()),
            headers: vec![("before".into(), Some(vec![1])), ("batch".into(), Some(vec![2]))],
        })
        .collect()
}

#[test]
fn an_answer_without_its_last_offset_ends_in_a_filler_that_kafka_clients_step_over() {
    let bytes = build(&plain(4), Compression::Lz4, 100);
    let rewritten = rewrite(
        &bytes,
        &options(Compression::Lz4, 100),
        &mut Scratch::default(),
        &mut keep_some(|at| at == 101),
    )
    .unwrap();
    let parsed: Vec<Batch> = batches(&rewritten.bytes).map(Result::unwrap).collect();
    assert_eq!(parsed.len(), 2);
    let filler = parsed[1].header();
    assert!(filler.is_control() && !filler.is_transactional());
    assert_eq!((filler.base_offset, filler.last_offset_delta, filler.records_count), (103, 0, 1));
    assert_eq!((filler.producer_id, filler.producer_epoch, filler.base_sequence), (-1, -1, -1));
    assert_eq!(filler.leader_epoch, parsed[0].header().leader_epoch);
    let mut scratch = Scratch::default();
    let record = parsed[1].records(&mut scratch, 1000).unwrap().next().unwrap().unwrap();
    assert_eq!(record.key, Some(&[0, 0, 0x7f, 0xff][..]));
    assert_eq!(record.value, Some(&[0; 6][..]));
}

#[test]
fn nothing_of_a_batch_without_survivors_leaves_but_the_filler() {
    let mut bytes = BytesMut::from(&build(&plain(3), Compression::None, 0)[..]);
    bytes.extend_from_slice(&build(&plain(2), Compression::Gzip, 3));
    let bytes = bytes.freeze();
    let none =
        rewrite(&bytes, &options(Compression::Lz4, 0), &mut Scratch::default(), &mut keep_some(|_| false))
            .unwrap();
    assert_eq!(batches(&none.bytes).count(), 1);
    assert_eq!((none.delivered.records(), none.covered_to), (0, Some(4)));
    let last =
        rewrite(&bytes, &options(Compression::Lz4, 0), &mut Scratch::default(), &mut keep_some(|at| at == 4))
            .unwrap();
    assert!(!last.filler);
    assert_eq!(batches(&last.bytes).count(), 1);
}

#[test]
fn a_compacted_batch_keeps_its_gaps() {
    let mut builder = BatchBuilder::new(Compression::None).base_offset(10);
    for delta in [0, 3, 7] {
        builder.push_at(delta, &BuiltRecord { timestamp: 9, key: Some(b"k"), ..BuiltRecord::default() });
    }
    let bytes = builder.last_offset_delta(9).build().unwrap();
    let whole =
        rewrite(&bytes, &options(Compression::None, 0), &mut Scratch::default(), &mut keep_some(|_| true))
            .unwrap();
    assert_eq!(whole.delivered.runs(), [(10, 10), (13, 13), (17, 17)]);
    assert!(whole.filler);
    let passed = pass_through(&bytes, &options(Compression::None, 11), &mut Scratch::default()).unwrap();
    // What leaves before the fetch offset leaves too. The filler is at the last offset, which compaction took.
    assert_eq!(passed.delivered.runs(), [(10, 10), (13, 13), (17, 17)]);
    assert!(passed.filler);
    assert_eq!(passed.bytes[..bytes.len()], bytes);
    assert_eq!(batches(&passed.bytes).last().unwrap().unwrap().header().last_offset(), 19);
}

#[test]
fn only_listed_headers_leave_and_duplicates_among_them_stay() {
    let headers: &[(&[u8], Option<&[u8]>)] =
        &[(b"batch", Some(b"1")), (b"before", Some(b"secret")), (b"batch", None)];
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&BuiltRecord { headers, ..BuiltRecord::default() });
    let bytes = builder.build().unwrap();
    let rewritten =
        rewrite(&bytes, &options(Compression::None, 0), &mut Scratch::default(), &mut |_, out| {
            out.headers = &[b"batch"];
            out.value = Part::Written;
            out.value_bytes.extend_from_slice(b"new");
            Ok::<_, String>(Disposition::Deliver)
        })
        .unwrap();
    let batch = first(&rewritten.bytes);
    let mut scratch = Scratch::default();
    let record = batch.records(&mut scratch, 1000).unwrap().next().unwrap().unwrap();
    let left: Vec<Header<'_>> = record.headers.iter().collect();
    assert_eq!(
        left.iter().map(|header| (header.name, header.value)).collect::<Vec<_>>(),
        [(&b"batch"[..], Some(&b"1"[..])), (b"batch", None)]
    );
    assert_eq!(record.value, Some(&b"new"[..]));
    assert!(!rewritten.bytes.windows(6).any(|window| window == b"secret"));
}

#[test]
fn a_partial_last_batch_is_cut() {
    let whole = build(&plain(2), Compression::None, 0);
    let mut bytes = BytesMut::from(&whole[..]);
    bytes.extend_from_slice(&build(&plain(2), Compression::None, 2)[..70]);
    let bytes = bytes.freeze();
    let rewritten =
        rewrite(&bytes, &options(Compression::None, 0), &mut Scratch::default(), &mut keep_some(|_| true))
            .unwrap();
    assert_eq!((rewritten.covered_to, rewritten.delivered.records()), (Some(1), 2));
    assert_eq!(
        pass_through(&bytes, &options(Compression::None, 0), &mut Scratch::default()).unwrap().bytes,
        whole
    );
    let mut walk = batches(&bytes);
    assert_eq!(walk.by_ref().count(), 1);
    assert_eq!(walk.cut_bytes(), 70);
}
