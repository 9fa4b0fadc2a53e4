//! Compression, bounded in what it gives out.

use std::fmt;
use std::io::{Read, Write};

use super::{Batch, BatchError};

/// A window above this is refused: it is what a decompressor keeps in memory. Kafka's own clients stay below it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const ZSTD_LEVEL: i32 = 1;
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, then two version numbers of four bytes.
const XERIAL_HEADER_BYTES: usize = 16;

/// A batch's codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Kafka's own")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    pub(super) fn of_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & 0b111 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            codec => Err(BatchError::Codec { codec }),
        }
    }

    pub(super) fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// Buffers that are used again from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) decompressed: Vec<u8>,
    pub(super) records: Vec<u8>,
    pub(super) compressed: Vec<u8>,
}

/// A buffer that grew over this is given back after use, so that one large batch does not stay in memory.
const KEPT_BYTES_MAX: usize = 4 << 20;

impl Scratch {
    pub(super) fn trim(&mut self) {
        for buffer in [&mut self.decompressed, &mut self.records, &mut self.compressed] {
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }
}

/// The batch's records, decompressed into `out` where they are compressed; never more than `bytes_max`.
pub(super) fn decompress<'a>(
    batch: &'a Batch,
    out: &'a mut Vec<u8>,
    bytes_max: usize,
) -> Result<&'a [u8], BatchError> {
    let payload = batch.payload();
    let codec = batch.header().compression()?;
    out.clear();
    match codec {
        Compression::None if payload.len() > bytes_max => return Err(BatchError::Bomb { bytes_max }),
        Compression::None => return Ok(payload),
        Compression::Gzip => drain(flate2::read::GzDecoder::new(payload), codec, out, bytes_max)?,
        Compression::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(payload), codec, out, bytes_max)?,
        Compression::Zstd => {
            let broken = |_| BatchError::Decompress { codec };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            drain(decoder, codec, out, bytes_max)?;
        }
        Compression::Snappy => snappy(payload, out, bytes_max)?,
    }
    Ok(out)
}

/// Reads to the end, or fails as soon as one byte more than allowed has come out.
fn drain(
    source: impl Read,
    codec: Compression,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), BatchError> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_end(out).map_err(|_| BatchError::Decompress { codec })?;
    if out.len() > bytes_max { Err(BatchError::Bomb { bytes_max }) } else { Ok(()) }
}

/// Snappy, raw (librdkafka, platformatic) or in xerial's frames (Java).
fn snappy(payload: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    let broken = BatchError::Decompress { codec: Compression::Snappy };
    if !payload.starts_with(XERIAL_MAGIC) {
        return snappy_block(payload, out, bytes_max);
    }
    let mut rest = payload.get(XERIAL_HEADER_BYTES..).ok_or(broken.clone())?;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(broken.clone())?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken.clone())?;
        let block = tail.get(..length).ok_or(broken.clone())?;
        snappy_block(block, out, bytes_max)?;
        rest = tail.get(length..).unwrap_or_default();
    }
    Ok(())
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    let broken = |_| BatchError::Decompress { codec: Compression::Snappy };
    let length = snap::raw::decompress_len(block).map_err(broken)?;
    let start = out.len();
    let end =
        start.checked_add(length).filter(|end| *end <= bytes_max).ok_or(BatchError::Bomb { bytes_max })?;
    out.resize(end, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, place).map_err(broken)?;
    Ok(())
}

/// Compresses records into `out`.
pub(super) fn compress(records: &[u8], codec: Compression, out: &mut Vec<u8>) -> Result<(), BatchError> {
    const FAILED: BatchError = BatchError::Build { what: "the records cannot be compressed" };
    out.clear();
    match codec {
        Compression::None => out.extend_from_slice(records),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).map_err(|_| FAILED)?;
        }
        Compression::Lz4 => {
            // What Kafka's own clients write: independent blocks of 64 KiB without checksums of their content.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(records).map_err(|_| FAILED)?;
            encoder.finish().map_err(|_| FAILED)?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL).map_err(|_| FAILED)?;
            encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).map_err(|_| FAILED)?;
        }
        Compression::Snappy => {
            // Raw, which every client reads; xerial's frames are not read by all.
            let compressed = snap::raw::Encoder::new().compress_vec(records).map_err(|_| FAILED)?;
            out.extend_from_slice(&compressed);
        }
    }
    Ok(())
}
