//! The projection: stored batches in, exactly the view out.

use std::sync::Arc;

use bytes::Bytes;
use shuniu_broker::NodeId;
use shuniu_model::{Codec, Resource};
use shuniu_policy::ReadPermit;
use shuniu_schema::{Malformed, Plan, frame};
use shuniu_wire::batch::{
    Batch, BatchError, Compression, Delivered, Disposition, Part as Leaving, Record, RecordOut, RewriteError,
    RewriteOptions, batches, pass_through, rewrite_batch, rewrite_by,
};
use shuniu_wire::messages::fetch_response::{LeaderIdAndEpoch, NodeEndpoint};
use shuniu_wire::messages::{FetchResponse, StrBytes};

use crate::budget::Share;
use crate::caller::Caller;
use crate::headers::{BEFORE, LEAVING};
use crate::plans::Scratches;
use crate::projections::{Place, ProjectedBatch, Projections};
use crate::session::Addresses;

/// A stored record that the reader cannot make sense of. The way in is checked, so this is corruption or a fault of
/// the hub, and nothing of its partition leaves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a batch cannot be read")]
    Batch(#[source] BatchError),
    #[error("the record at offset {offset} cannot be projected")]
    Record {
        offset: i64,
        #[source]
        source: RecordFault,
    },
}

/// What is wrong with a stored record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    #[error("it has no key")]
    NoKey,
    #[error("its value is not framed")]
    Frame(#[from] frame::FrameError),
    #[error("schema id {0} is not one of its resource's")]
    Schema(u32),
    #[error("its value does not fit its schema")]
    Value(#[from] Malformed),
}

/// A view compiled for one schema version.
pub(crate) struct Planned {
    /// The schema id that records of this version carry.
    pub(crate) writer: u32,
    /// The schema id that they carry once projected.
    pub(crate) id: u32,
    pub(crate) plan: Plan,
}

/// Reads a resource under one view.
pub(crate) struct Reader {
    /// No other reader has had it.
    pub(crate) number: u64,
    pub(crate) planned: Vec<Planned>,
    /// Batches leave as they came where they may.
    pub(crate) untouched: bool,
    pub(crate) decompressed_bytes_max: usize,
    pub(crate) scratches: Arc<Scratches>,
    pub(crate) projections: Arc<Projections>,
}

/// What of a partition's records leaves.
#[derive(Debug, Default)]
pub(crate) struct ProjectedPartition {
    pub(crate) records: Bytes,
    pub(crate) delivered: Delivered,
    /// The last offset that was read; `None` when there was no whole batch.
    pub(crate) covered_to: Option<i64>,
    /// The schema ids that the delivered records carry.
    pub(crate) schemas: Vec<u32>,
}

/// A partition's records on their way to the projection.
pub(crate) struct Part {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    /// Where its batches stand, once the topic's id is known.
    pub(crate) place: Option<Place>,
    pub(crate) fetch_offset: i64,
    pub(crate) records_max: u64,
    pub(crate) records: Bytes,
    pub(crate) permit: Arc<ReadPermit>,
    pub(crate) reader: Arc<Reader>,
}

/// One topic's part of a projected response: what is delivered of each partition.
pub(crate) type ProjectedTopic = (Arc<Resource>, Arc<ReadPermit>, Vec<(i32, ProjectedPartition)>);

/// A response that holds exactly what the views allow, and has not left: only [`crate::record::record`] turns it into
/// something that can be sent.
pub(crate) struct Projected {
    pub(crate) response: FetchResponse,
    pub(crate) caller: Caller,
    pub(crate) topics: Vec<ProjectedTopic>,
    /// The memory that it takes.
    pub(crate) share: Option<Share>,
}

impl Projected {
    pub(crate) fn new(response: FetchResponse, caller: Caller, topics: Vec<ProjectedTopic>) -> Self {
        Self { response, caller, topics, share: None }
    }

    /// Says where the leaders are that the answer names (KIP-951). One that clients cannot reach is not named.
    pub(crate) fn name_leaders(&mut self, addresses: Addresses<'_>) {
        let Self { response: FetchResponse { responses, node_endpoints, .. }, .. } = self;
        for data in responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let leader = data.current_leader.leader_id;
            if leader.0 < 0 {
                continue;
            }
            let Some((host, port)) = addresses(NodeId(leader.0)) else {
                data.current_leader = LeaderIdAndEpoch::default();
                continue;
            };
            if node_endpoints.iter().all(|endpoint| endpoint.node_id != leader) {
                let endpoint = NodeEndpoint::default().with_node_id(leader).with_port(port.into());
                node_endpoints.push(endpoint.with_host(StrBytes::from_string(host)));
            }
        }
    }
}

