//! Compression, bounded in what it gives out.

use std::fmt;
use std::io::{self, Read, Write};

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

use super::{Batch, BatchError};

/// A window above this is refused: it is what a decompressor keeps in memory. Kafka's own clients stay below it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const ZSTD_LEVEL: i32 = 1;
/// How much room a step of the coder finds at least.
const ZSTD_STEP_BYTES: usize = 16 << 10;
const LZ4_MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
/// Magic, flags (version 1, independent blocks), block size (64 KiB), and the checksum of those two.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const LZ4_BLOCK_BYTES: usize = 64 << 10;
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

/// A buffer that grew over this is given back after use, so that one large batch does not stay in memory.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Buffers and codec state that are used again from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) decompressor: Decompressor,
    pub(super) compressor: Compressor,
    pub(super) records: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Scratch {
    /// Gives back what grew too large. A rewrite does so itself; after [`Batch::records`] it is for the caller.
    pub fn trim(&mut self) {
        for buffer in [
            &mut self.decompressor.out,
            &mut self.compressor.out,
            &mut self.records,
            &mut self.key,
            &mut self.value,
        ] {
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }

    /// What the last decompression took.
    #[cfg(test)]
    pub(super) fn decompressed_capacity(&self) -> usize {
        self.decompressor.out.capacity()
    }
}

/// Reads compressed records, bounded in what it gives out.
#[derive(Default)]
pub(super) struct Decompressor {
    out: Vec<u8>,
    /// Making one costs more than a small batch.
    zstd: Option<zstd::stream::raw::Decoder<'static>>,
}

impl Decompressor {
    /// The batch's records, decompressed where they are compressed; never more than `bytes_max`. The compressed data is
    /// all of the payload: what is left over after it would travel on unseen.
    pub(super) fn read<'a>(&'a mut self, batch: &'a Batch, bytes_max: usize) -> Result<&'a [u8], BatchError> {
        let payload = batch.payload();
        let codec = batch.header().compression()?;
        let broken = BatchError::Decompress { codec };
        let out = &mut self.out;
        out.clear();
        if out.capacity() > KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        match codec {
            Compression::None if payload.len() > bytes_max => return Err(BatchError::Bomb { bytes_max }),
            Compression::None => return Ok(payload),
            Compression::Gzip => {
                let mut decoder = flate2::bufread::GzDecoder::new(payload);
                drain(&mut decoder, codec, out, bytes_max)?;
                if !decoder.into_inner().is_empty() {
                    return Err(broken);
                }
            }
            Compression::Lz4 => {
                // The older format that the decoder also knows sets aside 16 MiB for any block, and is not Kafka's.
                if !payload.starts_with(LZ4_MAGIC) {
                    return Err(broken);
                }
                let mut decoder = lz4_flex::frame::FrameDecoder::new(payload);
                drain(&mut decoder, codec, out, bytes_max)?;
                if !decoder.into_inner().is_empty() {
                    return Err(broken);
                }
            }
            Compression::Zstd => {
                // After an error its state is unknown, so it is put back only when all went well.
                let mut decoder = self.zstd.take().map_or_else(zstd_decoder, Ok).map_err(|_| broken)?;
                zstd_drain(&mut decoder, payload, out, bytes_max)?;
                self.zstd = Some(decoder);
            }
            Compression::Snappy => snappy(payload, out, bytes_max)?,
        }
        Ok(out)
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("capacity", &self.out.capacity()).finish_non_exhaustive()
    }
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

fn zstd_decoder() -> io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

/// Reads one frame, which is all of `payload`.
fn zstd_drain(
    decoder: &mut zstd::stream::raw::Decoder<'_>,
    payload: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), BatchError> {
    let broken = |_| BatchError::Decompress { codec: Compression::Zstd };
    decoder.reinit().map_err(broken)?;
    let mut input = InBuffer::around(payload);
    loop {
        out.reserve(ZSTD_STEP_BYTES);
        let position = out.len();
        let mut output = OutBuffer::around_pos(out, position);
        let hint = decoder.run(&mut input, &mut output).map_err(broken)?;
        if out.len() > bytes_max {
            return Err(BatchError::Bomb { bytes_max });
        }
        let read = input.pos() == payload.len();
        if hint == 0 && read {
            return Ok(());
        }
        // The frame ends before the payload does, or the payload before the frame.
        if hint == 0 || (read && out.len() < out.capacity()) {
            return Err(BatchError::Decompress { codec: Compression::Zstd });
        }
    }
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

/// Compresses records.
#[derive(Default)]
pub(super) struct Compressor {
    out: Vec<u8>,
    lz4: Option<CompressTable>,
    zstd: Option<zstd::stream::raw::Encoder<'static>>,
}

impl Compressor {
    /// The records compressed: in a buffer of its own, or as they are.
    pub(super) fn compress<'a>(
        &'a mut self,
        records: &'a [u8],
        codec: Compression,
    ) -> Result<&'a [u8], BatchError> {
        const FAILED: BatchError = BatchError::Build { what: "the records cannot be compressed" };
        let out = &mut self.out;
        out.clear();
        match codec {
            Compression::None => return Ok(records),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(&mut *out, flate2::Compression::fast());
                encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).map_err(|_| FAILED)?;
            }
            Compression::Lz4 => {
                lz4(records, self.lz4.get_or_insert_with(CompressTable::large), out).ok_or(FAILED)?;
            }
            Compression::Zstd => {
                let encoder =
                    self.zstd.take().map_or_else(|| zstd::stream::raw::Encoder::new(ZSTD_LEVEL), Ok);
                let mut encoder = encoder.map_err(|_| FAILED)?;
                zstd_fill(&mut encoder, records, out).map_err(|_| FAILED)?;
                self.zstd = Some(encoder);
            }
            Compression::Snappy => {
                // Raw, which every client reads; xerial's frames are not read by all.
                out.resize(snap::raw::max_compress_len(records.len()), 0);
                let length = snap::raw::Encoder::new().compress(records, out).map_err(|_| FAILED)?;
                out.truncate(length);
            }
        }
        Ok(out)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("capacity", &self.out.capacity()).finish_non_exhaustive()
    }
}

