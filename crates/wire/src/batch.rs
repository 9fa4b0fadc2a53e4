//! Record batches, message format v2: walked, rewritten, built.
//!
//! kafka-protocol's own encoder changes offsets, headers and timestamps when records are missing from a batch, so the
//! layout is read and written here. Nothing allocates by what a length field claims, and nothing per record.

mod build;
mod compression;
mod header;
mod record;
mod rewrite;
mod thin;
mod varint;

pub use build::{BatchBuilder, BuiltRecord};
pub use compression::{Compression, Scratch};
pub use header::{Batch, BatchHeader, Batches, HEADER_BYTES, NO_PRODUCER, batches};
pub use record::{Header, Headers, Record, Records};
pub use rewrite::{
    Delivered, Disposition, Part, RecordOut, RewriteError, RewriteOptions, Rewritten, RewrittenBatch,
    pass_through, rewrite, rewrite_batch, rewrite_by,
};
pub use thin::thin;

/// Bytes that are not a record batch of format v2, or not within bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The batch's length field is below that of a header, or points beyond the bytes.
    #[error("a batch's length field says {length}, which does not fit")]
    Length {
        /// What it says.
        length: i32,
    },
    /// The batch is of an old format.
    #[error("message format v{magic} is not served: only v2 is")]
    Magic {
        /// The format.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("the batch's CRC-32C is {stated:08x}, its bytes give {found:08x}")]
    Crc {
        /// In the header.
        stated: u32,
        /// Of the bytes.
        found: u32,
    },
    /// The compression codec is unknown.
    #[error("compression codec {codec} is unknown")]
    Codec {
        /// Its number.
        codec: i16,
    },
    /// The compressed bytes are broken.
    #[error("the batch's {codec} data cannot be read")]
    Decompress {
        /// The codec.
        codec: Compression,
    },
    /// The records are larger than allowed once decompressed.
    #[error("the batch's records are over {bytes_max} bytes once decompressed")]
    Bomb {
        /// The bound.
        bytes_max: usize,
    },
    /// A record's lengths do not fit its bytes.
    #[error("record {index} of the batch is malformed: {what}")]
    Record {
        /// Counted from 0 within the batch.
        index: i32,
        /// Which part.
        what: &'static str,
    },
    /// The header's count or last offset does not fit the records.
    #[error("the batch says it has {stated} records, {found} were found")]
    Count {
        /// In the header.
        stated: i32,
        /// In the bytes.
        found: i32,
    },
    /// There is not exactly one batch.
    #[error("a partition's records are exactly one batch, here are {found}")]
    NotOne {
        /// How many.
        found: usize,
    },
    /// A batch that a producer may not send.
    #[error("a producer may not send a {kind} batch")]
    NotAllowed {
        /// Which kind.
        kind: &'static str,
    },
    /// The records cannot be compressed or are too many for one batch.
    #[error("the batch cannot be built: {what}")]
    Build {
        /// What went wrong.
        what: &'static str,
    },
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
