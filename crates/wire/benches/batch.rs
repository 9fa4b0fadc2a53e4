//! How fast batches are walked and rewritten: megabytes of records before compression a second, by batch size.
//!
//! `cargo bench -p shuniu-wire`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints, counts in floating point, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shuniu_wire::batch::{
    BatchBuilder, BuiltRecord, Compression, Disposition, Part, RewriteOptions, Scratch, batches, rewrite,
};

const RECORD_BYTES: usize = 300;
const RUN: Duration = Duration::from_millis(500);

/// Batches of `count` records of about 300 bytes whose text compresses like a register's.
fn records(count: i32, codec: Compression, batches_count: i64) -> Bytes {
    let mut out = Vec::new();
    let mut state = 42_u64;
    for batch in 0..batches_count {
        let mut builder = BatchBuilder::new(codec).base_offset(batch * i64::from(count));
        for _ in 0..count {
            let mut value = vec![0, 0, 0, 0, 7];
            while value.len() < RECORD_BYTES {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                value.extend_from_slice(
                    format!("重庆市{:06}渝中区{:04};", state >> 44, state >> 52).as_bytes(),
                );
            }
            let key = format!("50010319{:010}", state >> 32);
            let header: (&[u8], Option<&[u8]>) = (b"source-time", Some(b"1700000000000000"));
            builder.push(&BuiltRecord {
                timestamp: 1_700_000_000_000 + i64::try_from(state >> 60).unwrap_or(0),
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[header],
            });
        }
        out.extend_from_slice(&builder.build().expect("a batch"));
    }
    Bytes::from(out)
}

/// Runs for a while; prints MB/s and ms of processor time a MB.
fn measure(name: &str, mut work: impl FnMut() -> usize) {
    work();
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < RUN {
        bytes += work();
    }
    let megabytes = bytes as f64 / 1e6;
    let seconds = start.elapsed().as_secs_f64();
    println!("{name:<44} {:>8.0} MB/s {:>7.3} ms/MB", megabytes / seconds, seconds * 1e3 / megabytes);
}

fn main() {
    for (count, batches_count) in [(1, 1000), (10, 100), (100, 10), (3000, 1)] {
        for codec in
            [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip]
        {
            let input = records(count, codec, batches_count);
            let mut scratch = Scratch::default();
            measure(&format!("walk, {codec}, {count} records a batch"), || {
                let mut total = 0;
                for batch in batches(&input).flatten() {
                    batch.verify_crc().expect("a right CRC");
                    let records = batch.records(&mut scratch, 16 << 20).expect("records");
                    total += records.bytes_total();
                    for record in records {
                        black_box(record.expect("a record").value);
                    }
                }
                total
            });
            if codec != Compression::None && codec != Compression::Lz4 {
                continue;
            }
            let mut options = RewriteOptions::new(0, Compression::Lz4, 16 << 20);
            for (what, of) in [("all", 1), ("1 in 100", 100)] {
                measure(&format!("rewrite {what} to lz4, {codec}, {count} records a batch"), || {
                    let done = rewrite(&input, &options, &mut scratch, &mut |record, out| {
                        if record.offset % of != 0 {
                            return Ok::<_, std::convert::Infallible>(Disposition::Drop);
                        }
                        out.value = Part::Written;
                        out.value_bytes.extend_from_slice(record.value.unwrap_or_default());
                        Ok(Disposition::Deliver)
                    });
                    let done = done.expect("a rewrite");
                    black_box(&done.bytes);
                    done.covered_bytes
                });
            }
            options.codec = Compression::None;
            measure(&format!("rewrite all to none, {codec}, {count} records a batch"), || {
                let done = rewrite(&input, &options, &mut scratch, &mut |_, _| {
                    Ok::<_, std::convert::Infallible>(Disposition::Deliver)
                });
                done.expect("a rewrite").covered_bytes
            });
        }
    }
}