/// Writes an LZ4 frame as Kafka's own clients do: independent blocks of 64 KiB without checksums. The crate's frame writer
/// gives the same but takes a third longer.
fn lz4(records: &[u8], table: &mut CompressTable, out: &mut Vec<u8>) -> Option<()> {
    const STORED: u32 = 1 << 31;
    out.extend_from_slice(&LZ4_HEADER);
    for block in records.chunks(LZ4_BLOCK_BYTES) {
        let start = out.len();
        let data = start + 4;
        out.resize(data + get_maximum_output_size(block.len()), 0);
        let length = compress_into_with_table(block, out.get_mut(data..)?, table).ok()?;
        let prefix = if length < block.len() {
            out.truncate(data + length);
            u32::try_from(length).ok()?
        } else {
            out.truncate(data);
            out.extend_from_slice(block);
            u32::try_from(block.len()).ok()? | STORED
        };
        out.get_mut(start..data)?.copy_from_slice(&prefix.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    Some(())
}

fn zstd_fill(
    encoder: &mut zstd::stream::raw::Encoder<'_>,
    records: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    encoder.reinit()?;
    let mut input = InBuffer::around(records);
    while input.pos() < records.len() {
        out.reserve(ZSTD_STEP_BYTES);
        let position = out.len();
        encoder.run(&mut input, &mut OutBuffer::around_pos(out, position))?;
    }
    loop {
        out.reserve(ZSTD_STEP_BYTES);
        let position = out.len();
        if encoder.finish(&mut OutBuffer::around_pos(out, position), true)? == 0 {
            return Ok(());
        }
    }
}