impl Reader {
    /// Projects a partition's records from the fetch offset on, until as many or as much leaves as may; a batch is
    /// never cut. The permit is the proof that they may be read.
    pub(crate) fn project(
        &self,
        permit: &ReadPermit,
        part: &Part,
        records_max: u64,
        bytes_max: usize,
    ) -> Result<ProjectedPartition, Fault> {
        let Part { records, fetch_offset, .. } = part;
        let codec = compression(permit.grant().codec);
        let options = RewriteOptions {
            records_max,
            bytes_max,
            ..RewriteOptions::new(*fetch_offset, codec, self.decompressed_bytes_max)
        };
        if self.untouched && self.passes(records, &options)? {
            let passed = self.scratches.with(|scratch| pass_through(records, &options, scratch));
            let passed = passed.map_err(|error| match error {
                RewriteError::Batch { source, .. } => Fault::Batch(source),
                RewriteError::Record { source, .. } => match source {},
            })?;
            return Ok(ProjectedPartition {
                records: passed.bytes,
                delivered: passed.delivered,
                covered_to: passed.covered_to,
                schemas: Vec::new(),
            });
        }
        let mut schemas = Vec::new();
        let rewritten = rewrite_by(records, &options, &mut |batch| {
            let projected = self.batch(part.place, batch, &options)?;
            for id in projected.schemas {
                if !schemas.contains(&id) {
                    schemas.push(id);
                }
            }
            Ok(projected.batch)
        });
        let rewritten = rewritten.map_err(|error| match error {
            RewriteError::Batch { source, .. } => Fault::Batch(source),
            RewriteError::Record { offset, source } => Fault::Record { offset, source },
        })?;
        Ok(ProjectedPartition {
            records: rewritten.bytes,
            delivered: rewritten.delivered,
            covered_to: rewritten.covered_to,
            schemas,
        })
    }

    /// One batch, made now or kept from another reader of the view.
    fn batch(
        &self,
        place: Option<Place>,
        batch: &Batch,
        options: &RewriteOptions,
    ) -> Result<ProjectedBatch, RewriteError<RecordFault>> {
        let make = || {
            let mut schemas = Vec::new();
            let mut each = |record: &Record<'_>, out: &mut RecordOut| self.record(record, out, &mut schemas);
            let batch = self.scratches.with(|scratch| rewrite_batch(batch, options, scratch, &mut each))?;
            Ok(ProjectedBatch { batch, schemas })
        };
        let header = batch.header();
        match place {
            // Of one that begins before the fetch offset a part leaves.
            Some(place) if header.base_offset >= options.fetch_offset => {
                let key = place.key(self.number, options.codec, header, batch.bytes().len());
                self.projections.get_or_make(key, make)
            }
            _ => make(),
        }
    }

    /// Whether batches may leave as they are. A client reads batches in its grant's codec and uncompressed ones; others
    /// are written anew. And no record may carry the row before it: publishing systems may send it where the resource
    /// does not ask for it, and a resource may have asked for it once, so only the bytes tell.
    fn passes(&self, records: &Bytes, options: &RewriteOptions) -> Result<bool, Fault> {
        self.scratches
            .with(|scratch| {
                for batch in batches(records) {
                    let batch = batch?;
                    let header = batch.header();
                    if header.is_control() || header.last_offset() < options.fetch_offset {
                        continue;
                    }
                    let codec = header.compression()?;
                    if codec != Compression::None && codec != options.codec {
                        return Ok(false);
                    }
                    for record in batch.records(scratch, self.decompressed_bytes_max)? {
                        if record?.headers.find(BEFORE).is_some() {
                            return Ok(false);
                        }
                    }
                }
                Ok(true)
            })
            .map_err(Fault::Batch)
    }

    /// One record: out as the view has it, out as a deletion when it has left the filter, or not out.
    fn record(
        &self,
        record: &Record<'_>,
        out: &mut RecordOut,
        schemas: &mut Vec<u32>,
    ) -> Result<Disposition, RecordFault> {
        let after = record.value.map(frame::split).transpose()?;
        let written = match after {
            None => None,
            Some((id, body)) => {
                let planned = self.planned(id)?;
                planned.plan.matches(body)?.then_some((planned, body))
            }
        };
        match written {
            Some((planned, body)) => {
                out.value = Leaving::Written;
                frame::put(planned.id, &mut out.value_bytes);
                planned.plan.project(body, &mut out.value_bytes)?;
                if schemas.last() != Some(&planned.id) && !schemas.contains(&planned.id) {
                    schemas.push(planned.id);
                }
            }
            None => {
                if !self.was_visible(record)? {
                    return Ok(Disposition::Drop);
                }
                out.value = Leaving::Null;
            }
        }
        let newest = self.planned.last().ok_or(RecordFault::Schema(0))?;
        out.key = Leaving::Written;
        newest.plan.key(record.key.ok_or(RecordFault::NoKey)?, &mut out.key_bytes);
        out.headers = LEAVING;
        Ok(Disposition::Deliver)
    }

    /// Whether the row before this record passed the filter. Without a filter every row did.
    fn was_visible(&self, record: &Record<'_>) -> Result<bool, RecordFault> {
        if self.planned.iter().all(|planned| !planned.plan.has_filter()) {
            return Ok(true);
        }
        let before = record.headers.find(BEFORE).and_then(|header| header.value).unwrap_or_default();
        if before.is_empty() {
            return Ok(false);
        }
        let (id, body) = frame::split(before)?;
        Ok(self.planned(id)?.plan.matches(body)?)
    }

    fn planned(&self, writer: u32) -> Result<&Planned, RecordFault> {
        self.planned.iter().find(|planned| planned.writer == writer).ok_or(RecordFault::Schema(writer))
    }
}

fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}
